//! The record of one exchange while it happens.
//!
//! Every call copies into the journal's pending batch and returns; nothing here touches the disk.
//! Only [`Recorder::data`] makes a [`Tapped`], and only a `Tapped` can be sent: bytes that were
//! not captured have no way out.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sealtap_common::leaf::{End, ErrorCode, Outcome, Tunnel};
use serde::Serialize;

use super::heads::Heads;
use super::journal::{Down, Journal, Position, Ticket};
use super::record::{
    Answered, Closed, Connected, Dialect, Direction, Ended, Marked, Requested, Tunnelled, kind,
};
use crate::clock::Timeline;
use crate::wire::buffer::Payload;
use crate::wire::message::{Fields, RequestHead, ResponseHead};

/// What is kept for the next record's serialising, at most.
const SCRATCH_KEPT: usize = 16 * 1024;

thread_local! {
    /// Where records are serialised before the journal copies them: an allocation above 1 KiB has the
    /// system's allocator tidy up first.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Payload that has been captured: the very bytes that arrived, lent to whoever sends them on.
#[derive(Clone, Copy, Debug)]
pub struct Tapped<'a>(&'a Payload);

impl<'a> Tapped<'a> {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes as HTTP/2 wants them: shared where they came as a frame, else copied, so that no
    /// read buffer is held until a window opens.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        match self.0 {
            Payload::Frame(bytes) => bytes.clone(),
            Payload::Chunk(chunk) => Bytes::copy_from_slice(chunk),
        }
    }
}

/// Writes one exchange's records.
#[derive(Debug)]
pub struct Recorder {
    id: [u8; 16],
    /// For the operator's eyes: the run's name, or its id.
    run: String,
    journal: Journal,
    ticket: Ticket,
    timeline: Timeline,
    heads: std::sync::Arc<Heads>,
    /// Whom the exchange is with: tags bind a secret to it.
    authority: Bytes,
    /// Bytes captured so far, by direction.
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    /// Whether the last record is written.
    over: bool,
}

impl Recorder {
    pub(super) fn new(
        id: [u8; 16],
        run: String,
        journal: Journal,
        ticket: Ticket,
        timeline: Timeline,
        heads: std::sync::Arc<Heads>,
        authority: Bytes,
    ) -> Self {
        Self {
            id,
            run,
            journal,
            ticket,
            timeline,
            heads,
            authority,
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            over: false,
        }
    }

