//! Units: whatever is accepted prints to the very bytes that were read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::json;
use sealtap_common::unit::{Context, Interim, RequestHead, ResponseHead, Trailers};
use sealtap_common::websocket::MessageIndex;
use sealtap_fuzz::same;

macro_rules! prints_again {
    ($kind:ty, $data:expr) => {
        if let Ok(unit) = <$kind>::decode($data) {
            same(&unit.encode().as_slice(), &$data);
        }
    };
}

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = json::parse(data) {
        same(&value.encode().as_slice(), &data);
    }
    prints_again!(RequestHead<'static>, data);
    prints_again!(ResponseHead<'static>, data);
    prints_again!(Trailers<'static>, data);
    prints_again!(Interim<'static>, data);
    prints_again!(Context<'static>, data);
    prints_again!(MessageIndex, data);
});
