//! One part's entries: its tuples, and what of it is disclosed.

use std::io::Read;

use super::archive::{ArchiveError, Reader};
use super::parse_secret;
use super::part::{Bound, Part};
use crate::commit::{BodyKey, BodyRoot, Salt, SegmentHasher, Tuple, UnitKind, commit};
use crate::tree::Hash;
use crate::verify::cut_as_said;

/// Bytes of a tuple.
const TUPLE: u64 = 55;

/// Tuples of one part that are read, in bytes; more would be a body no store takes.
const TUPLES: u64 = 256 << 20;

/// Bytes of a key's or a salt's text.
const SECRET: u64 = 65;

/// The longest unit whose bytes are kept to be looked at: a full message index has some 9 MB.
const KEPT: u64 = 16 << 20;

/// What was found of one part.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Its segments.
    pub(super) segments: u64,
    /// Those disclosed.
    pub(super) disclosed: u64,
    /// Whether the key was handed over.
    pub(super) whole: bool,
    /// The bytes of a unit that was disclosed.
    pub(super) unit: Option<Vec<u8>>,
}

/// Why a part cannot be taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// The file itself.
    Archive(ArchiveError),
    /// What is wrong with the entry of this name.
    Wrong(String, String),
}

impl From<ArchiveError> for Refused {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Reads the entries of `part` in `folder` and holds them against what the leaf binds. `follow` sees
/// the bytes that are disclosed, in order.
pub(super) fn read(
    reader: &mut Reader<impl Read>,
    folder: &str,
    part: Part,
    bound: &Bound,
    follow: &mut impl FnMut(&[u8]),
) -> Result<Shown, Refused> {
    let name = format!("{folder}/{part}");
    let tuples = tuples(reader, &name, bound)?;
    let mut shown = Shown { segments: u64::from(bound.segments()), ..Shown::default() };
    if is_next(reader, &format!("{name}.key"))? {
        whole(reader, &name, bound, &tuples, &mut shown, follow)?;
        return Ok(shown);
    }
    for tuple in &tuples {
        let (segment, salt_name) =
            (format!("{name}.{}", tuple.index), format!("{name}.{}.salt", tuple.index));
        if !is_next(reader, &salt_name)? {
            continue;
        }
        let salt = Salt::new(secret(reader, &salt_name)?);
        expect(reader, &segment, tuple.length)?;
        let bytes = reader.content(tuple.length)?;
        if commit(&salt, &bytes) != tuple.commitment {
            return wrong(&segment, "the bytes and the salt do not open the commitment");
        }
        shown.disclosed += 1;
        follow(&bytes);
        shown.unit = bound.is_unit().then_some(bytes);
    }
    Ok(shown)
}

/// The tuples, which tile the part and lead to the root in the leaf.
fn tuples(
    reader: &mut Reader<impl Read>,
    name: &str,
    bound: &Bound,
) -> Result<Vec<Tuple>, Refused> {
    let name = format!("{name}.tuples");
    expect(reader, &name, TUPLE * u64::from(bound.segments()))?;
    let bytes = reader.content(TUPLES)?;
    let mut root = BodyRoot::new();
    let mut tuples = Vec::with_capacity(bytes.len() / 55);
    for chunk in bytes.as_chunks::<55>().0 {
        let Some(tuple) = Tuple::decode(chunk) else {
            return wrong(&name, "a tuple of another version");
        };
        if let Err(error) = root.push_tuple(&tuple) {
            return wrong(&name, &error.to_string());
        }
        let cut = match bound {
            Bound::Body(body) => cut_as_said(body, &tuple),
            Bound::Unit(_, kind) | Bound::Root(_, kind) => {
                UnitKind::from_number(tuple.kind) == Some(*kind)
            }
        };
        if !cut {
            return wrong(&name, &format!("segment {} is not cut as the leaf says", tuple.index));
        }
        tuples.push(tuple);
    }
    if !bound.is(&root.finish(bound.dialect())) {
        return wrong(&name, "the tuples lead to another root than the leaf's");
    }
    Ok(tuples)
}

/// A part whose key was handed over, segment by segment.
fn whole(
    reader: &mut Reader<impl Read>,
    name: &str,
    bound: &Bound,
    tuples: &[Tuple],
    shown: &mut Shown,
    follow: &mut impl FnMut(&[u8]),
) -> Result<(), Refused> {
    let key = BodyKey::new(secret(reader, &format!("{name}.key"))?);
    let length = tuples.iter().map(|tuple| tuple.length).fold(0, u64::saturating_add);
    expect(reader, name, length)?;
    let mut kept = bound.is_unit().then(Vec::new).filter(|_| length <= KEPT);
    let mut opened = Opened { key, tuples: tuples.iter(), under_way: None, wrong: None };
    reader.stream(|piece| {
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(piece);
        }
        follow(piece);
        opened.take(piece);
    })?;
    if let Some(segment) = opened.wrong {
        let detail = format!("the key and the bytes do not open segment {segment}");
        return wrong(name, &detail);
    }
    (shown.disclosed, shown.whole, shown.unit) = (shown.segments, true, kept);
    Ok(())
}

/// Opens one commitment after the other as bytes come.
struct Opened<'t> {
    key: BodyKey,
    tuples: std::slice::Iter<'t, Tuple>,
    under_way: Option<(SegmentHasher, u64, u32, Hash)>,
    /// The first segment that does not open.
    wrong: Option<u32>,
}

impl Opened<'_> {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let next = self.under_way.take().or_else(|| {
                let tuple = self.tuples.next()?;
                let hasher = SegmentHasher::new(&self.key.salt(tuple.index), tuple.length);
                Some((hasher, tuple.length, tuple.index, tuple.commitment))
            });
            // The tuples tile the part's length, which is how many bytes come.
            let Some((mut hasher, rest, index, commitment)) = next else { return };
            let length = usize::try_from(rest).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, after) = bytes.split_at(length);
            hasher.update(piece);
            bytes = after;
            let rest = rest - u64::try_from(length).unwrap_or(rest);
            if rest > 0 {
                self.under_way = Some((hasher, rest, index, commitment));
            } else if hasher.finish() != Ok(commitment) {
                self.wrong = self.wrong.or(Some(index));
            }
        }
    }
}

fn secret(reader: &mut Reader<impl Read>, name: &str) -> Result<[u8; 32], Refused> {
    expect(reader, name, SECRET)?;
    match parse_secret(&reader.content(SECRET)?) {
        Some(secret) => Ok(secret),
        None => wrong(name, "not 64 lowercase hexadecimal digits and a newline"),
    }
}

pub(super) fn is_next(reader: &mut Reader<impl Read>, name: &str) -> Result<bool, ArchiveError> {
    Ok(reader.peek()?.is_some_and(|entry| entry.name == name))
}

/// Wants an entry of this name and length to be next.
fn expect(reader: &mut Reader<impl Read>, name: &str, size: u64) -> Result<(), Refused> {
    match reader.peek()? {
        Some(entry) if entry.name == name && entry.size == size => Ok(()),
        Some(entry) if entry.name == name => {
            let detail = format!("{} bytes, the leaf says {size}", entry.size);
            wrong(name, &detail)
        }
        Some(entry) => {
            let detail = format!("belongs where {} stands", entry.name);
            wrong(name, &detail)
        }
        None => wrong(name, "is missing"),
    }
}

fn wrong<T>(name: &str, detail: &str) -> Result<T, Refused> {
    Err(Refused::Wrong(name.to_owned(), detail.to_owned()))
}
