//! An HTTP/1 connection of a client: one request after the other.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sealtap_common::leaf::ErrorCode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::accepted::{Accepted, BodyLength, ByteReply, Client, Reply};
use super::door;
use crate::forward::Rest;
use crate::forward::answer::Answer;
use crate::journey::Journey;
use crate::wire::buffer::Chunk;
use crate::wire::head::{ReadHeadError, read_head};
use crate::wire::http1::{
    BodyDecoder, HeadError, HeadScanner, Request, RequestFraming, parse_request,
};
use crate::wire::message::Version;
use crate::wire::source::{ByteSource, Source};
use crate::wire::stream::{Reader, Stream, Writer};

/// How long a client that is told good-bye may go on sending what it had under way.
const LINGER: Duration = Duration::from_secs(2);

/// Serves requests until the connection ends or `stop` turns true between two of them.
pub(super) async fn serve(
    stream: Stream,
    carry: Chunk,
    client: Arc<Client>,
    journey: &Arc<Journey>,
    mut stop: watch::Receiver<bool>,
) {
    let (mut reader, mut writer) = stream.split();
    let mut carry = carry;
    // One timer and one place among those who are told to stop, for all requests.
    let told = stop.clone();
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut idle = pin!(sleep(journey.settings.load().timeouts.client_idle));
    loop {
        if !begins(&mut carry) {
            let limit = journey.settings.load().timeouts.client_idle;
            idle.as_mut().reset(Instant::now() + limit);
        }
        while !begins(&mut carry) {
            // Nothing is held while the client thinks about its next request.
            let next = tokio::select! {
                biased;
                chunk = reader.read() => chunk,
                _ = &mut stopped => return,
                () = &mut idle => return,
            };
            carry = match next {
                Ok(chunk) if chunk.is_empty() => return,
                Ok(chunk) if carry.is_empty() => chunk,
                Ok(chunk) => Chunk::copy_of(&[&*carry, &*chunk].concat()),
                Err(_) => return,
            };
        }
        let head = read_head(&mut reader, &mut carry, HeadScanner::new());
        let limit = journey.settings.load().timeouts.client_head;
        let head = timeout_at(Instant::now() + limit, head).await;
        let request = match head {
            Err(_) => Err(None),
            Ok(Err(ReadHeadError::Malformed(error))) => Err(Some(error)),
            Ok(Err(_)) => return,
            Ok(Ok(head)) => parse_request(head).map_err(Some),
        };
        let rest = match request {
            Ok(request) => {
                let accepted = accept(request, reader, writer, carry, &client, journey);
                if door::is_asked_for(&accepted, journey) {
                    match door::connect(accepted, journey, told.clone()).await {
                        Some(rest) => rest,
                        None => return,
                    }
                } else {
                    journey.travel(accepted).await
                }
            }
            Err(error) => {
                let reply = ByteReply::new(writer, Version::Http11, false);
                let body = ByteSource::new(reader, Chunk::empty(), nothing());
                let reply = Reply::Http1(reply);
                journey.malformed(&client, refusal(error), reply, Source::Http1(body)).await
            }
        };
        match rest {
            Rest::KeepAlive { reader: r, writer: w, carry: c } => {
                (reader, writer, carry) = (r, w, c);
            }
            Rest::Close { reader, writer, graceful } => {
                return linger(reader, writer, graceful).await;
            }
            Rest::Closed => return,
        }
        if *told.borrow() {
            return;
        }
    }
}

/// Whether a request begins in `carry`. Empty lines before it are dropped (RFC 9112 section 2.2):
/// old clients send one behind a body, and it must not start the clock of a head.
fn begins(carry: &mut Chunk) -> bool {
    while carry.starts_with(b"\r\n") {
        carry.advance(2);
    }
    if carry.is_empty() {
        *carry = Chunk::empty();
    }
    !matches!(&**carry, b"" | b"\r")
}

fn accept(
    request: Request,
    reader: Reader,
    writer: Writer,
    carry: Chunk,
    client: &Arc<Client>,
    journey: &Journey,
) -> Accepted {
    let length = match request.framing {
        RequestFraming::None => BodyLength::None,
        RequestFraming::Length(length) => BodyLength::Exactly(length),
        RequestFraming::Chunked => BodyLength::Unknown,
    };
    let upgrade = request.connection.upgrade.is_some() && length == BodyLength::None;
    // HTTP/1.0 connections end after each answer: its persistence was never standard.
    let keep_alive = !request.connection.close && request.head.version == Version::Http11;
    let reply = ByteReply::new(writer, request.head.version, keep_alive);
    let body = ByteSource::new(reader, carry, BodyDecoder::new(request.framing));
    Accepted {
        head: request.head,
        length,
        body: Source::Http1(body),
        reply: Reply::Http1(reply),
        client: Arc::clone(client),
        upgrade,
        started_us: journey.now_us(),
    }
}

fn nothing() -> BodyDecoder {
    BodyDecoder::new(RequestFraming::None)
}

/// What to say to bytes that are no request, or to none in time.
fn refusal(error: Option<HeadError>) -> Answer {
    let Some(error) = error else {
        return Answer::new(
            408,
            ErrorCode::MalformedRequest,
            "the request's head was not complete in time",
        );
    };
    let status = error.status();
    let code = if status == 431 { ErrorCode::HeadTooLarge } else { ErrorCode::MalformedRequest };
    Answer::new(status, code, error.to_string())
}

/// Ends a connection without losing what was sent: a socket closed with unread input is reset, and
/// the reset may overtake the answer (RFC 9112 section 9.6).
async fn linger(mut reader: Reader, mut writer: Writer, graceful: bool) {
    if graceful && writer.finish().await.is_err() {
        return;
    }
    let drain = async { while matches!(reader.read().await, Ok(chunk) if !chunk.is_empty()) {} };
    let _ = timeout(LINGER, drain).await;
}
