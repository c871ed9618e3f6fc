//! Replies of timestamp authorities (RFC 3161): whatever the bytes, an error or a token that is the reply's
//! own, and a token dates nothing else than its imprint says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::timestamp::{Token, query};

fn holds(outer: &[u8], inner: &[u8]) -> bool {
    inner.is_empty() || outer.windows(inner.len()).any(|window| window == inner)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(token) = Token::read(data) {
        assert!(holds(data, &token.imprint) && holds(data, token.time.as_bytes()));
        assert!(token.nonce.as_ref().is_none_or(|nonce| holds(data, nonce)));
        assert!(token.dates(data).is_err(), "a reply that dates itself");
    }
    // A request is no reply, and its imprint and nonce are its bytes'.
    let (nonce, rest) = data.split_first_chunk::<8>().unwrap_or((&[0; 8], data));
    let request = query(rest, *nonce);
    assert_eq!(request.len(), 69);
    assert!(Token::read(&request).is_err());
});
