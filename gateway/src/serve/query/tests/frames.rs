//! WebSocket messages, found again in bytes that come in pieces of every size.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use sealtap_common::websocket::Opcode;

use super::super::deflate::{Deflate, Inflater};
use super::super::websocket::{Decoded, Lister, Message, Op};
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
    walk_with(None, bytes, piece)
}

fn walk_with(inflater: Option<Inflater>, bytes: &[u8], piece: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut lister = Lister::new(inflater);
    for piece in bytes.chunks(piece) {
        lister.feed(piece, &mut |message| messages.push(message));
    }
    lister.finish(&mut |message| messages.push(message));
    messages
}

const TEXT: Op = Op::Frames(Opcode::Text);
const BINARY: Op = Op::Frames(Opcode::Binary);
const CLOSE: Op = Op::Frames(Opcode::Close);
const PING: Op = Op::Frames(Opcode::Ping);

fn message(op: Op, payload: &[u8]) -> Message {
    Message {
        op,
        length: payload.len() as u64,
        sha256: Sha256::digest(payload).into(),
        compressed: false,
        decoded: None,
        text: (op == TEXT).then(|| String::from_utf8_lossy(payload).into_owned()),
        complete: true,
        sealed: None,
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
        assert_eq!(walk(&masked, piece), [message(TEXT, b"Hello")]);
        assert_eq!(walk(&fragments, piece), [message(TEXT, b"Hello")]);
        assert_eq!(walk(&ping, piece), [message(PING, b"Hello")]);
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
    let expected = [message(PING, b"are you there"), message(BINARY, &whole), message(CLOSE, b"")];
    for piece in [1, 2, 3, 5, 1_000, 65_536, 200_000] {
        assert_eq!(walk(&bytes, piece), expected, "pieces of {piece}");
    }
}

#[test]
fn what_is_cut_off_or_no_frame_is_said() {
    let bytes = frame(0x81, None, b"whole, then cut");
    let cut = walk(&[&bytes[..], &bytes[..6]].concat(), 4);
    assert_eq!(cut[0], message(TEXT, b"whole, then cut"));
    assert_eq!(cut[1], Message { complete: false, ..message(TEXT, b"whol") });
    let header = walk(&[0x82, 0x7e, 0x01], 1);
    assert_eq!(header, [Message { complete: false, ..message(Op::Unparsed, &[0x82, 0x7e, 1]) }]);
    let beyond = [&[0x82, 0x7f][..], &[0xff; 8], b"rest"].concat();
    let found = walk(&beyond, 3);
    assert_eq!(found, [Message { complete: false, ..message(Op::Unparsed, &beyond) }]);
    // Fragments out of turn and reserved opcodes are no frames, to the end.
    for odd in [frame(0x80, None, b"x"), frame(0x83, None, b"y")] {
        let bytes = [frame(0x81, None, b"good"), odd.clone(), frame(0x81, None, b"z")].concat();
        let rest = [odd, frame(0x81, None, b"z")].concat();
        let unparsed = Message { complete: false, ..message(Op::Unparsed, &rest) };
        for piece in 1..bytes.len() {
            assert_eq!(walk(&bytes, piece), [message(TEXT, b"good"), unparsed.clone()]);
        }
    }
    let (begun, next) = (frame(0x01, None, b"never ends"), frame(0x81, None, b"next"));
    let unfinished = Message { complete: false, ..message(TEXT, b"never ends") };
    let unparsed = Message { complete: false, ..message(Op::Unparsed, &next) };
    assert_eq!(walk(&[begun, next].concat(), 4), [unfinished, unparsed]);
}

/// `text` as a compressor in `client_no_context_takeover` sends it: one stored block.
fn stored(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), text, &[0]].concat()
}

