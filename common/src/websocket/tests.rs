use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// One frame: opcode bits with FIN, a payload, masked or not.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let length = payload.len();
    let mut out = vec![first];
    match length {
        0..=125 => out.push(mask | u8::try_from(length).unwrap()),
        126..=0xffff => {
            out.push(mask | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    if masked {
        out.extend([1, 2, 3, 4]);
    }
    out.extend_from_slice(payload);
    out
}

/// Every message in `pieces`, and the walker at the end.
fn walk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, Walker) {
    let mut walker = Walker::new();
    let mut list = Vec::new();
    let mut fed = 0;
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let step = walker.next(rest);
            assert!(step.used > 0);
            assert!(step.payload.is_none_or(|payload| payload.length <= step.used));
            fed += step.used;
            rest = &rest[step.used..];
            if let Some(message) = step.message {
                assert_eq!(message.end, fed as u64, "reported with its last byte");
                list.push(message);
            }
        }
    }
    (list, walker)
}

fn all(bytes: &[u8]) -> (Vec<Message>, Walker) {
    let (list, walker) = walk([bytes]);
    let (again, other) = walk(bytes.chunks(1));
    assert_eq!(again, list);
    assert_eq!(other.lost_at(), walker.lost_at());
    assert_eq!(other.is_inside_message(), walker.is_inside_message());
    (list, walker)
}

#[test]
fn messages_of_every_length_end_with_their_last_byte() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        for masked in [false, true] {
            let bytes = frame(0x82, &vec![0x88; length], masked);
            let (list, walker) = all(&[&bytes[..], &bytes].concat());
            let end = bytes.len() as u64;
            let opcode = Opcode::Binary;
            let first = Message { start: 0, end, opcode, compressed: false };
            assert_eq!(
                list,
                [first, Message { start: end, end: 2 * end, opcode, compressed: false }]
            );
            assert!(!walker.is_inside_message());
            let (list, walker) = all(&bytes[..bytes.len() - 1]);
            assert_eq!((list, walker.is_inside_message()), (vec![], true));
        }
    }
}

#[test]
fn control_frames_between_fragments_are_messages_of_their_own() {
    let parts = [
        frame(0x01, b"Hel", true),
        frame(0x89, b"ping", true),
        frame(0x00, b"", true),
        frame(0x8a, b"", true),
        frame(0x80, b"lo", true),
        frame(0x88, b"\x03\xe8", true),
    ];
    let at = |count: usize| parts[..count].concat().len() as u64;
    let (list, walker) = all(&parts.concat());
    let expected = [
        Message { start: at(1), end: at(2), opcode: Opcode::Ping, compressed: false },
        Message { start: at(3), end: at(4), opcode: Opcode::Pong, compressed: false },
        Message { start: 0, end: at(5), opcode: Opcode::Text, compressed: false },
        Message { start: at(5), end: at(6), opcode: Opcode::Close, compressed: false },
    ];
    assert_eq!(list, expected);
    assert_eq!(list.map_codes(), [9, 10, 1, 8]);
    assert!(!walker.is_inside_message());
    assert!(all(&parts[..4].concat()).1.is_inside_message());
}

trait Codes {
    fn map_codes(&self) -> Vec<u8>;
}

impl Codes for [Message] {
    fn map_codes(&self) -> Vec<u8> {
        self.iter().map(|message| message.opcode.code()).collect()
    }
}

#[test]
fn what_has_one_reading_is_followed() {
    let compressed = frame(0xc1, b"abc", true);
    let every_bit = frame(0xf2, b"abc", false);
    let longer_than_needed = [&[0x82, 126, 0, 1][..], b"a", &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0]];
    let bytes =
        [compressed, every_bit, longer_than_needed.concat(), frame(0x89, &[0; 125], true)].concat();
    let (list, walker) = all(&bytes);
    assert_eq!(list.map_codes(), [1, 2, 2, 2, 9]);
    assert_eq!(walker.lost_at(), None);
}

