//! WebSocket messages, found again in bytes that come in pieces of every size.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::websocket::{Message, Op, Walker};
use super::{Journal, Sample, put, query, response_head, sha256, show};
use crate::store::Slot;
use crate::store::tests::fixture::octets;

/// One frame as RFC 6455 draws it.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(bit | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    bytes
}

fn walk(bytes: &[u8], piece: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut walker = Walker::new();
    for piece in bytes.chunks(piece) {
        walker.feed(piece, &mut |message| messages.push(message));
    }
    walker.finish(&mut |message| messages.push(message));
    messages
}

fn message(op: Op, payload: &[u8]) -> Message {
    Message {
        op,
        length: payload.len() as u64,
        sha256: Sha256::digest(payload).into(),
        compressed: false,
        complete: true,
    }
}

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 0xff]);

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 6455, section 5.7.
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    for piece in 1..12 {
        assert_eq!(walk(&masked, piece), [message(Op::Text, b"Hello")]);
        assert_eq!(walk(&fragments, piece), [message(Op::Text, b"Hello")]);
        assert_eq!(walk(&ping, piece), [message(Op::Ping, b"Hello")]);
    }
}

#[test]
fn control_frames_come_between_fragments() {
    let long = vec![7_u8; 70_000];
    let mut bytes = frame(0x02, MASK, &long);
    bytes.extend(frame(0x89, MASK, b"are you there"));
    bytes.extend(frame(0x80, MASK, b"the end"));
    bytes.extend(frame(0x88, MASK, b""));
    let whole = [long.as_slice(), b"the end"].concat();
    let expected =
        [message(Op::Ping, b"are you there"), message(Op::Binary, &whole), message(Op::Close, b"")];
    for piece in [1, 2, 3, 5, 1_000, 65_536, 200_000] {
        assert_eq!(walk(&bytes, piece), expected, "pieces of {piece}");
    }
}

#[test]
fn what_is_cut_off_or_no_frame_is_said() {
    let bytes = frame(0x81, None, b"whole, then cut");
    let cut = walk(&[&bytes[..], &bytes[..6]].concat(), 4);
    assert_eq!(cut[0], message(Op::Text, b"whole, then cut"));
    assert_eq!(cut[1], Message { complete: false, ..message(Op::Text, b"whol") });
    let header = walk(&[0x82, 0x7e, 0x01], 1);
    assert_eq!(header, [Message { complete: false, ..message(Op::Unparsed, &[0x82, 0x7e, 1]) }]);
    let beyond = [&[0x82, 0x7f][..], &[0xff; 8], b"rest"].concat();
    let found = walk(&beyond, 3);
    assert_eq!(found, [Message { complete: false, ..message(Op::Unparsed, &beyond) }]);
    let stray = walk(&frame(0x80, None, b"x"), 1);
    assert_eq!(stray, [message(Op::Continuation, b"x")]);
    let odd = [frame(0x01, None, b"never ends"), frame(0x81, None, b"next")].concat();
    let unfinished = Message { complete: false, ..message(Op::Text, b"never ends") };
    assert_eq!(walk(&odd, 4), [unfinished, message(Op::Text, b"next")]);
    let compressed = walk(&frame(0xc1, MASK, b"zip"), 9);
    assert_eq!(compressed, [Message { compressed: true, ..message(Op::Text, b"zip") }]);
    assert_eq!(walk(&frame(0x83, None, b""), 1)[0].op, Op::Reserved(3));
}

#[test]
fn show_lists_the_messages_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let head = response_head(101, &[octets("Upgrade", "WebSocket")], &[]);
    let client = [frame(0x81, MASK, b"hello"), frame(0x88, MASK, b"\x03\xe8")].concat();
    let server = frame(0x82, None, &[9; 100_000]);
    let session = Sample::new(0).run_name("session").unit(Slot::ResponseHead, head).bodies(
        &mut journal,
        &client,
        &server,
    );
    put(directory.path(), &[session], &mut journal);
    let shown = show(&mut query(directory.path()), "session");
    let expected = serde_json::json!([
        { "dir": "request", "op": "text", "len": 5, "sha256": sha256(b"hello"),
          "compressed": false, "complete": true },
        { "dir": "request", "op": "close", "len": 2, "sha256": sha256(b"\x03\xe8"),
          "compressed": false, "complete": true },
        { "dir": "response", "op": "binary", "len": 100_000, "sha256": sha256(&[9; 100_000]),
          "compressed": false, "complete": true },
    ]);
    assert_eq!(shown["websocket"], expected);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_messages(bytes in prop::collection::vec(any::<u8>(), 0..400),
        payloads in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..6),
        piece in 1_usize..50) {
        let framed: Vec<u8> =
            payloads.iter().flat_map(|(first, payload)| frame(*first, MASK, payload)).collect();
        for bytes in [&bytes, &framed] {
            let whole = walk(bytes, usize::MAX);
            prop_assert_eq!(walk(bytes, piece), whole);
        }
    }
}
