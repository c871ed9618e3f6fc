//! The door: what is seen of captured names in what a client sends does not depend on how it is cut, and a name
//! that stands nowhere in it is not seen. What had been open is looked at by its first bytes, as they come, so
//! that it does depend on that; it is held to come to an end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::accept::look_at_any;
use sealtap::forward::Saw;
use sealtap_fuzz::{cut, same};

const HOST: &str = "ab.c";

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let [first, within, _] = look_at_any(bytes, usize::MAX, HOST);
    let [first_cut, within_cut, _] = look_at_any(bytes, piece, HOST);
    same(&[first, within], &[first_cut, within_cut]);
    let is_there = bytes.windows(HOST.len()).any(|some| some.eq_ignore_ascii_case(HOST.as_bytes()));
    let is_seen = [first, within].contains(&Saw::Captured);
    assert!(is_there || !is_seen, "captured by a name that is not there");
});
