//! Response heads: cut anywhere they are the same, and the framing has one meaning.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealtap::wire::http1::{HeadScanner, ResponseFraming, parse_response};
use sealtap_fuzz::{cut, head, same};

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let Some((_, end)) = head(bytes, piece, HeadScanner::for_response) else { return };
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
