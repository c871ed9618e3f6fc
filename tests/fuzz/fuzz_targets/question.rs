//! Questions: whatever goes to the resolver is read to an end, whole or cut into datagrams, and gives no
//! more questions than its bytes have room for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::kernel::names::read_any;

/// The shortest question: the root, a type and a class.
const SHORTEST: usize = 5;

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first_chunk::<2>() else { return };
    let each = u32::from(u16::from_be_bytes(*size));
    let length = u32::try_from(bytes.len()).expect("it is short");
    for (length, each) in [(length, 0), (length, each), (length + 1, each)] {
        assert!(read_any(bytes, length, each) <= bytes.len() / SHORTEST);
    }
});
