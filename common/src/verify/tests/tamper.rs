//! Every byte changed, every file dropped, swapped, truncated, added: all found.

use proptest::prelude::*;

use super::log::{Files, files, history, log_of, verdict};
use crate::verify::{CHECKPOINT, Verdict};

/// Some hundred leaves: two entry bundles, hash tiles on two levels.
fn log() -> Files {
    let files = log_of(&history(298));
    assert_eq!(verdict(&files), Verdict::Valid);
    files
}

#[test]
fn each_changed_byte_of_each_file_is_found() {
    let mut files = log();
    let paths: Vec<String> = files.keys().cloned().collect();
    assert_eq!(paths.len(), 6, "{paths:?}");
    for path in paths {
        let length = files[&path].len();
        // Every look costs a whole verification: every byte of the checkpoint, samples of the rest,
        // with another bit each time.
        let step = if path == CHECKPOINT { 1 } else { length.div_ceil(60) };
        for (n, at) in (0..length).step_by(step).enumerate() {
            let bit = 1 << (n % 8);
            files.get_mut(&path).unwrap()[at] ^= bit;
            assert_eq!(verdict(&files), Verdict::Invalid, "{path} byte {at}");
            files.get_mut(&path).unwrap()[at] ^= bit;
        }
    }
    assert_eq!(verdict(&files), Verdict::Valid);
}

#[test]
fn each_dropped_truncated_lengthened_or_emptied_file_is_found() {
    let whole = log();
    for path in whole.keys() {
        let mut files = whole.clone();
        files.remove(path);
        assert_eq!(verdict(&files), Verdict::Invalid, "{path} dropped");
        for edit in [
            |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1),
            |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
            |bytes: &mut Vec<u8>| bytes.clear(),
            |bytes: &mut Vec<u8>| bytes.push(b'\n'),
            |bytes: &mut Vec<u8>| bytes.extend_from_slice(&[0, 0]),
        ] {
            let mut files = whole.clone();
            edit(files.get_mut(path).unwrap());
            assert_eq!(verdict(&files), Verdict::Invalid, "{path} edited");
        }
    }
}

#[test]
fn each_swap_of_two_files_is_found() {
    let whole = log();
    let paths: Vec<&String> = whole.keys().collect();
    for (n, one) in paths.iter().enumerate() {
        for other in &paths[n + 1..] {
            let mut files = whole.clone();
            files.insert((*one).clone(), whole[*other].clone());
            files.insert((*other).clone(), whole[*one].clone());
            assert_eq!(verdict(&files), Verdict::Invalid, "{one} and {other} swapped");
        }
    }
}

#[test]
fn each_added_file_is_found() {
    let whole = log();
    for path in [
        "checkpoint.1",
        "notes.txt",
        ".hidden",
        "tile/0/002",
        "tile/entries/002.p/1",
        "tile/1/001",
        "tile/2/000",
        "tile/2/000.p/1",
        "tile/0/001.p/256",
        "tile/0/001.p/99",
        "tile/8/000.p/1",
        "tile/0/000.p/12/x",
        "tile/entries/001.p/4 ",
        "tile/data/000",
        "tile/0/001",
    ] {
        let mut files = whole.clone();
        assert!(files.insert(path.to_owned(), vec![0; 32]).is_none(), "{path}");
        assert_eq!(verdict(&files), Verdict::Invalid, "{path}");
    }
}

#[test]
fn leaves_dropped_or_swapped_under_a_fresh_signature_are_found() {
    // Even whoever holds the key cannot do this without breaking a number or a run.
    let leaves = history(40);
    for n in 0..leaves.len() - 1 {
        let mut fewer = leaves.clone();
        fewer.remove(n);
        let last_of_its_kind = n + 5 >= leaves.len();
        if !last_of_its_kind {
            assert_eq!(verdict(&log_of(&fewer)), Verdict::Invalid, "leaf {n} dropped");
        }
        let mut swapped = leaves.clone();
        swapped.swap(n, n + 1);
        assert_eq!(verdict(&log_of(&swapped)), Verdict::Invalid, "leaf {n} swapped");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Under a signature that holds, so that every later step runs on the hostile bytes.
    #[test]
    fn hostile_entries_and_names_are_never_valid_and_never_panic(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8,
        junk in prop::collection::vec(any::<u8>(), 0..80), name in "(tile/[0-9e]{1,2}/)?[x0-9/.p]{0,12}",
    ) {
        let mut entries: Vec<Vec<u8>> =
            history(12).iter().map(|leaf| leaf.encode().unwrap()).collect();
        let mut named = files(&entries);
        if named.insert(name, junk.clone()).is_none() {
            prop_assert_eq!(verdict(&named), Verdict::Invalid);
        }
        let entry = &mut entries[which.index(14)];
        let at = at.index(entry.len());
        let before = std::mem::replace(&mut entry[at], byte);
        let edited = verdict(&files(&entries));
        // A flipped bit in a committed value is another claim, not a malformed one; only structure
        // can be judged here.
        prop_assert!(edited != Verdict::Valid || before == byte || crate::leaf::Leaf::decode(&entries[which.index(14)]).is_ok());
        entries[which.index(14)] = junk;
        prop_assert_eq!(verdict(&files(&entries)), Verdict::Invalid);
    }
}
