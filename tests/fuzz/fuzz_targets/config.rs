//! Configuration: whatever the text, it is refused with a message or gives a configuration.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sealtap::config::Config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("fuzz.toml");
    match (Config::parse(text, path), Config::parse(text, path)) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            assert!(one.to_string().contains("fuzz.toml"), "{one}");
        }
        _ => panic!("one text was read in two ways"),
    }
});
