//! Route: which upstream a request goes to, and with what target.
//!
//! In: an [`Identified`] request. Out: [`Routed`], which only [`Table::route`] can make: the
//! request, its upstream, and the target to send there. Fails with [`RouteError`] when the target
//! names no upstream. Never: decodes a percent, merges slashes, walks dot segments, resolves a
//! name; what follows the upstream's name goes on byte for byte.

mod builtin;
mod error;
mod proxy;
mod reach;
mod table;
mod upstream;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sealtap_common::unit::Ingress;

pub use crate::config::{Protocol, Scheme};
use crate::identify::{Accepted, Identified};
use crate::wire::http2::PROTOCOL;
pub use error::RouteError;
pub use proxy::{Destination, Fate, ProxyRules};
pub use reach::{Forbidden, Reach};
pub use table::{Table, TableError};
pub(crate) use table::{absolute, shown};
pub use upstream::Upstream;

/// Where a target leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The upstream it names.
    pub upstream: Arc<Upstream>,
    /// The target to send there.
    pub target: Vec<u8>,
    /// How the traffic came to the gateway.
    pub ingress: Ingress,
}

/// A request with its upstream; made by [`Table::route`] alone.
#[derive(Debug)]
pub struct Routed<R> {
    identified: Identified<R>,
    route: Route,
}

impl<R> Routed<R> {
    /// The request as `identify` passed it on.
    pub fn identified(&self) -> &Identified<R> {
        &self.identified
    }

    /// The upstream it goes to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.route.upstream
    }

    /// The target it goes there with.
    pub fn target(&self) -> &[u8] {
        &self.route.target
    }

    /// The request and where it goes.
    pub fn into_parts(self) -> (Identified<R>, Route) {
        (self.identified, self.route)
    }
}

impl<R: Accepted> Routed<R> {
    /// A request in a connection that was opened on its way to `upstream`: its target goes on as it
    /// is, whatever its form.
    ///
    /// # Errors
    ///
    /// A CONNECT: a tunnel in a tunnel has no upstream to lead through.
    pub fn through(
        request: Identified<R>,
        upstream: &Arc<Upstream>,
        ingress: Ingress,
    ) -> Result<Self, (RouteError, Identified<R>)> {
        let head = request.request().head();
        // With a protocol it is no tunnel (RFC 8441).
        if &*head.method == b"CONNECT" && head.fields.first(PROTOCOL).is_none() {
            let authority = shown(&head.target);
            return Err((RouteError::Connect { authority }, request));
        }
        let target = head.target.to_vec();
        let upstream = Arc::clone(upstream);
        let route = Route { upstream, target, ingress };
        Ok(Self { identified: request, route })
    }
}

impl Table {
    /// Finds the upstream of `request`, which is for another server than this listener.
    ///
    /// # Errors
    ///
    /// Why it may not go there, with the request handed back so that the refusal can be recorded.
    pub fn forward<R: Accepted>(
        &self,
        rules: &ProxyRules,
        request: Identified<R>,
    ) -> Result<Routed<R>, (RouteError, Identified<R>)> {
        match self.resolve_forward(rules, request.request().head()) {
            Ok(route) => Ok(Routed { identified: request, route }),
            Err(error) => Err((error, request)),
        }
    }

    /// Finds the upstream of `request`.
    ///
    /// # Errors
    /// Why there is none, with the request handed back so that the refusal can be recorded.
    pub fn route<R: Accepted>(
        &self,
        request: Identified<R>,
    ) -> Result<Routed<R>, (RouteError, Identified<R>)> {
        match self.resolve(&request.target()) {
            Ok(route) => Ok(Routed { identified: request, route }),
            Err(error) => Err((error, request)),
        }
    }
}
