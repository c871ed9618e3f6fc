//! `sealtap bypasses`: what went around, or tried to, each with who did.
//!
//! In: the leaves of the kind `bypass` under the published checkpoint, and the units that the store holds for
//! them. Out: lines for people or programs; what steers a terminal is escaped. Who it was is not said where
//! that is gone.

use sealtap_common::leaf::{Bypass, BypassUnit, Leaf};
use sealtap_common::unit::Maker;
use serde_json::{Value, json};

use super::bundle::tree::{Tree, TreeError};
use super::live::shown;
use super::query::time;
use super::records;
use crate::command::{Exit, Failure, Outcome, Output, bypasses};
use crate::kernel::Whose;
use crate::store::{StoreReader, readable};

/// Leaves that are read at once.
const STRIDE: u64 = 4096;

/// What each leaf of this kind holds.
const KIND: &[u8] = b"\"kind\":\"bypass\"";

/// Lists ways around.
///
/// # Errors
///
/// There is no such data directory, or something cannot be read.
pub fn run(arguments: &bypasses::Arguments, output: &mut Output<'_>) -> Outcome {
    let data = records::directory(&arguments.data)?;
    let store = records::store(&data.store()).map_err(|error| Failure::of(&error))?;
    let tree = match Tree::open(&data.log()) {
        Ok(tree) => tree,
        // A gateway that has only just started: nothing is sealed.
        Err(TreeError::Checkpoint { .. }) => return Ok(Exit::Done),
        Err(error) => return Err(Failure::of(&error)),
    };
    let out = output.exact();
    let mut at = 0;
    while at < tree.size {
        let stop = tree.size.min(at.saturating_add(STRIDE));
        let leaves = tree.leaves(at..stop).map_err(|error| Failure::of(&error))?;
        for (index, bytes) in (at..stop).zip(leaves) {
            let Some(leaf) = around(&bytes) else { continue };
            let who = who(store.as_ref(), index)?;
            let line = match arguments.json {
                true => object(index, &leaf, who.as_ref()).to_string(),
                false => text(&leaf, who.as_ref()),
            };
            writeln!(out, "{line}").map_err(|error| Failure::writing(&error))?;
        }
        at = stop;
    }
    out.flush().map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

fn around(bytes: &[u8]) -> Option<Bypass> {
    memchr::memmem::find(bytes, KIND)?;
    match Leaf::decode(bytes) {
        Ok(Leaf::Bypass(leaf)) => Some(*leaf),
        _ => None,
    }
}

/// Who a leaf is about, and where to; none where nobody is, or where that is gone.
fn who(store: Option<&StoreReader>, leaf: u64) -> Result<Option<Maker<'static>>, Failure> {
    let Some(store) = store else { return Ok(None) };
    let kept = store.aside(leaf).map_err(|error| Failure::of(&error))?;
    let decode = |bytes: &[u8]| {
        Maker::decode(bytes).map_err(|error| {
            Failure::new(format!("what is kept of leaf {leaf} cannot be read: {error}"))
                .fix("`sealtap verify` says what else is wrong")
        })
    };
    kept.map(|kept| decode(&kept.bytes)).transpose()
}

/// Byte for byte, for programs.
fn exact(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// What the store has of one, as it is said.
struct Said {
    destination: Option<String>,
    executable: Option<String>,
    process: u64,
}

impl Said {
    fn of(who: &Maker<'_>, say: fn(&[u8]) -> String) -> Self {
        let process = who.process.as_ref();
        Self {
            destination: who.destination.as_deref().map(say),
            executable: process.and_then(|process| process.executable.as_deref()).map(say),
            process: who.noted.map_or(0, |noted| noted.process),
        }
    }

    fn whose(&self, leaf: &Bypass) -> Whose<'_> {
        let packet = leaf.unit == BypassUnit::Packet;
        Whose { packet, process: self.process, executable: self.executable.as_deref() }
    }
}

fn text(leaf: &Bypass, who: Option<&Maker<'_>>) -> String {
    let (verdict, unit, way) = (leaf.verdict.as_str(), leaf.unit.as_str(), leaf.way.as_str());
    let head =
        format!("{}  {:>5}  {verdict:<6}  {unit:<7}  {way:<7}", time(leaf.sealed), leaf.count);
    match who.map(|who| Said::of(who, readable)) {
        Some(said) => {
            let destination = said.destination.as_deref().unwrap_or("-");
            let whose = said.whose(leaf).to_string();
            format!("{head}  {} by {}", shown(destination), shown(&whose))
        }
        None if leaf.who.is_some() => format!("{head}  by whom is not held, not yet or no longer"),
        None => format!("{head}  more of the same, of which only the number is known"),
    }
}

fn object(index: u64, leaf: &Bypass, who: Option<&Maker<'_>>) -> Value {
    let said = who.map(|who| Said::of(who, exact));
    let whose = said.as_ref().map(|said| said.whose(leaf));
    json!({
        "sealed": time(leaf.sealed),
        "count": leaf.count,
        "verdict": leaf.verdict.as_str(),
        "unit": leaf.unit.as_str(),
        "way": leaf.way.as_str(),
        "destination": said.as_ref().and_then(|said| said.destination.clone()),
        "process": whose.and_then(|whose| whose.did()),
        "socket_of": whose.and_then(|whose| whose.socket_of()),
        "executable": said.as_ref().and_then(|said| said.executable.clone()),
        "coverage": leaf.coverage.to_string(),
        "statement": leaf.statement,
        "leaf": index,
    })
}
