use super::*;

fn whole(payload: &[u8], trailers: Option<Fields>, consumed: usize) -> Result<Whole, BodyError> {
    Ok(Whole { payload: payload.to_vec(), trailers, consumed })
}

#[test]
fn each_framing_ends_where_it_says() {
    use ResponseFraming::*;
    assert_eq!(decode(None, b"next"), whole(b"", Option::None, 0));
    assert_eq!(decode(Length(0), b"next"), whole(b"", Option::None, 0));
    assert_eq!(decode(Length(3), b"abcnext"), whole(b"abc", Option::None, 3));
    assert_eq!(decode(UntilClose, b"abc"), whole(b"abc", Option::None, 3));
    assert_eq!(decode(Upgraded, b"\0\r\n"), whole(b"\0\r\n", Option::None, 3));
    assert_eq!(chunked(b"3\r\nabc\r\n0\r\n\r\nnext"), whole(b"abc", Option::None, 13));
    assert_eq!(chunked(b"0\r\n\r\n"), whole(b"", Option::None, 5));
    assert_eq!(chunked(b"000\r\n\r\n"), whole(b"", Option::None, 7));
    let upper = [b"00000000000000aB\r\n", &[b'x'; 0xab][..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(chunked(&upper), whole(&[b'x'; 0xab], Option::None, upper.len()));
}

#[test]
fn an_end_of_stream_inside_a_body_is_a_cut() {
    let body = b"3;x\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for length in 0..body.len() {
        assert_eq!(chunked(&body[..length]), Err(BodyError::Cut), "{length}");
    }
    for length in 0..3 {
        assert_eq!(decode(ResponseFraming::Length(3), &body[..length]), Err(BodyError::Cut));
    }
}

#[test]
fn an_end_of_stream_after_the_last_byte_is_none() {
    let mut decoder = BodyDecoder::new(RequestFraming::Length(3));
    assert_eq!(decoder.decode(b"abc"), Ok((3, Decoded::Data(b"abc"))));
    assert_eq!(decoder.eof(), Ok(Decoded::End(None)));
    assert_eq!(BodyDecoder::new(RequestFraming::Length(0)).eof(), Ok(Decoded::End(None)));
    assert_eq!(BodyDecoder::new(RequestFraming::None).eof(), Ok(Decoded::End(None)));
}

#[test]
fn the_bytes_left_of_a_length_are_known() {
    let mut decoder = BodyDecoder::new(RequestFraming::Length(5));
    assert_eq!(decoder.remaining(), Some(5));
    assert_eq!(decoder.decode(b"abc"), Ok((3, Decoded::Data(b"abc"))));
    assert_eq!(decoder.remaining(), Some(2));
    assert_eq!(decoder.decode(b"defgh"), Ok((2, Decoded::Data(b"de"))));
    assert_eq!(decoder.remaining(), Some(0));
    assert!(!decoder.is_ended());
    assert_eq!(decoder.decode(b"fgh"), Ok((0, Decoded::End(None))));
    assert_eq!(decoder.decode(b"fgh"), Ok((0, Decoded::End(None))));
    assert_eq!(BodyDecoder::new(RequestFraming::Chunked).remaining(), None);
    assert_eq!(BodyDecoder::new(ResponseFraming::UntilClose).remaining(), None);
    let mut huge = BodyDecoder::new(RequestFraming::Length(u64::MAX));
    assert_eq!(huge.decode(b"abc"), Ok((3, Decoded::Data(b"abc"))));
    assert_eq!(huge.remaining(), Some(u64::MAX - 3));
}

#[test]
fn payload_is_given_out_as_slices_of_the_input() {
    let input = b"5\r\nhello\r\n0\r\n\r\n";
    let mut decoder = BodyDecoder::new(RequestFraming::Chunked);
    let Ok((8, Decoded::Data(data))) = decoder.decode(input) else { panic!() };
    assert_eq!(data.as_ptr(), input[3..].as_ptr());
}

#[test]
fn chunk_sizes_that_parsers_read_differently() {
    use BodyError::*;
    let cases: [(&[u8], BodyError); 24] = [
        (b"+3\r\nabc\r\n", ChunkSizeInvalid),
        (b"-3\r\nabc\r\n", ChunkSizeInvalid),
        (b"0x3\r\nabc\r\n", ChunkSizeInvalid),
        (b"3 \r\nabc\r\n", ChunkSizeInvalid),
        (b" 3\r\nabc\r\n", ChunkSizeInvalid),
        (b"3\t;x\r\nabc\r\n", ChunkSizeInvalid),
        (b"1_0\r\n", ChunkSizeInvalid),
        (b"3g\r\nabc\r\n", ChunkSizeInvalid),
        (b"3,\r\nabc\r\n", ChunkSizeInvalid),
        (b"3\0\r\nabc\r\n", ChunkSizeInvalid),
        (b"\r\nabc\r\n", ChunkSizeMissing),
        (b";x\r\nabc\r\n", ChunkSizeMissing),
        (b"00000000000000003\r\nabc\r\n", ChunkSizeTooLong),
        (b"10000000000000000\r\n", ChunkSizeTooLong),
        (b"3\nabc\r\n", BareLineFeed),
        (b"\n3\r\n", BareLineFeed),
        (b"3;x\nabc\r\n", BareLineFeed),
        (b"3\rabc\r\n", BareCarriageReturn),
        (b"3;x\rabc\r\n", BareCarriageReturn),
        (b"3\r\nabc\n0\r\n\r\n", BareLineFeed),
        (b"3\r\nabcd\r\n", ChunkEndMissing),
        (b"3\r\nabc0\r\n\r\n", ChunkEndMissing),
        (b"3\r\nabc\r0\r\n\r\n", ChunkEndMissing),
        (b"3;\x01\r\nabc\r\n", ExtensionControl),
    ];
    for (input, error) in cases {
        assert_eq!(chunked(input), Err(error), "{}", input.escape_ascii());
    }
    // The largest size is one, and no more of it is promised than comes.
    assert_eq!(chunked(b"ffffffffffffffff\r\nabc"), Err(Cut));
}

#[test]
fn extensions_are_dropped_and_bounded_over_the_body() {
    let input = b"3;a=b;c=\"d e;\";\t\xff\r\nabc\r\n0;z\r\n\r\n";
    assert_eq!(chunked(input), whole(b"abc", None, input.len()));
    let full = format!("1;{}\r\na\r\n", "x".repeat(MAX_EXTENSIONS - 2));
    assert!(chunked(format!("{full}0;\r\n\r\n").as_bytes()).is_ok());
    let over = format!("{full}0;x\r\n\r\n");
    assert_eq!(chunked(over.as_bytes()), Err(BodyError::ExtensionsTooLong));
    let many = "1;\r\na\r\n".repeat(MAX_EXTENSIONS + 1);
    assert_eq!(chunked(many.as_bytes()), Err(BodyError::ExtensionsTooLong));
}

#[test]
fn trailers_keep_their_order_and_spelling() {
    let input = b"1\r\na\r\n0\r\ngRPC-Status: 0\r\nx:\r\nX:  y \r\n\r\nHTTP/1.1 200";
    let fields = Fields::from_pairs([(&b"gRPC-Status"[..], &b"0"[..]), (b"x", b""), (b"X", b"y")]);
    assert_eq!(chunked(input), whole(b"a", Some(fields), input.len() - 12));
}

#[test]
fn trailers_that_are_refused() {
    use HeadError::*;
    let invalid: [(&str, HeadError); 7] = [
        (" a: b\r\n", WhitespaceBeforeFirstField),
        ("a: b\r\n c\r\n", FoldedLine { line: 2 }),
        ("a : b\r\n", WhitespaceBeforeColon { line: 1 }),
        ("a\r\n", ColonMissing { line: 1 }),
        ("a: \0\r\n", Nul { at: 3 }),
        ("a: b\rc: d\r\n", BareCarriageReturn { at: 4 }),
        ("a: \u{1}\r\n", ValueControl { line: 1 }),
    ];
    for (lines, error) in invalid {
        let input = format!("0\r\n{lines}\r\n");
        assert_eq!(chunked(input.as_bytes()), Err(BodyError::TrailerInvalid(error)), "{lines:?}");
    }
    assert_eq!(chunked(b"0\r\na: b\nContent-Length: 1\r\n\r\n"), Err(BodyError::BareLineFeed));
    assert_eq!(chunked(b"0\r\n\n"), Err(BodyError::BareLineFeed));
    let forbidden = [
        "Content-Length: 5",
        "transfer-ENCODING: chunked",
        "Host: b",
        "Connection: close",
        "Trailer: x",
        "TE: trailers",
        "Upgrade: x",
        "Keep-Alive: x",
        "Proxy-Connection: x",
    ];
    for line in forbidden {
        let input = format!("0\r\nfine: yes\r\n{line}\r\n\r\n");
        assert_eq!(chunked(input.as_bytes()), Err(BodyError::TrailerForbidden), "{line}");
    }
    // What does not frame or route passes: it stays a trailer.
    assert!(chunked(b"0\r\nSet-Cookie: a\r\nAuthorization: b\r\n\r\n").is_ok());
    let full = format!("0\r\na: {}\r\n\r\n", "x".repeat(MAX_TRAILERS - 7));
    assert!(chunked(full.as_bytes()).is_ok());
    let over = format!("0\r\na: {}\r\n\r\n", "x".repeat(MAX_TRAILERS - 6));
    assert_eq!(chunked(over.as_bytes()), Err(BodyError::TrailersTooLong));
    let endless = format!("0\r\n{}", "x".repeat(MAX_TRAILERS + 1));
    assert_eq!(chunked(endless.as_bytes()), Err(BodyError::TrailersTooLong));
}
