//! Route: which upstream a request goes to, and with what target.
//!
//! In: an [`Identified`] request. Out: [`Routed`], which only [`Table::route`] can make: the
//! request, its upstream, and the target to send there. Fails with [`RouteError`] when the target
//! names no upstream. Never: decodes a percent, merges slashes, walks dot segments, resolves a
//! name; what follows the upstream's name goes on byte for byte.

mod builtin;
mod error;
mod table;
mod upstream;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use crate::config::{Protocol, Scheme};
use crate::identify::{Accepted, Identified};
pub use error::RouteError;
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

impl Table {
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
