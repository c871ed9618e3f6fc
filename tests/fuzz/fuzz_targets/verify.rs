//! A log changed anywhere: the verifier ends, and calls nothing valid but the log itself.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealtap_common::note::PublicKey;
use sealtap_common::verify::{Verdict, verify};

const KEY: &str = "sealtap.example/vectors+7f5ff85c+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

static LOG: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/../../common/vectors/log");
    let mut files = BTreeMap::new();
    let names = [
        "checkpoint",
        "tile/entries/000",
        "tile/entries/001.p/12",
        "tile/0/000",
        "tile/0/001.p/12",
        "tile/1/000.p/1",
    ];
    for name in names {
        let bytes = std::fs::read(format!("{log}/{name}")).expect("the vectors are there");
        files.insert(name.to_owned(), bytes);
    }
    files
});

fuzz_target!(|data: &[u8]| {
    let key = PublicKey::parse(KEY).expect("a key");
    let mut files = LOG.clone();
    let names: Vec<String> = files.keys().cloned().collect();
    for edit in data.chunks_exact(5) {
        let name = &names[usize::from(edit[0]) % names.len()];
        let bytes = files.get_mut(name).expect("it is there");
        let place = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        match edit[3] % 4 {
            0 => bytes.truncate(place),
            1 => bytes.push(edit[4]),
            _ => {
                let place = place % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = edit[4];
                }
            }
        }
    }
    let changed = files != *LOG;
    let report = verify(&files, &[key], &mut ());
    let expected = if changed { Verdict::Invalid } else { Verdict::Valid };
    assert_eq!(report.verdict(), expected, "{:?}", report.findings);
});