fn decoded(payload: &[u8], plain: &[u8]) -> Message {
    let sum = Decoded { length: plain.len() as u64, sha256: Sha256::digest(plain).into() };
    let text = Some(String::from_utf8_lossy(plain).into_owned());
    Message { compressed: true, decoded: Some(sum), text, ..message(TEXT, payload) }
}

#[test]
fn the_compressed_examples_of_the_rfc_are_read() {
    // RFC 7692, sections 7.2.3.1, 7.2.3.2 and 7.2.3.4.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let fragments =
        [frame(0x41, MASK, &hello[..3]), frame(0x89, MASK, b"?"), frame(0x80, MASK, &hello[3..])];
    let bytes = [
        fragments.concat(),
        frame(0xc1, MASK, &again),
        frame(0xc1, MASK, &last_block),
        frame(0xc1, MASK, &two_blocks),
        frame(0x81, MASK, b"plain"),
    ]
    .concat();
    let expected = [
        message(PING, b"?"),
        decoded(&hello, b"Hello"),
        decoded(&again, b"Hello"),
        decoded(&last_block, b"Hello"),
        decoded(&two_blocks, b"Hello"),
        message(TEXT, b"plain"),
    ];
    for piece in [1, 2, 3, 7, 1_000] {
        assert_eq!(walk_with(Some(Inflater::new(false)), &bytes, piece), expected);
    }
    // Without the window of the message before, the second one has nothing to refer to.
    let alone = walk_with(Some(Inflater::new(true)), &bytes, 9);
    assert_eq!(alone[1], decoded(&hello, b"Hello"));
    assert_ne!(alone[2], decoded(&again, b"Hello"));
    // Where nothing was agreed on, the bit stands for something else.
    let raw = walk(&frame(0xc1, MASK, &hello), 3);
    let unread = Message { compressed: true, text: None, ..message(TEXT, &hello) };
    assert_eq!(raw, [unread]);
}

#[test]
fn what_inflates_to_too_much_is_given_up() {
    let text = [b'x'; 400];
    let bytes = frame(0xc1, None, &stored(&text)).repeat(3);
    let found = walk_with(Some(Inflater::bounded(true, 1_000)), &bytes, 7);
    let given_up = Message { compressed: true, text: None, ..message(TEXT, &stored(&text)) };
    let read = Message { text: Some("x".repeat(240)), ..decoded(&stored(&text), &text) };
    assert_eq!(found, [read.clone(), read, given_up]);
    let broken = frame(0xc1, None, &[0xff; 9]);
    let found = walk_with(Some(Inflater::new(false)), &broken, 4);
    assert_eq!(found[0].decoded, None);
}

#[test]
fn what_was_agreed_on_is_read() {
    let read = |value: &'static str| Deflate::agreed([value.as_bytes()]);
    let both = |client, server| {
        Some(Deflate { client_no_context_takeover: client, server_no_context_takeover: server })
    };
    assert_eq!(read("permessage-deflate"), both(false, false));
    assert_eq!(
        read(
            "x-other; a=1, Permessage-Deflate ; server_no_context_takeover;client_max_window_bits=10"
        ),
        both(false, true)
    );
    assert_eq!(
        read("permessage-deflate; client_no_context_takeover; server_max_window_bits=\"15\""),
        both(true, false)
    );
    for odd in [
        "",
        "deflate",
        "permessage-deflate; what",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_no_context_takeover=1",
    ] {
        assert_eq!(read(odd), None, "{odd}");
    }
    assert_eq!(Deflate::agreed(["x".as_bytes(), b"permessage-deflate"]), both(false, false));
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
          "compressed": false, "decoded": null, "range": null, "time": null, "complete": true },
        { "dir": "request", "op": "close", "len": 2, "sha256": sha256(b"\x03\xe8"),
          "compressed": false, "decoded": null, "range": null, "time": null, "complete": true },
        { "dir": "response", "op": "binary", "len": 100_000, "sha256": sha256(&[9; 100_000]),
          "compressed": false, "decoded": null, "range": null, "time": null, "complete": true },
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
