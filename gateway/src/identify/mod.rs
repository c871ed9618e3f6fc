//! Identify: which run a request belongs to.
//!
//! In: an accepted request ([`Accepted`]). Out: [`Identified`], which only [`stage`] can make: the
//! request and its [`Identity`]. Fails with [`IdentifyError`] when the app names a run in a way that
//! cannot be kept. Never: touches a byte of the request; which bytes of the target named the run is
//! kept as a range.
//!
//! The first of these that is there names the run:
//!
//! 1. the path: `/run/ID/...`; the two elements are taken off before routing;
//! 2. the header `sealtap-run: ID`. It is a message to the gateway, so it is not forwarded
//!    ([`is_for_gateway`]); the record keeps it among the fields received;
//! 3. the trace id of a valid `traceparent` (W3C Trace Context), which is forwarded untouched; one
//!    that is not valid is ignored, as that specification asks;
//! 4. nothing: the exchanges of one connection are a run.
//!
//! Where the gateway runs for one command, that launch is the run of everything ([`Runs::of`]); what
//! the app says of a run is then read and taken off as always, and is left to the record of its head.
//!
//! ID is 1 to 128 letters, digits, `.`, `_`, `~` or `-`. A name from the app only subdivides what
//! the connection already scopes: it is recorded together with how it was given.

mod run;
mod runs;
mod traceparent;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub use run::{By, Launch, RunName};
pub use runs::{Held, Runs, Told};

use crate::route::absolute;
use crate::wire::message::{Fields, RequestHead};

/// The header that names a run.
pub const RUN_HEADER: &str = "sealtap-run";

/// Whether a field of this name is the gateway's to read and not to forward.
#[must_use]
pub fn is_for_gateway(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(RUN_HEADER.as_bytes())
}

/// What `accept` hands over: anything that has a request head.
pub trait Accepted {
    /// The head as the client sent it.
    fn head(&self) -> &RequestHead;
}

/// Which run a request belongs to, and where in its target that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run.
    pub run: RunName,
    /// The bytes of the target that named the run; empty when the path did not.
    pub named_at: Range<usize>,
}

impl Identity {
    /// `target` without the bytes that named the run; borrowed unless they stood in the middle (an
    /// absolute-form target).
    #[must_use]
    pub fn rest<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        let before = target.get(..self.named_at.start).unwrap_or_default();
        let after = target.get(self.named_at.end..).unwrap_or_default();
        match before.is_empty() {
            true => Cow::Borrowed(after),
            false if self.named_at.is_empty() => Cow::Borrowed(target),
            false => Cow::Owned([before, after].concat()),
        }
    }
}

/// Why a run's name cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// A name with other bytes, or none, or too many.
    #[error(
        "a run's name is 1 to 128 letters, digits, `.`, `_`, `~` or `-`; \
         the {by} has {found:?}"
    )]
    Name {
        /// Where it was given: `path` or `header`.
        by: By,
        /// What stood there, up to the first byte that no name has.
        found: String,
    },
    /// Several `sealtap-run` headers that do not agree.
    #[error("several sealtap-run headers name different runs: send one")]
    Several,
}

impl IdentifyError {
    /// The registered error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "malformed_request"
    }

    /// The status of the gateway's answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        400
    }
}

/// Finds the run of a request with this target and these fields.
///
/// # Errors
/// The path or the header names a run with a name that cannot be kept.
pub fn identify(target: &[u8], fields: &Fields) -> Result<Identity, IdentifyError> {
    if let Some((name, named_at)) = in_path(target)? {
        return Ok(Identity { run: RunName { by: By::Path, name: Some(name) }, named_at });
    }
    identify_beside(fields)
}

/// Finds the run of a request whose target is not the gateway's to read, since it belongs to a
/// server that the client named.
///
/// # Errors
/// The header names a run with a name that cannot be kept.
pub fn identify_beside(fields: &Fields) -> Result<Identity, IdentifyError> {
    let mut headers = fields.all(RUN_HEADER).map(<[u8]>::trim_ascii);
    let run = if let Some(first) = headers.next() {
        if headers.any(|other| other != first) {
            return Err(IdentifyError::Several);
        }
        RunName { by: By::Header, name: Some(run::name(first, By::Header)?) }
    } else if let Some(trace) = traceparent::trace_id(fields) {
        RunName { by: By::Traceparent, name: Some(trace) }
    } else {
        RunName { by: By::Connection, name: None }
    };
    Ok(Identity { run, named_at: 0..0 })
}

/// The name in `/run/ID`, and where these bytes stand in the target.
fn in_path(target: &[u8]) -> Result<Option<(String, Range<usize>)>, IdentifyError> {
    let path = absolute(target).map_or(target, |(_, path)| path);
    let start = target.len().saturating_sub(path.len());
    let Some(after) = path.strip_prefix(b"/run") else { return Ok(None) };
    let name = match after.first() {
        None | Some(b'?' | b'#') => b"".as_slice(),
        Some(b'/') => {
            after.split(|byte| matches!(byte, b'/' | b'?' | b'#')).nth(1).unwrap_or_default()
        }
        // `/runner/...` is some upstream's business.
        Some(_) => return Ok(None),
    };
    let kept = run::name(name, By::Path)?;
    Ok(Some((kept, start..start + "/run/".len() + name.len())))
}

/// A request and the run it belongs to; made by [`stage`] alone.
#[derive(Debug)]
pub struct Identified<R> {
    request: R,
    identity: Identity,
}

impl<R> Identified<R> {
    /// The request as `accept` passed it on.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// The run it belongs to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The same, of the run that the CONNECT around it `named` unless it names one itself.
    #[must_use]
    pub fn or_named(mut self, named: &RunName) -> Self {
        if self.identity.run.name.is_none() {
            self.identity.run = named.clone();
        }
        self
    }

    /// The request and its identity.
    pub fn into_parts(self) -> (R, Identity) {
        (self.request, self.identity)
    }
}

impl<R: Accepted> Identified<R> {
    /// The target to route by: what the client sent without what named the run.
    pub fn target(&self) -> Cow<'_, [u8]> {
        self.identity.rest(&self.request.head().target)
    }
}

/// Finds the run of `request`.
///
/// # Errors
/// Why its run cannot be named, with the request handed back so that the refusal can be recorded.
pub fn stage<R: Accepted>(request: R) -> Result<Identified<R>, (IdentifyError, R)> {
    let head = request.head();
    match identify(&head.target, &head.fields) {
        Ok(identity) => Ok(Identified { request, identity }),
        Err(error) => Err((error, request)),
    }
}

/// Finds the run of `request`, whose target belongs to a server that the client named.
///
/// # Errors
/// As [`stage`].
pub fn stage_beside<R: Accepted>(request: R) -> Result<Identified<R>, (IdentifyError, R)> {
    match identify_beside(&request.head().fields) {
        Ok(identity) => Ok(Identified { request, identity }),
        Err(error) => Err((error, request)),
    }
}
