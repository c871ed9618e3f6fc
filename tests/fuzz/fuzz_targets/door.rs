//! The door: what is seen of captured names in what a client sends does not depend on how it is cut, and a name
//! that stands nowhere in it is not seen.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::accept::look_at_any;
use sealtap::forward::Saw;
use sealtap_fuzz::{cut, same};

const HOST: &str = "ab.c";

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let whole = look_at_any(bytes, usize::MAX, HOST);
    same(&whole, &look_at_any(bytes, piece, HOST));
    let [first, within, _] = whole;
    let is_there = bytes.windows(HOST.len()).any(|some| some.eq_ignore_ascii_case(HOST.as_bytes()));
    let is_seen = [first, within].contains(&Saw::Captured);
    assert!(is_there || !is_seen, "captured by a name that is not there");
});
