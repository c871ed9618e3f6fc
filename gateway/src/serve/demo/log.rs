//! The log, verified under its public key; and a copy of it with one byte changed, found out.

use std::fs;
use std::path::{Path, PathBuf};

use sealtap_common::directory::verify_directory;
use sealtap_common::keyring::log_key;
use sealtap_common::leaf::Leaf;
use sealtap_common::note::PublicKey;
use sealtap_common::tile::{Level, TilePath, entries};
use sealtap_common::verify::{Report, Verdict};

use super::error::{DemoError, expect};
use super::place::{Place, files};
use super::story::Story;
use crate::seal::keys::Keys;
use crate::seal::log::published;

/// Writes the public keys out and verifies the log under the one in that file.
pub(super) fn verified(place: &Place, story: &mut Story<'_, '_>) -> Result<PublicKey, DemoError> {
    story.step("the log, verified under its public key (sealtap verify)")?;
    let path = place.keys();
    let keys = Keys::load(&place.data().keys())?.public_text();
    fs::write(&path, &keys).map_err(DemoError::file("write", &path))?;
    let written = fs::read_to_string(&path).map_err(DemoError::file("read", &path))?;
    let key = log_key(&written)?;
    let report = verify(&place.data().log(), &key);
    let lines = report.lines();
    expect(report.verdict() == Verdict::Valid, "the log is valid", || lines.join("; "))?;
    let (headline, rest) = lines.split_first().map_or(("", [].as_slice()), |(h, r)| (h, r));
    story.good(headline)?;
    story.laid_out(&rest.join("\n"))?;
    Ok(key)
}

fn verify(log: &Path, key: &PublicKey) -> Report {
    verify_directory(log, std::slice::from_ref(key), || ()).0
}

/// Copies the log, changes one byte of the copy, and wants that to be found.
pub(super) fn tampered(
    place: &Place,
    key: &PublicKey,
    story: &mut Story<'_, '_>,
) -> Result<(), DemoError> {
    story.step("one byte changed, on a copy of the log")?;
    let (from, to) = (place.data().log(), place.tampered());
    copy(&from, &to)?;
    let verdict = verify(&to, key).verdict();
    expect(verdict == Verdict::Valid, "the copy is as valid as the log", || {
        verdict.as_str().to_owned()
    })?;
    let change = change(&to)?;
    story.fact("changed", &format!("{}: {change}", to.display()))?;
    let report = verify(&to, key);
    let verdict = report.verdict();
    expect(verdict == Verdict::Invalid, "the changed copy is not valid", || {
        verdict.as_str().to_owned()
    })?;
    for finding in &report.findings {
        story
            .found("found", &format!("{} ({}): {}", finding.place, finding.what, finding.detail))?;
    }
    let original = verify(&from, key).verdict();
    expect(original == Verdict::Valid, "the log itself is untouched", || {
        original.as_str().to_owned()
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), DemoError> {
    for file in files(from)? {
        let name = file.strip_prefix(from).unwrap_or(&file);
        let target = to.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(DemoError::file("create", folder))?;
        }
        fs::copy(&file, &target).map_err(DemoError::file("copy", &file))?;
    }
    Ok(())
}

/// Makes the last exchange's request look longer or shorter than it was: one digit of one leaf, in
/// a bundle that stays well-formed. Says what was changed.
fn change(log: &Path) -> Result<String, DemoError> {
    let size = published(log)?.map_or(0, |checkpoint| checkpoint.size);
    let name = TilePath::in_tree(Level::Entries, 0, size).map(|tile| tile.to_string());
    let name = name.unwrap_or_default();
    let path: PathBuf = log.join(&name);
    let mut bundle = fs::read(&path).map_err(DemoError::file("read", &path))?;
    let (leaf, digit) = digit(&bundle)?;
    let place = bundle.get_mut(digit);
    let changed = place.map(|byte| {
        let old = *byte;
        *byte = if old == b'9' { b'8' } else { old.saturating_add(1) };
        (char::from(old), char::from(*byte))
    });
    let Some((old, new)) = changed else {
        return Err(DemoError::NotAsTold {
            told: "a digit to change".to_owned(),
            found: format!("none in {name}"),
        });
    };
    fs::write(&path, &bundle).map_err(DemoError::file("write", &path))?;
    Ok(format!(
        "byte {digit} of {name}, '{old}' to '{new}': leaf {leaf} now tells another length of a request"
    ))
}

/// The last exchange's leaf, and where in the bundle the length of its request body begins.
fn digit(bundle: &[u8]) -> Result<(usize, usize), DemoError> {
    const LENGTH: &[u8] = b"\"length\":";
    let missing = |what: &str| DemoError::NotAsTold {
        told: "the log has a bundle with exchanges".to_owned(),
        found: what.to_owned(),
    };
    let entries = entries(bundle).map_err(|error| missing(&error.to_string()))?;
    let mut start = 0_usize;
    let mut last = None;
    for (index, entry) in entries.iter().enumerate() {
        // Behind the two bytes of the entry's own length.
        start = start.saturating_add(2);
        if let Leaf::Exchange(_) = Leaf::decode(entry)? {
            let request = memchr::memmem::find(entry, b"\"request\":").unwrap_or(entry.len());
            let rest = entry.get(request..).unwrap_or_default();
            if let Some(length) = memchr::memmem::find(rest, LENGTH) {
                let offset = request.saturating_add(length).saturating_add(LENGTH.len());
                last = Some((index, start.saturating_add(offset)));
            }
        }
        start = start.saturating_add(entry.len());
    }
    last.ok_or_else(|| missing("no exchange"))
}
