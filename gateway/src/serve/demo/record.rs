//! The record, asked as `ls` and `show` ask it, and held against what both ends saw.

use sealtap_common::encoding::base64;
use sealtap_common::unit::Shown;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::app::{KEY, RUN};
use super::error::{DemoError, expect};
use super::place::Place;
use super::story::{Story, short};
use super::traffic::Passed;
use crate::data::DataDir;
use crate::seal::log::{published, read_entries};
use crate::seal::preview::Preview;
use crate::serve::query::{Detail, Format, Paint, Query};
use crate::store::{Direction, StoreReader};

/// One exchange as the record has it.
pub(super) struct Recorded {
    /// Heads, digests, its place in run and log.
    pub(super) detail: Detail,
    /// The request's bytes.
    pub(super) request: Vec<u8>,
    /// The response's bytes.
    pub(super) response: Vec<u8>,
    /// Everything that `show --json` says of it.
    shown: Vec<u8>,
}

impl Recorded {
    /// The exchange's place in its run, from 1; 0 while it is not sealed.
    pub(super) fn position(&self) -> u64 {
        self.detail.seal.as_ref().map_or(0, |seal| seal.position)
    }

    /// The SHA-256 of the request's bytes, made from them and not looked up.
    pub(super) fn request_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.request).into()
    }
}

/// Prints what was captured, and holds every exchange against what app and model server saw.
pub(super) fn captured(
    place: &Place,
    passed: &[Passed],
    story: &mut Story<'_, '_>,
) -> Result<Vec<Recorded>, DemoError> {
    story.step("what was captured (sealtap ls)")?;
    let data = place.data();
    let mut query = open(&data)?;
    let mut table = Vec::new();
    query.list(Some(RUN), Format::People(Paint::Colour), &mut table)?;
    story.laid_out(&String::from_utf8_lossy(&table))?;
    let recorded = read(&mut query)?;
    expect(recorded.len() == passed.len(), "each call is one exchange", || {
        format!("{} of {}", recorded.len(), passed.len())
    })?;
    for (index, (recorded, passed)) in (1..).zip(recorded.iter().zip(passed)) {
        let view = &recorded.detail.view;
        let sealed = view.outcome == "complete" && recorded.position() == index;
        expect(sealed, format!("exchange {index} is complete and sealed"), || {
            format!("{}, position {}", view.outcome, recorded.position())
        })?;
        let mine = recorded.request_sha256();
        let same = mine == passed.received.sha256 && Some(mine) == view.request.sha256;
        expect(same, "the model server's digest is the captured one", || short(&mine))?;
        let answer = &recorded.response;
        let same = *answer == passed.answered.body;
        expect(same, "the captured answer is the one the app got", || {
            format!("{} bytes for {}", answer.len(), passed.call.what)
        })?;
    }
    for (recorded, passed) in recorded.iter().zip(passed) {
        story.good(&format!(
            "call {}: SHA-256 {} of what the model server received, {} of what was captured",
            recorded.position(),
            short(&passed.received.sha256),
            short(&recorded.request_sha256())
        ))?;
    }
    opened(&data, story)?;
    Ok(recorded)
}

fn open(data: &DataDir) -> Result<Query<Preview>, DemoError> {
    let journal = data.journal();
    let preview = Preview::read(data.clone()).map_err(DemoError::file("read", &journal))?;
    Ok(Query::open(&data.store(), preview)?)
}

fn read(query: &mut Query<Preview>) -> Result<Vec<Recorded>, DemoError> {
    let mut lines = Vec::new();
    query.list(Some(RUN), Format::Json, &mut lines)?;
    let mut recorded = Vec::new();
    for line in String::from_utf8_lossy(&lines).lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
        let (mut request, mut response, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        query.body(id, Direction::Request, &mut request)?;
        query.body(id, Direction::Response, &mut response)?;
        query.show(id, Format::Json, &mut shown)?;
        recorded.push(Recorded { detail: query.detail(id)?, request, response, shown });
    }
    recorded.sort_by_key(Recorded::position);
    Ok(recorded)
}

/// Opens every stored byte against the commitment in its leaf.
fn opened(data: &DataDir, story: &mut Story<'_, '_>) -> Result<(), DemoError> {
    let log = data.log();
    let size = published(&log)?.map_or(0, |checkpoint| checkpoint.size);
    let leaves = read_entries(&log, 0..size)?;
    let mut look_up = |index: u64| {
        let leaf = usize::try_from(index).ok().and_then(|index| leaves.get(index));
        leaf.cloned().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
    };
    let mut findings = Vec::new();
    let mut store = StoreReader::open(&data.store())?;
    let check =
        store.check(size, &mut look_up, &mut |finding| findings.push(finding.to_string()))?;
    let sound = findings.is_empty() && check.exchanges == 3 && check.pending == 0;
    expect(sound, "the stored bytes are the sealed ones", || {
        format!("{} exchanges; {}", check.exchanges, findings.join("; "))
    })?;
    story.good(&format!(
        "the {} stored body bytes, and every head, open the commitments in the log's leaves",
        check.bytes
    ))
}

/// Looks for the app's key in everything that was made, and shows what stands in its place.
pub(super) fn secret(
    place: &Place,
    recorded: &[Recorded],
    story: &mut Story<'_, '_>,
) -> Result<(), DemoError> {
    story.step("the app's key is nowhere in the record")?;
    story.fact("key", &format!("{KEY}  (made up; the model server received it)"))?;
    let files = clean(place)?;
    // A file may hold what it holds compressed: so once more what comes out of them.
    let is_clean = |it: &Recorded| !holds(&it.shown) && !holds(&it.request) && !holds(&it.response);
    let told = "nothing that `show` gives holds the key";
    expect(recorded.iter().all(is_clean), told, || "it does".to_owned())?;
    let mut tags: Vec<[u8; 32]> = recorded.iter().filter_map(tag).collect();
    let (count, wanted) = (tags.len(), recorded.len());
    tags.dedup();
    let [tag] = tags.as_slice() else {
        return expect(false, "one tag for one key", || format!("{} tags", tags.len()));
    };
    expect(count == wanted, "a tag in each exchange", || count.to_string())?;
    let tag: String = base64(tag).chars().take(8).collect();
    story.good(&format!(
        "not in any of {files} files, nor in what `show` reads out of them; in its place the tag <secret {tag}>"
    ))
}

/// Wants the app's key in no file that was made so far; gives how many there are.
pub(super) fn clean(place: &Place) -> Result<usize, DemoError> {
    let files = place.files()?;
    for path in &files {
        let bytes = std::fs::read(path).map_err(DemoError::file("read", path))?;
        expect(!holds(&bytes), "no file holds the key", || path.display().to_string())?;
    }
    Ok(files.len())
}

fn holds(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, KEY.as_bytes()).is_some()
}

/// What stands in the place of the `Authorization` field.
fn tag(recorded: &Recorded) -> Option<[u8; 32]> {
    let head = recorded.detail.units.request_head.as_ref()?;
    head.fields.iter().find_map(|(name, value)| match value {
        Shown::Secret(tag) if name.eq_ignore_ascii_case(b"authorization") => Some(*tag),
        _ => None,
    })
}
