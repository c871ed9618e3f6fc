//! What holds for any bytes, cut in any way.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const WORDS: [&[u8]; 34] = [
    b"GET",
    b" ",
    b"/",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"Host",
    b"Host: b\r\n",
    b"X: y\r\n",
    b"x",
    b"Content-Length",
    b"3",
    b"Transfer-Encoding",
    b"chunked",
    b"gzip",
    b"Connection",
    b"close",
    b"HTTP/1.1 200 OK",
    b"204",
    b"3\r\nabc\r\n",
    b"0\r\n",
    b"0",
    b"a",
    b"\x80",
    b"-",
    b"\x7f",
];

/// What a message is altered by: its pieces in order, and a few words put in or taken out.
fn altered(pieces: impl Strategy<Value = Vec<Vec<u8>>>) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => select(&WORDS[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..4),
    ];
    let edits = prop_oneof![
        2 => Just(Vec::new()),
        3 => vec((any::<Index>(), proptest::option::weighted(0.7, word)), 1..4),
    ];
    (pieces, edits).prop_map(|(mut pieces, edits)| {
        for (at, word) in edits {
            match word {
                Some(word) => pieces.insert(at.index(pieces.len() + 1), word),
                None if pieces.is_empty() => {}
                None => drop(pieces.remove(at.index(pieces.len()))),
            }
        }
        pieces.concat()
    })
}

/// Heads, nearly half of them sound.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        [&b"GET"[..], b" ", b"/", b" ", b"HTTP/1.1"],
        [b"POST", b" ", b"/a?b", b" ", b"HTTP/1.0"],
        [b"CONNECT", b" ", b"a:1", b" ", b"HTTP/1.1"],
        [b"HTTP/1.1", b" ", b"200", b" ", b"OK"],
        [b"HTTP/1.1", b" ", b"204", b"", b""],
    ]);
    let line = select(vec![
        (&b"X"[..], &b"y"[..]),
        (b"x-a", b""),
        (b"X", b"y \tz"),
        (b"Content-Length", b"3"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Upgrade", b"x"),
        (b"Connection", b"upgrade, x"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
    ]);
    let pieces = (start, vec(line, 0..5)).prop_map(|(start, lines)| {
        let mut pieces: Vec<&[u8]> = start.to_vec();
        pieces.extend([&b"\r\n"[..], b"Host", b":", b" ", b"a", b"\r\n"]);
        for (name, value) in lines {
            pieces.extend([name, b":", b" ", value, b"\r\n"]);
        }
        pieces.push(b"\r\n");
        pieces.into_iter().map(<[u8]>::to_vec).collect()
    });
    altered(pieces)
}

/// Chunked bodies, nearly half of them sound, with something after.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunk = select(vec![
        [&b"3"[..], b"", b"\r\n", b"abc", b"\r\n"],
        [b"0A", b";x=\"y\"", b"\r\n", b"0\r\n\r\n\r\n12\n", b"\r\n"],
    ]);
    let trailer = select(vec![&b"X: y\r\n"[..], b"x:\r\n", b"Host: a\r\n", b"Sum:  1 \r\n"]);
    let pieces = (vec(chunk, 0..4), vec(trailer, 0..3)).prop_map(|(chunks, trailers)| {
        let mut pieces = chunks.concat();
        pieces.extend([&b"0"[..], b"\r\n"]);
        pieces.extend(trailers);
        pieces.extend([&b"\r\n"[..], b"next"]);
        pieces.into_iter().map(<[u8]>::to_vec).collect()
    });
    altered(pieces)
}

/// Cuts `bytes` at `cuts`, wherever these fall.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    let cut = |end| {
        let piece = &bytes[start..end];
        start = end;
        piece
    };
    ends.into_iter().map(cut).collect()
}

fn scan_in_pieces(bytes: &[u8], cuts: &[Index]) -> (Result<Option<usize>, HeadError>, usize) {
    let mut scanner = HeadScanner::new();
    let mut fed = 0;
    for piece in pieces(bytes, cuts) {
        fed += piece.len();
        match scanner.scan(&bytes[..fed]) {
            Ok(None) => {}
            found => return (found, scanner.leading()),
        }
    }
    (Ok(None), scanner.leading())
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    let bytes: Vec<u8> = (0..=255).filter(|byte| is_token(&[*byte])).collect();
    vec(select(bytes), 1..20)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| match byte {
        0..0x20 | 0x7f => b'\t',
        byte => byte,
    });
    vec(byte, 0..40).prop_map(|value| value.trim_ascii().to_vec())
}

type Pair = (Vec<u8>, Vec<u8>);

/// Fields of any name that neither frames nor routes.
fn fields() -> impl Strategy<Value = Vec<Pair>> {
    let named = |name: &[u8]| is_forbidden_trailer(name) || name.eq_ignore_ascii_case(b"expect");
    vec((token().prop_filter("framing", move |name| !named(name)), value()), 0..60)
}

