//! A log changed anywhere: the verifier ends, and calls nothing valid but the log itself.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealtap_common::note::PublicKey;
use sealtap_common::verify::{Verdict, verify};
use sealtap_fuzz::{LOG_KEY, vectors};

static LOG: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    read(&vectors("log"), "", &mut files);
    assert!(files.len() > 5, "the vectors are there");
    files
});

/// Every file below a folder, by its path there.
fn read(folder: &Path, under: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        match entry.file_type().expect("a type").is_dir() {
            true => read(&entry.path(), &format!("{under}{name}/"), files),
            false => {
                let bytes = std::fs::read(entry.path()).expect("a file");
                files.insert(format!("{under}{name}"), bytes);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let key = PublicKey::parse(LOG_KEY).expect("a key");
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
