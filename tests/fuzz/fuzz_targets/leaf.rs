//! Leaves: whatever is accepted prints to the very bytes that were read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::leaf::Leaf;
use sealtap_fuzz::same;

fuzz_target!(|data: &[u8]| {
    let Ok(leaf) = Leaf::decode(data) else { return };
    assert!(data.len() <= 65_535);
    match leaf.encode() {
        Ok(bytes) => same(&bytes.as_slice(), &data),
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
});
