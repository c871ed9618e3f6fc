//! The parts of an exchange that a bundle can show or withhold: bodies and units alike are segments
//! under a root that the leaf binds.

use crate::commit::{Body, Dialect, Unit, UnitKind};
use crate::leaf::{Exchange, Leaf};
use crate::tree::Hash;
use crate::websocket::EXTENSION;
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
        /// The index of a WebSocket session's messages.
        Messages = "websocket-messages",
        /// Who made a connection, or went around: of a leaf that is none of an exchange.
        Maker = "maker",
    }
}

/// What a leaf binds of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// A body.
    Body(Body),
    /// A unit of this kind.
    Unit(Unit, UnitKind),
    /// The root of a unit of this kind, whose length only its tuple says.
    Root(Hash, UnitKind),
}

impl Bound {
    pub(super) fn segments(&self) -> u32 {
        match self {
            Self::Body(body) => body.segments,
            Self::Unit(..) | Self::Root(..) => 1,
        }
    }

    /// The dialect by which it is cut; that of a unit means nothing.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Body(body) => body.dialect,
            Self::Unit(..) | Self::Root(..) => Dialect::Bytes,
        }
    }

    /// Whether tuples that give this body are those of the part.
    pub(super) fn is(&self, found: &Body) -> bool {
        match self {
            Self::Body(body) => body == found,
            Self::Unit(unit, _) => (unit.length, unit.root) == (found.length, found.root),
            Self::Root(root, _) => *root == found.root,
        }
    }

    /// Whether it is one segment that is looked into when it is disclosed.
    pub(super) fn is_unit(&self) -> bool {
        !matches!(self, Self::Body(_))
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
            Self::Messages => {
                leaf.ext.get(EXTENSION).map(|root| Bound::Root(*root, UnitKind::Messages))
            }
            Self::Maker => None,
        };
        bound.filter(|bound| bound.segments() > 0)
    }
    /// What a leaf about a coverage binds of who it is about: of several parts of a connection, the
    /// first.
    pub(super) fn maker_bound_by(leaf: &Leaf) -> Option<Bound> {
        let unit = match leaf {
            Leaf::Connection(leaf) if leaf.part == 1 => Some(leaf.maker),
            Leaf::Bypass(leaf) => leaf.who,
            _ => None,
        };
        unit.map(|unit| Bound::Unit(unit, UnitKind::Maker))
    }
}
