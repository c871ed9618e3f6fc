//! Request heads: what is read is what was there, and what is written again reads the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealtap::wire::http1::{
    Filter, HeadScanner, MAX_FIELDS, is_host, is_token, parse_request, write_request_head,
};
use sealtap::wire::message::Version;
use sealtap_fuzz::{cut, head, same};

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let Some((start, end)) = head(bytes, piece, HeadScanner::new) else { return };
    let head = Bytes::copy_from_slice(&bytes[start..end]);
    let Ok(request) = parse_request(head.clone()) else { return };
    // Nothing was mended: every field stands in the head as it was read.
    let text = head.to_vec();
    assert!(request.head.fields.iter().count() <= MAX_FIELDS);
    for (name, value) in request.head.fields.iter() {
        assert!(is_token(name));
        let mut line = name.to_vec();
        line.push(b':');
        assert!(text.windows(line.len()).any(|window| window == line));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let (mut out, version) = (Vec::new(), Version::Http11);
    let filter = Filter::of(&request.head.fields);
    let fields = request.head.fields.iter().filter(|(name, _)| filter.passes(name));
    let host = &b"upstream.example"[..];
    assert!(is_host(host));
    let fields = fields.filter(|(name, _)| !name.eq_ignore_ascii_case(b"host"));
    let fields = std::iter::once((&b"Host"[..], host)).chain(fields);
    let written =
        write_request_head(&mut out, &request.head.method, &request.head.target, version, fields);
    if written.is_err() {
        return;
    }
    // What goes out is one head and nothing behind it, with the same method and target.
    let mut scanner = HeadScanner::new();
    same(&scanner.scan(&out), &Ok(Some(out.len())));
    match parse_request(Bytes::from(out)) {
        Ok(sent) => {
            same(&sent.head.method, &request.head.method);
            same(&sent.head.target, &request.head.target);
        }
        // Only an announced length or coding that the relay adds by itself may be missing here.
        Err(error) => panic!("what is forwarded is refused by the same rules: {error}"),
    }
});
