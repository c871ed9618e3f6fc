//! Entry bundles and tile names: whatever is accepted is written in one way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::tile::{TilePath, entries, push_entry};
use sealtap_fuzz::same;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = entries(data) {
        let mut bundle = Vec::new();
        for entry in &found {
            push_entry(&mut bundle, entry).expect("what was read fits");
        }
        same(&bundle.as_slice(), &data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = text.parse::<TilePath>() {
        same(&path.to_string().as_str(), &text);
        assert!((1..=256).contains(&path.width));
        let (least, most) = path.sizes();
        assert!(least <= most);
    }
});
