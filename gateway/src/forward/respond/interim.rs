//! Interim answers on their way to the client.
//!
//! In: the heads an upstream sends before its final one. Out: the same heads, recorded and sent at
//! once. They are held to a number, to a size in sum and to the configured silence, because nothing
//! else bounds them: they have no flow control, neither over HTTP/1 nor over HTTP/2. Never lets one
//! through that is beyond the bounds, and never takes one while the journal has no room.

use std::pin::pin;
use std::time::Duration;

use super::{Responding, Response, client_reset, gone, head, ready, unsayable};
use crate::accept::Reply;
use crate::capture::Recorder;
use crate::capture::record::Direction;
use crate::forward::ready::Ready;
use crate::forward::upstream::{Answer, AnswerError, Incoming};
use crate::wire::message::{ResponseHead, Version};
use crate::wire::sink::{Framing, SendError};

/// The most interim answers in one exchange: one a second says for a minute that work goes on.
pub(in crate::forward) const MAX_INTERIMS: usize = 64;

/// The most bytes that their heads may have in sum.
pub(in crate::forward) const MAX_INTERIM_BYTES: usize = 1 << 18;

/// The interim answers of one exchange so far.
#[derive(Debug, Default)]
pub(super) struct Interims {
    count: usize,
    bytes: usize,
    /// Whether the upstream's silence is measured: the last one was no 100, behind which the
    /// client speaks next.
    measured: bool,
}

impl Interims {
    /// Counts one more.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Endless`]: it is beyond the bounds.
    pub(super) fn admit(&mut self, head: &ResponseHead) -> Result<(), AnswerError> {
        let lengths = head.fields.iter().map(|(name, value)| name.len() + value.len() + 4);
        let length = lengths.fold(head.reason.len(), usize::saturating_add);
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
        self.measured = head.status != 100;
        if self.count > MAX_INTERIMS || self.bytes > MAX_INTERIM_BYTES {
            return Err(AnswerError::Endless);
        }
        Ok(())
    }
}

impl Responding {
    /// The upstream's next answer. Behind an interim one it must not be silent for longer than
    /// `patience`, unless the client still sends.
    pub(super) async fn next(
        &mut self,
        incoming: &mut Incoming,
        recorder: &Recorder,
        interims: &Interims,
        patience: Option<Duration>,
    ) -> Result<Answer, Response> {
        let patience = patience.filter(|_| interims.measured);
        let mut next = pin!(incoming.next());
        let mut taken = recorder.captured(Direction::Request);
        loop {
            tokio::select! {
                next = &mut next => return next.map_err(Response::None),
                reason = client_reset(&mut self.reply) => {
                    return Err(Response::ClientGone(SendError::Reset(reason)));
                }
                () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {
                    let now = recorder.captured(Direction::Request);
                    if let (Some(limit), true) = (patience, now == taken) {
                        return Err(Response::None(AnswerError::Silent(limit)));
                    }
                    taken = now;
                }
            }
        }
    }

    /// Records and sends one interim answer.
    pub(super) async fn interim(
        &mut self,
        head: &ResponseHead,
        recorder: &Recorder,
    ) -> Result<(), Response> {
        // HTTP/1.0 has no interim answers (RFC 9110 section 15.2).
        if self.version == Version::Http10 {
            return Ok(());
        }
        let sent = head::response(head, self.version, Framing::Bodiless, false);
        let ready = ready(&sent).map_err(unsayable)?;
        recorder.room().await;
        recorder.interim(&sent).map_err(Response::Down)?;
        let result = match (&mut self.reply, ready) {
            (Some(Reply::Http1(reply)), Ready::Http1(head)) => {
                reply.sink_mut().interim(&head).await
            }
            (Some(Reply::Http2(respond)), Ready::Http2(response)) => {
                respond.send_informational(response).map_err(|_| gone())
            }
            _ => Ok(()),
        };
        result.map_err(Response::ClientGone)
    }
}
