//! Recipes: which contents, in order, make a body.
//!
//! An agent sends its whole conversation again at each step, so a flat list per body would grow as
//! the square of the steps. A recipe is (parent body, shared prefix, new segments) instead: the
//! first `shared` entries are the parent's, the rest are packed here. The chain to a body without
//! a parent is at most [`DEEPEST`] long, so reading stays cheap.
//!
//! Packed, an entry is three variable-length numbers (LEB128): its content's row less the row of
//! the entry before (zigzag), its length in bytes, its kind.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::{Fault, Outcome};

/// The longest chain of parents.
pub(super) const DEEPEST: i64 = 32;
/// Bytes of the longest packed entry: two numbers of 64 bits and one of 16.
const LONGEST_ENTRY: usize = 10 + 10 + 3;
/// A shorter prefix is cheaper to list again than to chain to.
const WORTH_SHARING: usize = 4;

/// One segment of a body: its content's row, length in bytes, and unit kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) content: i64,
    pub(super) length: u64,
    pub(super) kind: u16,
}

/// Where a new recipe hangs: the parent's place, how many entries are its, and the chain's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trunk {
    pub(super) parent: Option<i64>,
    pub(super) shared: usize,
    pub(super) depth: i64,
}

struct Link {
    place: i64,
    parent: Option<i64>,
    shared: usize,
    /// How many entries are wanted, its parents' included.
    needed: usize,
    depth: i64,
    recipe: Vec<u8>,
}

/// The entries of the body at `place`, or `None` if there is no such body; of more than `most`, one
/// beyond them, so that it shows, and no more: a damaged recipe may list millions.
pub(super) fn entries(
    connection: &Connection,
    place: i64,
    most: u64,
) -> Outcome<Option<Vec<Entry>>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
    let links = chain(connection, place, most)?;
    if links.is_empty() { Ok(None) } else { unfold(&links).map(Some) }
}

/// Chooses the trunk for a new body with `wanted` entries, given a body that begins alike.
pub(super) fn trunk(connection: &Connection, alike: i64, wanted: &[Entry]) -> Outcome<Trunk> {
    let links = chain(connection, alike, wanted.len())?;
    let theirs = unfold(&links)?;
    let shared = theirs.iter().zip(wanted).take_while(|(left, right)| left == right).count();
    if shared < WORTH_SHARING {
        return Ok(Trunk::default());
    }
    // The shallowest body of the chain that has all of the shared prefix makes the shortest chain.
    let Some(link) = links.iter().find(|link| link.parent.is_none() || link.shared < shared) else {
        return Ok(Trunk::default());
    };
    if link.depth >= DEEPEST {
        return Ok(Trunk::default());
    }
    Ok(Trunk { parent: Some(link.place), shared, depth: link.depth + 1 })
}

/// The body at `place` and its parents, nearest first, as far as the first `needed` entries need them.
fn chain(connection: &Connection, place: i64, mut needed: usize) -> Outcome<Vec<Link>> {
    let mut statement = connection
        .prepare_cached("SELECT parent, shared, depth, recipe FROM body WHERE place = ?")?;
    let mut links: Vec<Link> = Vec::new();
    let mut next = Some(place);
    while let Some(place) = next {
        let row = statement
            .query_row(params![place], |row| {
                let recipe: Vec<u8> = row.get(3)?;
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?, row.get(2)?, recipe))
            })
            .optional()?;
        let Some((parent, shared, depth, mut recipe)) = row else {
            if links.is_empty() {
                return Ok(links);
            }
            return Err(Fault::Corrupt(format!("body row {place}, a parent, is missing")));
        };
        let shared = usize::try_from(shared).map_err(|_| broken(place))?;
        // Depths fall to 0 along a sound chain, so a loop cannot go unnoticed.
        let falls = links.last().is_none_or(|child| child.depth == depth + 1);
        if !falls || (parent.is_some() != (depth > 0)) {
            return Err(broken(place));
        }
        recipe.truncate(needed.saturating_sub(shared).saturating_mul(LONGEST_ENTRY));
        recipe.shrink_to_fit();
        links.push(Link { place, parent, shared, needed, depth, recipe });
        needed = needed.min(shared);
        next = parent;
    }
    Ok(links)
}

/// The entries that the recipe `packed` of the body at `place` lists itself.
pub(super) fn own_entries(packed: &[u8], place: i64) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    unpack(packed, usize::MAX, &mut entries).ok_or_else(|| broken(place))?;
    Ok(entries)
}

fn unfold(links: &[Link]) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    for link in links.iter().rev() {
        // A parent gives as many as are needed of it, which may be fewer than are shared.
        if link.shared.min(link.needed) > entries.len() {
            return Err(broken(link.place));
        }
        entries.truncate(link.shared);
        unpack(&link.recipe, link.needed, &mut entries).ok_or_else(|| broken(link.place))?;
    }
    Ok(entries)
}

fn broken(place: i64) -> Fault {
    Fault::Corrupt(format!("the recipe of body row {place} does not hold together"))
}

/// Packs the entries that a recipe lists itself.
pub(super) fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(entries.len() * 6);
    let mut before = 0_i64;
    for entry in entries {
        let step = entry.content.wrapping_sub(before);
        put(&mut packed, (step.wrapping_shl(1) ^ (step >> 63)).cast_unsigned());
        put(&mut packed, entry.length);
        put(&mut packed, u64::from(entry.kind));
        before = entry.content;
    }
    packed
}

/// Unpacks until there are `most` entries.
fn unpack(mut packed: &[u8], most: usize, entries: &mut Vec<Entry>) -> Option<()> {
    let mut before = 0_i64;
    while !packed.is_empty() && entries.len() < most {
        let folded = take(&mut packed)?;
        let step = (folded >> 1).cast_signed() ^ -((folded & 1).cast_signed());
        let length = take(&mut packed)?;
        let kind = u16::try_from(take(&mut packed)?).ok()?;
        let content = before.wrapping_add(step);
        entries.push(Entry { content, length, kind });
        before = content;
    }
    Some(())
}

fn put(packed: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            packed.push(low);
            return;
        }
        packed.push(low | 0x80);
    }
}

fn take(packed: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = packed.split_first()?;
        *packed = rest;
        let low = u64::from(byte & 0x7f);
        value |= low.checked_shl(shift).filter(|high| high >> shift == low)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The sum of the entries' lengths, in bytes.
pub(super) fn length(entries: &[Entry]) -> Outcome<u64> {
    entries
        .iter()
        .try_fold(0_u64, |sum, entry| sum.checked_add(entry.length))
        .ok_or_else(|| Fault::Corrupt("a recipe's lengths are beyond the format".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_entries_come_back() {
        let entries: Vec<Entry> =
            [(1, 1, 0), (2, 65_536, 6), (900_000, 4 << 20, 65_535), (3, 7, 1)]
                .into_iter()
                .map(|(content, length, kind)| Entry { content, length, kind })
                .collect();
        let packed = pack(&entries);
        let mut back = Vec::new();
        assert_eq!(unpack(&packed, 4, &mut back), Some(()));
        assert_eq!(back, entries);
        assert!(packed.len() < 30, "{} bytes", packed.len());
    }

    #[test]
    fn cut_or_overlong_recipes_are_refused() {
        let entries = [Entry { content: 70_000, length: 65_536, kind: 6 }];
        let packed = pack(&entries);
        for end in 1..packed.len() {
            assert_eq!(unpack(&packed[..end], 1, &mut Vec::new()), None, "cut at {end}");
        }
        assert_eq!(unpack(&[0xff; 11], 1, &mut Vec::new()), None);
    }
}
