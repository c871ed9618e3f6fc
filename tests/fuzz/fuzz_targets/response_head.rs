//! Response heads: cut anywhere they are the same, and the framing has one meaning.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealtap::wire::http1::{HeadScanner, MAX_HEAD, ResponseFraming, parse_response};
use sealtap_fuzz::{cut, same};

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let found = HeadScanner::for_response().scan(bytes);
    let mut scanner = HeadScanner::for_response();
    let mut fed = 0;
    let mut again = Ok(None);
    while fed < bytes.len() && matches!(again, Ok(None)) {
        fed = bytes.len().min(fed + piece);
        again = scanner.scan(&bytes[..fed]);
    }
    same(&found, &again);
    let Ok(Some(end)) = found else { return };
    assert!(end <= MAX_HEAD);
    for method in [&b"GET"[..], b"HEAD", b"CONNECT"] {
        let head = Bytes::copy_from_slice(&bytes[..end]);
        let Ok(response) = parse_response(head, method) else { continue };
        let status = response.head.status;
        assert!((100..1000).contains(&status), "{status}");
        // A tunnel begins after a 101 and after any 2xx to CONNECT, and nowhere else.
        let tunnel = status == 101 || method == b"CONNECT" && (200..300).contains(&status);
        same(&matches!(response.framing, ResponseFraming::Upgraded), &tunnel);
        let bodiless = method == b"HEAD" || status == 204 || status == 304 || response.is_interim();
        if bodiless && !tunnel {
            same(&response.framing, &ResponseFraming::None);
        }
    }
});
