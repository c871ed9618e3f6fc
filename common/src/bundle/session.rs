//! A WebSocket session in a bundle: its message index against the bodies that are disclosed.

use super::part::Part;
use crate::leaf::Exchange;
use crate::websocket::{EXTENSION, Indexer, MessageIndex, Side};

/// Follows the bodies of one exchange, if it was a session.
#[derive(Default)]
pub(super) struct Session {
    is_session: bool,
    under_way: Indexer,
    request: Option<Side>,
    response: Option<Side>,
}

impl Session {
    pub(super) fn of(leaf: &Exchange) -> Self {
        let is_session = leaf.ext.contains_key(EXTENSION);
        let empty = |bytes: u64| (bytes == 0).then(Side::default);
        Self {
            is_session,
            under_way: Indexer::default(),
            // A body without bytes has no part, and is known.
            request: empty(leaf.request.body.length),
            response: empty(leaf.response.as_ref().map_or(0, |response| response.body.length)),
        }
    }

    /// Takes bytes of the part that is being read.
    pub(super) fn push(&mut self, part: Part, bytes: &[u8]) {
        if self.is_session && matches!(part, Part::RequestBody | Part::ResponseBody) {
            self.under_way.push(bytes);
        }
    }

    /// The part has ended; all of it was disclosed, or not.
    pub(super) fn ended(&mut self, part: Part, all: bool) {
        let side = match part {
            Part::RequestBody => &mut self.request,
            Part::ResponseBody => &mut self.response,
            _ => return,
        };
        let found = std::mem::take(&mut self.under_way).finish();
        *side = Some(found).filter(|_| all);
    }

    /// Holds the disclosed index against every body that is there; whether both were.
    ///
    /// # Errors
    /// What does not agree.
    pub(super) fn check(&self, index: &[u8]) -> Result<bool, String> {
        let index = MessageIndex::decode(index).map_err(|error| error.to_string())?;
        for (said, derived) in [(&index.request, &self.request), (&index.response, &self.response)]
        {
            if let Some(derived) = derived {
                said.check(derived)?;
            }
        }
        Ok(self.request.is_some() && self.response.is_some())
    }
}
