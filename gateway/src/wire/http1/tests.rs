use bytes::Bytes;

use super::*;
use crate::wire::message::Version;

#[test]
fn a_request_is_read_as_it_was_sent() {
    let text = b"POST /a//b/../{x}|?q=%00#f HTTP/1.1\r\nhOsT: model.example\r\nX-A:  one \r\n\
        x-a:\r\nX-a: tw\to\t\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n";
    let request = parse_request(Bytes::from_static(text)).unwrap();
    assert_eq!(request.head.target, &b"/a//b/../{x}|?q=%00#f"[..]);
    assert_eq!(request.head.version, Version::Http11);
    assert_eq!(request.framing, RequestFraming::Chunked);
    assert!(request.expect_continue);
    let fields: Vec<_> = request.head.fields.iter().collect();
    assert_eq!(fields[1], (&b"X-A"[..], &b"one"[..]));
    assert_eq!(fields[2], (&b"x-a"[..], &b""[..]));
    assert_eq!(fields[3], (&b"X-a"[..], &b"tw\to"[..]));
}

#[test]
fn a_chunked_body_gives_its_payload_and_trailers() {
    let mut decoder = BodyDecoder::new(RequestFraming::Chunked);
    let input = b"5;x=y\r\nhello\r\n0\r\nSum: 1\r\n\r\nNEXT";
    let (used, decoded) = decoder.decode(input).unwrap();
    assert_eq!((used, decoded), (12, Decoded::Data(b"hello")));
    let (end, decoded) = decoder.decode(&input[used..]).unwrap();
    let Decoded::End(Some(trailers)) = decoded else { panic!("{decoded:?}") };
    assert_eq!(trailers.first("sum"), Some(&b"1"[..]));
    assert_eq!(&input[used + end..], b"NEXT");
}
