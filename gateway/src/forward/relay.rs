//! One direction of an exchange: every byte captured, then sent, the end only when it is on disk.
//!
//! Pieces of a message whose end is still to come are never held back. One that is whole in hand
//! before anything of it has left is all end: it leaves in one piece, once it is on disk.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::hold::Hold;
use crate::capture::journal::{Down, Position};
use crate::capture::record::Direction;
use crate::capture::{End, Recorder};
use crate::wire::http1::Filter;
use crate::wire::message::Fields;
use crate::wire::sink::{SendError, Sink};
use crate::wire::source::{Cut, Event, Source};

/// How one direction ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The whole message was captured and sent.
    Complete,
    /// The sender stopped in the middle.
    Cut(Cut),
    /// The receiver would not take the rest.
    Unsent(SendError),
    /// What the sender sent is not the message that its own head announced, or cannot be said to
    /// the receiver.
    Misfit(SendError),
    /// Nothing came for as long as the configuration allows.
    Stalled,
    /// The journal takes nothing any more; what is not on disk may not be released.
    Down(Down),
}

impl Ending {
    /// What is wrong with what the sender sent, where that ended it.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Cut(cut) if cut.is_fault() => Some(cut.to_string()),
            Self::Misfit(error) => Some(error.to_string()),
            _ => None,
        }
    }
}

impl From<SendError> for Ending {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Transport(_) | SendError::Reset(_) => Self::Unsent(error),
            SendError::Unwritable(_) | SendError::TooLong(_) | SendError::TooShort(_) => {
                Self::Misfit(error)
            }
        }
    }
}

/// What a relay is told about its direction.
#[derive(Debug)]
pub(super) struct Course<'a> {
    /// Which way the bytes go.
    pub direction: Direction,
    /// Where they are recorded.
    pub recorder: &'a Recorder,
    /// What the message's head lets go on, trailers included; none after an upgrade.
    pub filter: Option<Filter<'a>>,
    /// The longest silence between two reads.
    pub patience: Option<Duration>,
    /// Message boundaries to hold, after an upgrade to WebSocket.
    pub hold: Option<Hold>,
    /// What must be on disk before the first byte leaves: the exchange's number, for a request.
    pub first: Option<Position>,
}

/// Moves one body from `source` to `sink`.
pub(super) async fn relay(mut course: Course<'_>, source: &mut Source, sink: &mut Sink) -> Ending {
    match run(&mut course, source, sink).await {
        Ok(()) => Ending::Complete,
        Err(ending) => ending,
    }
}

async fn run(course: &mut Course<'_>, source: &mut Source, sink: &mut Sink) -> Result<(), Ending> {
    let (recorder, direction) = (course.recorder, course.direction);
    let mut silence = None;
    loop {
        if !source.is_at_hand().await {
            opened(course).await?;
            sink.flush().await.map_err(Ending::from)?;
        }
        recorder.room().await;
        match next(course.patience, &mut silence, source, sink).await? {
            Event::Data { payload, last } => {
                let read = course.hold.as_mut().map(|hold| hold.read(&payload));
                if read.is_some_and(|read| read.ends_message) {
                    recorder.mark(direction, payload.len()).map_err(Ending::Down)?;
                }
                let (tapped, position) =
                    recorder.data(direction, &payload).map_err(Ending::Down)?;
                if let Some(count) = read.and_then(|read| read.goes) {
                    let mut down = None;
                    let durable = async {
                        down = recorder.durable(position).await.err();
                        down.is_none()
                    };
                    let sent = sink.split_data(tapped, count, durable).await;
                    if let Some(down) = down {
                        return Err(Ending::Down(down));
                    }
                    sent.map_err(Ending::from)?;
                } else if last {
                    // The end goes to the journal first, so that its sync runs while the bytes
                    // before it are on their way.
                    let position = recorder
                        .ended(direction, End::Complete, true, None)
                        .map_err(Ending::Down)?;
                    // All of it is here and nothing is out, or it is a request, which nobody answers
                    // by a part of its last piece: so one wait, one write. Where nothing waits
                    // there is one anyway.
                    let together = direction == Direction::Request || !sink.has_begun();
                    if course.first.take().is_some() || together || !recorder.is_strict() {
                        recorder.durable(position).await.map_err(Ending::Down)?;
                        return sink.last(tapped, None).await.map_err(Ending::from);
                    }
                    sink.data(tapped).await.map_err(Ending::from)?;
                    recorder.durable(position).await.map_err(Ending::Down)?;
                    return sink.finish(None).await.map_err(Ending::from);
                } else if let Some(trailers) = trailers_of_whole(source, sink) {
                    let (position, trailers) = end(course, sink, Some(trailers))?;
                    course.first = None;
                    recorder.durable(position).await.map_err(Ending::Down)?;
                    return sink.last(tapped, trailers.as_ref()).await.map_err(Ending::from);
                } else {
                    opened(course).await?;
                    sink.data(tapped).await.map_err(Ending::from)?;
                }
            }
            Event::End(trailers) => {
                let (position, trailers) = end(course, sink, trailers)?;
                recorder.durable(position).await.map_err(Ending::Down)?;
                return sink.finish(trailers.as_ref()).await.map_err(Ending::from);
            }
        }
    }
}

/// The trailers, where they are in hand behind the data and nothing has left.
fn trailers_of_whole(source: &mut Source, sink: &Sink) -> Option<Fields> {
    if sink.has_begun() { None } else { source.trailers_at_hand() }
}

/// Waits, once, for what must be on disk before the first byte leaves.
async fn opened(course: &mut Course<'_>) -> Result<(), Ending> {
    match course.first.take() {
        Some(position) => course.recorder.durable(position).await.map_err(Ending::Down),
        None => Ok(()),
    }
}

/// Records the end, with the trailers as they came and as they leave; gives those that leave.
fn end(
    course: &Course<'_>,
    sink: &Sink,
    received: Option<Fields>,
) -> Result<(Position, Option<Fields>), Ending> {
    let (recorder, direction) = (course.recorder, course.direction);
    let Some(received) = received else {
        let position = recorder.ended(direction, End::Complete, true, None);
        return Ok((position.map_err(Ending::Down)?, None));
    };
    let sent = match &course.filter {
        Some(filter) if sink.takes_trailers() => filter.trailers(&received),
        // Where the next hop has no place for trailers they stay behind (RFC 9110 section 6.5.1).
        _ => Fields::default(),
    };
    let same = sent == received;
    let position = recorder.ended(direction, End::Trailers, same, Some((&received, &sent)));
    Ok((position.map_err(Ending::Down)?, Some(sent)))
}

/// The next event, within `patience`. The timer is made when something is waited for, and then set
/// again each time: a timer of its own for each piece of a stream costs more than the piece's record.
async fn next(
    patience: Option<Duration>,
    silence: &mut Option<Pin<Box<Sleep>>>,
    source: &mut Source,
    sink: &mut Sink,
) -> Result<Event, Ending> {
    let event = async {
        if matches!(sink, Sink::Http1(_)) {
            return source.next().await.map_err(Ending::Cut);
        }
        tokio::select! {
            event = source.next() => event.map_err(Ending::Cut),
            reason = sink.refused() => Err(Ending::Unsent(SendError::Reset(reason))),
        }
    };
    let Some(limit) = patience else { return event.await };
    let mut event = pin!(event);
    let mut waits = false;
    poll_fn(|context| {
        if let Poll::Ready(event) = event.as_mut().poll(context) {
            return Poll::Ready(event);
        }
        let timer = silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(&mut waits, true) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context).map(|()| Err(Ending::Stalled))
    })
    .await
}
