//! Bundles: an archive has one spelling, and none but the bundle itself, or one that discloses less of the
//! same, is valid, whatever was changed in which of its files.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealtap_common::bundle::{TlogProof, TrustedKeys, Writer, verify};
use sealtap_common::note::PublicKey;
use sealtap_common::verify::Verdict;
use sealtap_fuzz::{LOG_KEY, RUN_RECORD_KEY, entries, same, vectors};

type Entries = Vec<(String, Vec<u8>)>;

static BUNDLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(vectors("bundle.tar")).expect("the vectors are there"));

static KEYS: LazyLock<TrustedKeys> = LazyLock::new(|| {
    let key = |vkey| vec![PublicKey::parse(vkey).expect("a key")];
    TrustedKeys { log: key(LOG_KEY), run_record: key(RUN_RECORD_KEY) }
});

fn archive(entries: &Entries) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, bytes) in entries {
        writer.entry(name, bytes).expect("what was read can be written");
    }
    writer.finish().expect("memory takes it")
}

/// What the bundle becomes by edits of five bytes each: which file, where (two), what, and a byte.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut files = entries(&BUNDLE).expect("the vectors' bundle");
    for edit in edits.chunks_exact(5) {
        if files.is_empty() {
            break;
        }
        let file = usize::from(edit[0]) % files.len();
        let place = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        let bytes = &mut files[file].1;
        match edit[3] % 8 {
            0 => bytes.truncate(place),
            1 => bytes.push(edit[4]),
            2 => drop(files.remove(file)),
            3 => {
                let other = place % files.len();
                files.swap(file, other);
            }
            4 => {
                let twin = files[file].clone();
                files.insert(place % (files.len() + 1), twin);
            }
            5 => {
                let (name, other) = (files[file].0.clone(), place % files.len());
                files[other].0 = name;
            }
            _ => {
                let place = place % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = edit[4];
                }
            }
        }
    }
    archive(&files)
}

/// How many disclosures these bytes leave out, if they are the bundle otherwise.
fn withheld(bytes: &[u8]) -> Option<usize> {
    let shown = entries(bytes).ok()?;
    let mut shown = shown.iter().peekable();
    let mut left = 0;
    for file in entries(&BUNDLE).expect("the vectors' bundle") {
        if shown.next_if(|next| **next == file).is_some() {
            continue;
        }
        let (_, name) = file.0.strip_prefix("leaves/")?.split_once('/')?;
        if matches!(name, "leaf" | "proof") || name.ends_with(".tuples") {
            return None;
        }
        left += 1;
    }
    shown.peek().is_none().then_some(left)
}

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else { return };
    if let Ok(proof) = TlogProof::parse(rest) {
        same(&proof.emit().as_bytes(), &rest);
    }
    let bytes = if how % 2 == 0 { rest.to_vec() } else { edited(rest) };
    if let Ok(entries) = entries(&bytes) {
        same(&archive(&entries), &bytes);
    }
    let report = verify(bytes.as_slice(), &KEYS);
    // To disclose less is to make another bundle; any other change is found.
    let wanted = match withheld(&bytes) {
        Some(0) => Some(Verdict::Valid),
        Some(_) => None,
        None => Some(Verdict::Invalid),
    };
    let verdict = report.verdict();
    assert!(wanted.is_none_or(|wanted| wanted == verdict), "{}", report.lines().join("\n"));
    // Without a key it is never more than intact.
    assert_ne!(verify(bytes.as_slice(), &TrustedKeys::default()).verdict(), Verdict::Valid);
    let _ = report.to_json();
});
