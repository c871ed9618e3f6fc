//! The parts of an exchange that a bundle can show or withhold: bodies and units alike are segments
//! under a root that the leaf binds.

use crate::commit::{Body, Dialect, Unit, UnitKind};
use crate::leaf::Exchange;
use crate::words::words;

words! {
    /// One part of an exchange.
    Part {
        /// Client, upstream, and how the run was named.
        Context = "context",
        /// The request's head.
        RequestHead = "request-head",
        /// The request's body.
        RequestBody = "request-body",
        /// The request's trailers.
        RequestTrailers = "request-trailers",
        /// Interim answers.
        Interim = "interim",
        /// The response's head.
        ResponseHead = "response-head",
        /// The response's body.
        ResponseBody = "response-body",
        /// The response's trailers.
        ResponseTrailers = "response-trailers",
    }
}

/// What a leaf binds of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// A body.
    Body(Body),
    /// A unit of this kind.
    Unit(Unit, UnitKind),
}

impl Bound {
    pub(super) fn segments(&self) -> u32 {
        match self {
            Self::Body(body) => body.segments,
            Self::Unit(..) => 1,
        }
    }

    /// The part as a body; the dialect of a unit means nothing.
    pub(super) fn as_body(&self) -> Body {
        match self {
            Self::Body(body) => *body,
            Self::Unit(unit, _) => {
                let (length, root) = (unit.length, unit.root);
                Body { dialect: Dialect::Bytes, length, root, segments: 1 }
            }
        }
    }
}

impl Part {
    /// What `leaf` binds of this part; nothing where it has none, or one without bytes.
    pub(super) fn bound_by(self, leaf: &Exchange) -> Option<Bound> {
        let (request, response) = (&leaf.request, leaf.response.as_ref());
        let unit = |unit: Option<&Unit>, kind| unit.map(|unit| Bound::Unit(*unit, kind));
        let bound = match self {
            Self::Context => unit(Some(&leaf.context), UnitKind::Context),
            Self::RequestHead => unit(request.head.as_ref(), UnitKind::RequestHead),
            Self::RequestBody => Some(Bound::Body(request.body)),
            Self::RequestTrailers => unit(request.trailers.as_ref(), UnitKind::Trailers),
            Self::Interim => unit(response.and_then(|r| r.interim.as_ref()), UnitKind::Interim),
            Self::ResponseHead => {
                unit(response.and_then(|r| r.head.as_ref()), UnitKind::ResponseHead)
            }
            Self::ResponseBody => response.map(|r| Bound::Body(r.body)),
            Self::ResponseTrailers => {
                unit(response.and_then(|r| r.trailers.as_ref()), UnitKind::Trailers)
            }
        };
        bound.filter(|bound| bound.segments() > 0)
    }
}