#[test]
fn what_has_no_reading_is_lost_from_its_frame_on() {
    let good = frame(0x81, b"good", true);
    let open = frame(0x01, b"open", true);
    let cases: [(&[u8], &[u8]); 11] = [
        (&good, &[0x83, 0]),
        (&good, &[0x8b, 0]),
        (&good, b"GET / HTTP/1.1"),
        (&good, &[0x80, 0]),
        (&good, &[0x00, 0]),
        (&good, &[0x09, 0]),
        (&good, &[0x88, 126, 0, 126]),
        (&good, &[0x89, 127, 0, 0, 0, 0, 0, 0, 1, 0]),
        (&good, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (&open, &[0x81, 0]),
        (&open, &[0x02, 0]),
    ];
    for (before, bad) in cases {
        let (list, walker) = all(&[before, bad, &good, &good].concat());
        assert_eq!(list.len(), usize::from(before == good), "{bad:?}");
        assert_eq!(walker.lost_at(), Some(before.len() as u64), "{bad:?}");
    }
    // A cut after Lost is not one of a message, unless fragments were open.
    assert!(!all(&[0xff]).1.is_inside_message());
}

#[test]
fn the_longest_frame_only_never_ends() {
    let bytes = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5];
    let (list, walker) = all(&bytes);
    assert_eq!((list.len(), walker.lost_at(), walker.is_inside_message()), (0, None, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn messages_do_not_depend_on_how_bytes_arrive(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..200), any::<bool>()), 0..8),
        tail: Vec<u8>,
        cuts: Vec<Index>,
    ) {
        // Half of all first bytes are no legal opcode; most of these runs should go on.
        let legal = |first: u8| if first < 0x20 { first } else { 0x80 | [1, 2, 8, 9, 10][usize::from(first % 5)] };
        let mut bytes: Vec<u8> =
            frames.iter().flat_map(|(first, body, masked)| frame(legal(*first), body, *masked)).collect();
        bytes.extend(tail);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut start = 0;
        let pieces: Vec<&[u8]> = ends.iter().map(|end| {
            let piece = &bytes[start..*end];
            start = *end;
            piece
        }).collect();
        let (whole, last) = walk([&bytes[..]]);
        let (cut, other) = walk(pieces);
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(other.lost_at(), last.lost_at());
        prop_assert_eq!(other.is_inside_message(), last.is_inside_message());
        // Ends rise, and data messages do not overlap one another.
        prop_assert!(whole.windows(2).all(|pair| pair[0].end < pair[1].end));
        let data: Vec<_> = whole.iter().filter(|message| !message.opcode.is_control()).collect();
        prop_assert!(data.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }

    #[test]
    fn whole_messages_are_found_one_for_one(
        messages in vec((1..3_u8, vec(vec(any::<u8>(), 0..300), 1..4), any::<bool>()), 0..8),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (code, fragments, masked) in &messages {
            let start = bytes.len() as u64;
            for (number, fragment) in fragments.iter().enumerate() {
                let first = if number == 0 { *code } else { 0 };
                let fin = if number + 1 == fragments.len() { 0x80 } else { 0 };
                bytes.extend(frame(fin | first, fragment, *masked));
            }
            let opcode = if *code == 1 { Opcode::Text } else { Opcode::Binary };
            expected.push(Message { start, end: bytes.len() as u64, opcode, compressed: false });
        }
        let (list, walker) = walk([&bytes[..]]);
        prop_assert_eq!(list, expected);
        prop_assert!(!walker.is_inside_message() && walker.lost_at().is_none());
    }
}

mod index {
    use super::*;

    fn side(bytes: &[u8], marks: &[(u64, u64)]) -> Side {
        let mut indexer = Indexer::default();
        marks.iter().for_each(|(end, time)| indexer.mark(*end, *time));
        indexer.push(bytes);
        indexer.finish()
    }

    #[test]
    fn a_message_has_the_time_of_the_read_that_ended_it() {
        let bytes = [frame(0x81, b"a", false), frame(0x81, b"b", false), frame(0x88, b"", false)];
        // The first read has the first message and half of the second; the clock was set back.
        let found = side(&bytes.concat(), &[(4, 70), (6, 50), (8, 90)]);
        let times: Vec<u64> = found.messages.iter().map(|entry| entry.time).collect();
        assert_eq!(times, [70, 70, 90]);
    }

    #[test]
    fn more_messages_than_are_listed_are_counted() {
        let bytes = frame(0x8a, b"", false).repeat(LISTED + 7);
        let found = side(&bytes, &[]);
        assert_eq!((found.count, found.messages.len()), (LISTED as u64 + 7, LISTED));
        let index = MessageIndex { request: found.clone(), response: Side::default() };
        assert_eq!(MessageIndex::decode(&index.encode()), Ok(index));
        let mut fewer = found.clone();
        fewer.count -= 1;
        assert!(fewer.check(&found).is_err());
    }

    #[test]
    fn each_difference_but_that_of_times_is_found() {
        let good = [frame(0x81, b"text", true), frame(0x89, b"", true)].concat();
        let found = side(&[good.as_slice(), &[0x8f]].concat(), &[(12, 5)]);
        assert_eq!(found.raw, Some(good.len() as u64));
        let edits: [fn(&mut Side); 6] = [
            |side| side.count += 1,
            |side| side.raw = None,
            |side| side.raw = Some(1),
            |side| side.messages[0].start += 1,
            |side| side.messages[1].end -= 1,
            |side| side.messages[0].opcode = Opcode::Binary,
        ];
        for edit in edits {
            let mut said = found.clone();
            edit(&mut said);
            assert!(said.check(&found).is_err(), "{said:?}");
        }
        let mut later = found.clone();
        later.messages[1].time += 1;
        assert_eq!(later.check(&found), Ok(()));
    }
}

#[test]
fn payload_comes_unmasked_whatever_the_cuts() {
    // The frames made here carry a mask, but what they are given as it is.
    let masked = |text: &[u8]| -> Vec<u8> {
        text.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    };
    let bytes = [
        frame(0x41, &masked(b"Hello, "), true),
        frame(0x89, b"?", true),
        frame(0x80, &masked(b"world"), true),
    ]
    .concat();
    for piece in 1..=bytes.len() {
        let (mut walker, mut text) = (Walker::new(), Vec::new());
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                let step = walker.next(rest);
                if let Some(payload) = step.payload {
                    assert_eq!(payload.compressed, !payload.opcode.is_control());
                    let masked = &rest[step.used - payload.length..step.used];
                    let keys = payload.mask.unwrap().into_iter().cycle();
                    let plain = masked.iter().zip(keys).map(|(byte, key)| byte ^ key);
                    if payload.opcode == Opcode::Text {
                        text.extend(plain);
                    }
                }
                rest = &rest[step.used..];
            }
        }
        assert_eq!(text, b"Hello, world", "pieces of {piece}");
    }
}