fn borrowed(pairs: &[Pair]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs.iter().map(|(name, value)| (&name[..], &value[..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_scan_does_not_depend_on_how_bytes_arrive(bytes in heads(), cuts: Vec<Index>) {
        prop_assert_eq!(scan_in_pieces(&bytes, &cuts), scan_in_pieces(&bytes, &[]));
    }

    #[test]
    fn a_scanned_head_is_whole_and_an_accepted_head_scans(bytes in heads()) {
        let mut scanner = HeadScanner::new();
        if let Ok(Some(end)) = scanner.scan(&bytes) {
            let head = &bytes[scanner.leading()..end];
            for error in [request(head).err(), response(head).err()].into_iter().flatten() {
                use HeadError::{BareCarriageReturn, BareLineFeed, Incomplete, Nul};
                let unscanned = matches!(
                    error,
                    BareCarriageReturn { .. } | BareLineFeed { .. } | Nul { .. } | Incomplete
                );
                prop_assert!(!unscanned, "{:?}", error);
            }
        }
        if request(&bytes).is_ok() {
            prop_assert_eq!(HeadScanner::new().scan(&bytes), Ok(Some(bytes.len())));
        }
        if response(&bytes).is_ok() {
            prop_assert_eq!(HeadScanner::for_response().scan(&bytes), Ok(Some(bytes.len())));
        }
    }

    #[test]
    fn what_is_accepted_reads_the_same_when_written_again(bytes in heads()) {
        if let Ok(first) = request(&bytes) {
            let head = &first.head;
            let mut out = Vec::new();
            write_request_head(&mut out, &head.method, &head.target, head.version,
                head.fields.iter()).unwrap();
            prop_assert_eq!(request(&out), Ok(first));
        }
        if let Ok(first) = response(&bytes) {
            let mut out = Vec::new();
            let fields = &first.head.fields;
            let both = fields.first("content-length").and(fields.first("transfer-encoding"));
            let written = write_response_head(&mut out, &first.head, fields.iter());
            match both {
                // Taken where the connection ends, and never sent so.
                Some(_) => prop_assert_eq!(written, Err(WriteError::Ambiguous)),
                None => prop_assert_eq!(response(&out), Ok(first)),
            }
        }
    }

    #[test]
    fn what_goes_on_has_one_framing_and_no_connection(bytes in heads()) {
        let heads = [
            request(&bytes).map(|found| found.head.fields),
            response(&bytes).map(|found| found.head.fields),
        ];
        for fields in heads.into_iter().flatten() {
            let kept = passing(&fields);
            prop_assert!(kept.iter().all(|(name, _)| !is_hop_by_hop(name)));
            let mut out = Vec::new();
            let status = crate::wire::message::ResponseHead {
                status: 200,
                reason: Bytes::new(),
                version: Version::Http11,
                fields: Fields::default(),
            };
            prop_assert_eq!(write_response_head(&mut out, &status, kept.into_iter()), Ok(()));
            prop_assert!(response(&out).is_ok());
        }
    }

    #[test]
    fn what_is_accepted_httparse_reads_the_same(bytes in heads()) {
        let mut table = [httparse::EMPTY_HEADER; 64];
        // httparse gives targets as `str`, so it refuses those that are not UTF-8.
        if let Ok(ours) = request(&bytes) && str::from_utf8(&ours.head.target).is_ok() {
            let mut theirs = httparse::Request::new(&mut table);
            prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
            prop_assert_eq!(theirs.method.unwrap().as_bytes(), &ours.head.method[..]);
            prop_assert_eq!(theirs.path.unwrap().as_bytes(), &ours.head.target[..]);
            let fields = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            prop_assert!(ours.head.fields.iter().eq(fields));
        }
        if let Ok(ours) = response(&bytes) {
            let mut theirs = httparse::Response::new(&mut table);
            prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
            prop_assert_eq!(theirs.code, Some(ours.head.status));
            let fields = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            prop_assert!(ours.head.fields.iter().eq(fields));
        }
    }

    #[test]
    fn a_body_does_not_depend_on_how_bytes_arrive(bytes in bodies(), cuts: Vec<Index>) {
        let framings = [
            ResponseFraming::Chunked, ResponseFraming::Length(9), ResponseFraming::UntilClose,
        ];
        for framing in framings {
            let whole = decode_pieces(framing, [&bytes[..]]);
            prop_assert_eq!(decode_pieces(framing, pieces(&bytes, &cuts)), whole);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_legal_head_survives(method in token(), path: Vec<u8>, pairs in fields()) {
        let visible = path.into_iter().filter(|byte| *byte > 0x20 && *byte != 0x7f);
        let target: Vec<u8> = [b'/'].into_iter().chain(visible).collect();
        prop_assume!(method != b"CONNECT");
        let mut out = Vec::new();
        let host = [(&b"Host"[..], &b""[..])].into_iter();
        let all: Vec<_> = host.chain(borrowed(&pairs)).collect();
        write_request_head(&mut out, &method, &target, Version::Http11, all.iter().copied())
            .unwrap();
        let found = request(&out).unwrap();
        prop_assert_eq!(&found.head.method[..], &method[..]);
        prop_assert_eq!(&found.head.target[..], &target[..]);
        let kept: Vec<_> = found.head.fields.iter().collect();
        prop_assert_eq!(kept, all);
    }

    #[test]
    fn any_chunked_body_survives(
        chunks in vec(vec(any::<u8>(), 1..300), 0..8),
        pairs in fields(),
        cuts: Vec<Index>,
        next: Vec<u8>,
    ) {
        let mut out = Vec::new();
        for chunk in &chunks {
            write_chunk_head(&mut out, chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(CHUNK_END);
        }
        out.extend_from_slice(LAST_CHUNK);
        write_trailers(&mut out, borrowed(&pairs)).unwrap();
        let length = out.len();
        out.extend_from_slice(&next);
        let whole = decode_pieces(ResponseFraming::Chunked, pieces(&out, &cuts)).unwrap();
        prop_assert_eq!(whole.payload, chunks.concat());
        prop_assert_eq!(whole.consumed, length);
        let trailers = (!pairs.is_empty()).then(|| Fields::from_pairs(borrowed(&pairs)));
        prop_assert_eq!(whole.trailers, trailers);
    }
}
