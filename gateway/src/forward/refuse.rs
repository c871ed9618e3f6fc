//! Requests that go nowhere: answered by the gateway, and recorded all the same.

use bytes::Bytes;
use sealtap_common::leaf::{End, ErrorCode, Outcome};

use super::answer::Answer;
use super::relay::Ending;
use super::respond::Responding;
use super::{Forwarded, Summary};
use crate::accept::{Accepted, BodyLength, Reply};
use crate::capture::journal::Down;
use crate::capture::record::Direction;
use crate::capture::{Recorder, Refused};
use crate::journey::NO_METHOD;
use crate::wire::message::{Fields, ResponseHead, Version};
use crate::wire::source::Source;

/// Answers a request that goes nowhere, and records the answer.
pub async fn refuse(refused: Refused, answer: Answer) -> Forwarded {
    let (recorder, accepted) = refused.into_parts();
    let summary = Summary::refused(&accepted);
    let method = accepted.head().method.clone();
    let whole = accepted.length() == BodyLength::None;
    let (body, reply) = accepted.into_streams();
    let response = Responding::new(reply, method);
    refused_with(recorder, response, body, whole, answer, summary).await
}

/// Answers bytes that were no request, and records that they came.
pub async fn refuse_malformed(
    recorder: Result<Recorder, Down>,
    reply: Reply,
    body: Source,
    answer: Answer,
) -> Forwarded {
    let mut response = Responding::new(reply, NO_METHOD);
    let summary = Summary::malformed();
    match recorder {
        Ok(recorder) => refused_with(recorder, response, body, false, answer, summary).await,
        Err(down) => {
            response.refuse(&down).await;
            let (rest, _) = response.into_rest(body, false);
            Forwarded { rest, summary }
        }
    }
}

/// Records a request that the HTTP/2 library has refused, and answered with a 431 where it was
/// `too_large`, else with a reset.
#[must_use]
pub fn refuse_unseen(recorder: Recorder, too_large: bool) -> Summary {
    let code = if too_large { ErrorCode::HeadTooLarge } else { ErrorCode::MalformedRequest };
    let _ = recorder.ended(Direction::Request, End::GatewayRefused, false, None);
    let mut summary = Summary::malformed();
    if too_large {
        let head = ResponseHead {
            status: 431,
            reason: Bytes::new(),
            version: Version::Http2,
            fields: Fields::default(),
        };
        let _ = recorder.answered(&head, &head, Some((Outcome::Refused, code)));
        let _ = recorder.ended(Direction::Response, End::Complete, true, None);
        summary.status = Some(431);
    }
    summary.started_us = recorder.now_us();
    summary.id = recorder.id();
    summary.number = recorder.number();
    recorder.run().clone_into(&mut summary.run);
    summary.outcome = Outcome::Refused;
    summary.error = Some(code);
    summary.recorded = recorder.closed(Outcome::Refused, Some(code)).is_ok();
    summary
}

/// Answers that nothing can be captured now; there is no record of it but the journal's own count.
pub async fn turn_away(refused: Box<(Down, Accepted)>) -> Forwarded {
    let (down, accepted) = *refused;
    let mut summary = Summary::refused(&accepted);
    let method = accepted.head().method.clone();
    let (body, reply) = accepted.into_streams();
    let mut response = Responding::new(reply, method);
    response.refuse(&down).await;
    summary.status = response.status();
    summary.outcome = Outcome::Refused;
    summary.error = Some(ErrorCode::JournalFailed);
    let (rest, _) = response.into_rest(body, false);
    Forwarded { rest, summary }
}

async fn refused_with(
    recorder: Recorder,
    mut response: Responding,
    body: Source,
    whole: bool,
    answer: Answer,
    mut summary: Summary,
) -> Forwarded {
    let end = if whole { End::Complete } else { End::GatewayRefused };
    let _ = recorder.ended(Direction::Request, end, whole, None);
    let sent = response.answer(&answer, &recorder, whole, Outcome::Refused).await;
    if let Ending::Down(down) = &sent {
        response.refuse(down).await;
        let (rest, _) = response.into_rest(body, false);
        return Forwarded { rest, summary };
    }
    if !matches!(sent, Ending::Complete) {
        let _ = recorder.ended(Direction::Response, End::ClientCancelled, false, None);
    }
    summary.close(&recorder, &response, Outcome::Refused, Some(answer.code));
    let (rest, _) = response.into_rest(body, whole);
    summary.recorded = recorder.closed(Outcome::Refused, Some(answer.code)).is_ok();
    Forwarded { rest, summary }
}
