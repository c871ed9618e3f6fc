//! Tests of the HTTP/1 codec, by part; `properties` and `beside_hyper` take any input.

mod beside_hyper;
mod bodies;
mod forwarding;

mod properties;
mod requests;
mod responses;
mod scanning;
mod smuggling;
mod writing;

use bytes::Bytes;

use super::*;
use crate::wire::message::{Fields, Version};

fn request(head: &[u8]) -> Result<Request, HeadError> {
    parse_request(Bytes::copy_from_slice(head))
}

fn response(head: &[u8]) -> Result<Response, HeadError> {
    parse_response(Bytes::copy_from_slice(head), b"GET")
}

fn response_to(method: &[u8], head: &[u8]) -> Result<Response, HeadError> {
    parse_response(Bytes::copy_from_slice(head), method)
}

/// A request with these field lines after `Host`.
fn request_with(lines: &str) -> Result<Request, HeadError> {
    request(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

fn response_with(lines: &str) -> Result<Response, HeadError> {
    response(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes())
}

/// The fields of a head that go on.
fn passing(head: &Fields) -> Vec<(&[u8], &[u8])> {
    let filter = Filter::of(head);
    head.iter().filter(|(name, _)| filter.passes(name)).collect()
}

/// What a decoder gave for a whole body: payload, trailers, bytes left over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    payload: Vec<u8>,
    trailers: Option<Fields>,
    /// Bytes consumed, framing included.
    consumed: usize,
}

/// Feeds `pieces` in turn, each until it is consumed, then the end of the stream.
fn decode_pieces<'a>(
    framing: ResponseFraming,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Whole, BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let mut whole = Whole { payload: Vec::new(), trailers: None, consumed: 0 };
    for piece in pieces {
        let mut rest = piece;
        loop {
            let (consumed, decoded) = decoder.decode(rest)?;
            whole.consumed += consumed;
            rest = &rest[consumed..];
            match decoded {
                Decoded::More => {
                    assert!(rest.is_empty(), "more was asked for with input left");
                    break;
                }
                Decoded::Data(data) => {
                    assert!(!data.is_empty());
                    whole.payload.extend_from_slice(data);
                }
                Decoded::End(trailers) => {
                    assert!(decoder.is_ended());
                    assert_eq!(decoder.eof(), Ok(Decoded::End(None)));
                    whole.trailers = trailers;
                    return Ok(whole);
                }
            }
        }
    }
    decoder.eof()?;
    Ok(whole)
}

fn decode(framing: ResponseFraming, input: &[u8]) -> Result<Whole, BodyError> {
    let whole = decode_pieces(framing, [input]);
    // The same bytes one at a time: nothing may depend on how they arrive.
    assert_eq!(decode_pieces(framing, input.chunks(1)), whole);
    whole
}

fn chunked(input: &[u8]) -> Result<Whole, BodyError> {
    decode(ResponseFraming::Chunked, input)
}
