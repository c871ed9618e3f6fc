//! Octets from the wire as text: exact for programs, harmless for terminals.

use std::fmt::Write as _;

use sealtap_common::encoding::base64;
use sealtap_common::unit::Shown;

pub(super) use crate::store::readable;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Byte 0xNN as U+00NN: any octets, one text each, as in the committed units.
pub(super) fn exact(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// Text with everything that steers a terminal escaped.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_format(character) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Characters that reorder or hide what is around them.
fn is_format(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A secret's tag as people see it: the first eight characters of its base64.
pub(super) fn short_tag(tag: &[u8; 32]) -> String {
    let mut text = base64(tag);
    text.truncate(8);
    format!("<secret {text}>")
}

/// A value as one text, with a short tag in the place of a secret.
pub(super) fn shown(value: &Shown<'_>) -> String {
    match value {
        Shown::Plain(octets) => readable(octets),
        Shown::Secret(tag) => short_tag(tag),
    }
}

/// Several values, such as the parts of a target, as one text.
pub(super) fn joined(parts: &[Shown<'_>]) -> String {
    parts.iter().map(shown).collect()
}

/// A value in JSON: exact text, or `{"secret": tag}` with the whole tag.
pub(super) struct JsonShown<'a>(pub(super) &'a Shown<'a>);

impl Serialize for JsonShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Shown::Plain(octets) => serializer.serialize_str(&exact(octets)),
            Shown::Secret(tag) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("secret", &base64(tag))?;
                map.end()
            }
        }
    }
}
