//! Records of an exchange: what was read, written again, reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::capture::record::{
    Answered, Closed, Connected, DATA_PREFIX, Ended, Marked, Opened, Requested, split_data,
};

/// Bytes that are a record of this type give one that, written and read, is the same again.
macro_rules! reads_again {
    ($kind:ty, $data:expr) => {
        if let Ok(record) = postcard::from_bytes::<$kind>($data) {
            let written = postcard::to_stdvec(&record).expect("it can be written");
            let read = postcard::from_bytes::<$kind>(&written).expect("it can be read");
            assert_eq!(read, record);
        }
    };
}

fuzz_target!(|data: &[u8]| {
    reads_again!(Requested<'_>, data);
    reads_again!(Connected<'_>, data);
    reads_again!(Answered<'_>, data);
    reads_again!(Ended<'_>, data);
    reads_again!(Closed<'_>, data);
    reads_again!(Marked, data);
    if let Ok(opened) = postcard::from_bytes::<Opened<'_>>(data) {
        let written = postcard::to_stdvec(&opened).expect("it can be written");
        let read = postcard::from_bytes::<Opened<'_>>(&written).expect("it can be read");
        assert_eq!(postcard::to_stdvec(&read), Ok(written));
    }
    match split_data(data) {
        Some((_, bytes)) => assert_eq!(bytes, &data[DATA_PREFIX..]),
        None => assert!(data.len() < DATA_PREFIX),
    }
});