    /// The exchange's number within this boot.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.ticket.number
    }

    /// The exchange's random id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The run's name, or its id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Now, on the timeline of the records.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.timeline.now_us()
    }

    /// Body bytes captured so far in `direction`.
    #[must_use]
    pub fn captured(&self, direction: Direction) -> u64 {
        self.counter(direction).load(Ordering::Relaxed)
    }

    /// Waits while the journal has more to write than it should hold.
    pub async fn room(&self) {
        self.journal.room().await;
    }

    /// Whether ends of messages wait for the disk.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.journal.is_strict()
    }

    /// Resolves when everything up to `position` is on disk.
    ///
    /// # Errors
    ///
    /// [`Down`]: it never will be, and nothing that waits for it may be released.
    pub async fn durable(&self, position: Position) -> Result<(), Down> {
        self.journal.durable(position).await
    }

    /// Captures payload bytes.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn data<'a>(
        &self,
        direction: Direction,
        payload: &'a Payload,
    ) -> Result<(Tapped<'a>, Position), Down> {
        let kind = match direction {
            Direction::Request => kind::REQUEST_DATA,
            Direction::Response => kind::RESPONSE_DATA,
        };
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let mut offset = self.counter(direction).fetch_add(length, Ordering::Relaxed);
        let mut rest: &[u8] = payload;
        loop {
            // Small files take small records only.
            let most = self.journal.record_limit().saturating_sub(size_of::<u64>()).max(1);
            let (part, after) = rest.split_at_checked(most).unwrap_or((rest, &[]));
            let parts: [&[u8]; 2] = [&offset.to_le_bytes(), part];
            let position = self.journal.append(self.ticket, kind, &parts)?;
            if after.is_empty() {
                return Ok((Tapped(payload), position));
            }
            offset = offset.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
            rest = after;
        }
    }

    /// Records that the next `length` bytes in `direction` end a message of a WebSocket. What is
    /// recorded before its data is there whenever the data is.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn mark(&self, direction: Direction, length: usize) -> Result<(), Down> {
        let kind = match direction {
            Direction::Request => kind::REQUEST_MARK,
            Direction::Response => kind::RESPONSE_MARK,
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let end = self.captured(direction).saturating_add(length);
        self.write(kind, &Marked { end, at_us: self.timeline.now_us() }).map(drop)
    }

    /// Records how much passed through a tunnel that is not captured, so far.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn tunnelled(&self, tunnel: &Tunnel) -> Result<Position, Down> {
        let Tunnel { alert, from_client, reason, to_client } = *tunnel;
        let reason = reason.as_str().into();
        self.write(kind::TUNNELLED, &Tunnelled { from_client, to_client, reason, alert })
    }

    /// Records the request's head as it came and as it will leave.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn requested(&self, received: &RequestHead, sent: &RequestHead) -> Result<Position, Down> {
        let head = self.heads.request(received, sent, &self.authority);
        let dialect = dialect(&received.fields);
        let head = Cow::Borrowed(serde_bytes::Bytes::new(&head));
        self.write(kind::REQUESTED, &Requested { dialect, head })
    }

    /// Records the connection to the upstream.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn connected(&self, address: &str, tls: Option<&str>) -> Result<Position, Down> {
        let record = Connected { address: address.into(), tls: tls.map(Cow::Borrowed) };
        self.write(kind::CONNECTED, &record)
    }

    /// Records an interim answer.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn interim(&self, sent: &ResponseHead) -> Result<Position, Down> {
        self.journal.append(
            self.ticket,
            kind::INTERIM,
            &[&self.heads.interim(sent, &self.authority)],
        )
    }

    /// Records the final answer's head as it came and as it leaves.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn answered(
        &self,
        received: &ResponseHead,
        sent: &ResponseHead,
        by_gateway: Option<(Outcome, ErrorCode)>,
    ) -> Result<Position, Down> {
        self.answer(received, sent, by_gateway, false)
    }

    /// Records the head of an answer behind which another protocol is spoken.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn switched(
        &self,
        received: &ResponseHead,
        sent: &ResponseHead,
        websocket: bool,
    ) -> Result<Position, Down> {
        self.answer(received, sent, None, websocket)
    }

    fn answer(
        &self,
        received: &ResponseHead,
        sent: &ResponseHead,
        by_gateway: Option<(Outcome, ErrorCode)>,
        websocket: bool,
    ) -> Result<Position, Down> {
        let head = self.heads.response(received, sent, &self.authority);
        let record = Answered {
            at_us: self.timeline.now_us(),
            by_gateway: by_gateway
                .map(|(outcome, error)| (outcome.as_str().into(), error.as_str().into())),
            websocket,
            dialect: dialect(&received.fields),
            head: Cow::Borrowed(serde_bytes::Bytes::new(&head)),
        };
        self.write(kind::ANSWERED, &record)
    }

    /// Records how a message ended, with its trailers as they came and as they leave; what is
    /// recorded last counts.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn ended(
        &self,
        direction: Direction,
        end: End,
        same: bool,
        trailers: Option<(&Fields, &Fields)>,
    ) -> Result<Position, Down> {
        let kind = match direction {
            Direction::Request => kind::REQUEST_ENDED,
            Direction::Response => kind::RESPONSE_ENDED,
        };
        let trailers =
            trailers.map(|(received, sent)| self.heads.trailers(received, sent, &self.authority));
        let trailers = trailers.as_deref().map(|unit| Cow::Borrowed(serde_bytes::Bytes::new(unit)));
        self.write(kind, &Ended { end: end.as_str().into(), same, trailers })
    }

    /// Records the end of the exchange. Nothing follows it.
    ///
    /// # Errors
    ///
    /// [`Down`]: the exchange will be sealed as interrupted.
    pub fn closed(mut self, outcome: Outcome, error: Option<ErrorCode>) -> Result<(), Down> {
        self.over = true;
        self.close(outcome, error)
    }

    fn close(&self, outcome: Outcome, error: Option<ErrorCode>) -> Result<(), Down> {
        let record = Closed {
            at_us: self.timeline.now_us(),
            outcome: outcome.as_str().into(),
            error: error.map(|error| error.as_str().into()),
        };
        self.write(kind::CLOSED, &record).map(drop)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Request => &self.request_bytes,
            Direction::Response => &self.response_bytes,
        }
    }

    fn write<T: Serialize>(&self, kind: u8, record: &T) -> Result<Position, Down> {
        // At a thread's end there may be none to reuse.
        let mut scratch = SCRATCH.try_with(RefCell::take).unwrap_or_default();
        scratch.clear();
        // Serialising to memory fails only where a length is unknown, which no record has.
        let bytes = postcard::to_extend(record, scratch).unwrap_or_default();
        let position = self.journal.append(self.ticket, kind, &[&bytes]);
        if bytes.capacity() <= SCRATCH_KEPT {
            let _ = SCRATCH.try_with(|scratch| scratch.replace(bytes));
        }
        position
    }
}

impl Drop for Recorder {
    /// An exchange that nobody ended was dropped in the middle, by a stop or by a bug: it is over,
    /// and is sealed as interrupted.
    fn drop(&mut self) {
        if !self.over {
            // Where the journal is down it says so itself when it comes back.
            let _ = self.close(Outcome::Interrupted, None);
        }
    }
}

/// How a body with these fields is cut: at events where it is a readable event stream.
fn dialect(fields: &Fields) -> Dialect {
    let media_type = fields.first("content-type").unwrap_or_default();
    let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let events = media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream");
    let coded =
        fields.tokens("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if events && !coded { Dialect::EventStream } else { Dialect::Bytes }
}
