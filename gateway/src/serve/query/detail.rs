//! Detail: everything `show` tells of one exchange.

use std::io::{self, Write};

use sealtap_common::leaf::{Exchange, Policy, Source};

use super::Query;
use super::deflate::Inflater;
use super::error::QueryError;
use super::find::Target;
use super::overlay::Overlay;
use super::units::Units;
use super::view::ExchangeView;
use super::websocket::{Lister, Message, Op};
use crate::store::Direction;

/// What only a sealed exchange has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealFacts {
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// What a message's end waited for.
    pub policy: Policy,
    /// The exchange's place in its run, from 1.
    pub position: u64,
    /// Who made the response.
    pub source: Option<Source>,
    /// The request's body.
    pub request: BodyFacts,
    /// The response's body.
    pub response: Option<BodyFacts>,
}

/// How a body was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFacts {
    /// How it was cut.
    pub dialect: &'static str,
    /// How many segments it has.
    pub segments: u32,
    /// Whether the bytes that arrived are the bytes that left.
    pub same: bool,
}

/// One exchange in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What `ls` says of it.
    pub view: ExchangeView,
    /// Its heads, trailers, interim answers and context.
    pub units: Units,
    /// What its leaf adds, once sealed.
    pub seal: Option<SealFacts>,
    /// The messages of a WebSocket session: the client's in order, then the upstream's.
    pub messages: Option<Vec<(Direction, Message)>>,
}

impl<O: Overlay> Query<O> {
    /// Everything about the exchange that `text` stands for.
    ///
    /// # Errors
    ///
    /// There is none, there are several, or store or journal cannot be read.
    pub fn detail(&mut self, text: &str) -> Result<Detail, QueryError> {
        let (view, units, seal) = match self.find(text)? {
            Target::Stored(stored) => {
                let (view, leaf, units) = ExchangeView::stored(&stored)?;
                (view.made(&leaf, self.store.as_ref())?, units, Some(seal_facts(&leaf)))
            }
            Target::Pending(view) => {
                let pending = self.overlay.units(&view.id.0).map_err(QueryError::Pending)?;
                let pending = pending.unwrap_or_default();
                let pending = pending.iter().map(|(slot, bytes)| (*slot, bytes.as_slice()));
                let units = Units::decode(pending).map_err(|(slot, error)| {
                    let (exchange, part) = (view.id.to_string(), slot.as_str());
                    QueryError::Unreadable { exchange, part, detail: error.to_string() }
                })?;
                (*view, units, None)
            }
        };
        let messages = match units.is_websocket() {
            true => Some(self.messages(&view.id.0, &units)?),
            false => None,
        };
        Ok(Detail { view, units, seal, messages })
    }

    /// Writes exactly the captured bytes of one body; gives how many.
    ///
    /// # Errors
    ///
    /// There is no such exchange or no such body, store or journal cannot be read, or `out` fails.
    pub fn body(
        &mut self,
        text: &str,
        direction: Direction,
        out: &mut dyn Write,
    ) -> Result<u64, QueryError> {
        let id = match self.find(text)? {
            Target::Stored(stored) => stored.id,
            Target::Pending(view) => view.id.0,
        };
        self.body_of(&id, direction, out)
    }

    fn body_of(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        out: &mut dyn Write,
    ) -> Result<u64, QueryError> {
        let is_stored = match &self.store {
            Some(store) => store.exchange(id)?.is_some(),
            None => false,
        };
        if !is_stored {
            // What `out` says must not be taken for a failure of the journal.
            let mut watched = Watched { out: &mut *out, failed: None };
            let written = self.overlay.write_body(id, direction, &mut watched);
            match (written, watched.failed) {
                (_, Some(kind)) => return Err(QueryError::Output(kind.into())),
                (Ok(Some(written)), None) => {
                    out.flush().map_err(QueryError::Output)?;
                    return Ok(written);
                }
                // It has just moved into the store, or it has no such body.
                (Ok(None), None) => {}
                (Err(error), None) => return Err(QueryError::Pending(error)),
            }
        }
        match &mut self.store {
            Some(store) => Ok(store.write_body(id, direction, out)?),
            None => Err(QueryError::Absent {
                exchange: sealtap_common::Id(*id).to_string(),
                what: match direction {
                    Direction::Request => "request body",
                    Direction::Response => "response body",
                },
            }),
        }
    }

    fn messages(
        &mut self,
        id: &[u8; 16],
        units: &Units,
    ) -> Result<Vec<(Direction, Message)>, QueryError> {
        let (deflate, index) = (units.deflate(), units.messages.as_ref());
        let mut all = Vec::new();
        for direction in [Direction::Request, Direction::Response] {
            let (side, alone) = match direction {
                Direction::Request => (
                    index.map(|index| &index.request),
                    deflate.map(|agreed| agreed.client_no_context_takeover),
                ),
                Direction::Response => (
                    index.map(|index| &index.response),
                    deflate.map(|agreed| agreed.server_no_context_takeover),
                ),
            };
            let lister = Lister::new(alone.map(Inflater::new));
            let mut feed = Feed { lister, messages: Vec::new() };
            self.body_of(id, direction, &mut feed)?;
            let mut messages = feed.finish();
            // Both list complete messages in the order of their ends.
            let listed = side.into_iter().flat_map(|side| &side.messages);
            let complete = messages.iter_mut().filter(|it| it.complete && it.op != Op::Unparsed);
            complete.zip(listed).for_each(|(message, entry)| message.sealed = Some(*entry));
            all.extend(messages.into_iter().map(|message| (direction, message)));
        }
        Ok(all)
    }
}

fn seal_facts(leaf: &Exchange) -> SealFacts {
    let facts = |body: &sealtap_common::commit::Body, same| BodyFacts {
        dialect: body.dialect.as_str(),
        segments: body.segments,
        same,
    };
    let response = leaf.response.as_ref().filter(|response| response.head.is_some());
    SealFacts {
        sealed: leaf.sealed,
        policy: leaf.policy,
        position: leaf.run.position,
        source: response.map(|response| response.source),
        request: facts(&leaf.request.body, leaf.request.same),
        response: response.map(|response| facts(&response.body, response.same)),
    }
}

/// Remembers whether a failure was the output's.
struct Watched<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::ErrorKind>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).inspect_err(|error| self.failed = Some(error.kind()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().inspect_err(|error| self.failed = Some(error.kind()))
    }
}

/// A body's bytes into the lister.
struct Feed {
    lister: Lister,
    messages: Vec<Message>,
}

impl Feed {
    fn finish(self) -> Vec<Message> {
        let Self { lister, mut messages } = self;
        lister.finish(&mut |message| messages.push(message));
        messages
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let messages = &mut self.messages;
        self.lister.feed(bytes, &mut |message| messages.push(message));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
