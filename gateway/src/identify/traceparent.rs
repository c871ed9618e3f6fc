//! The trace id of `traceparent`, read as strictly as W3C Trace Context asks.
//!
//! `version "-" trace-id "-" parent-id "-" flags`, all lower-case hexadecimal of 2, 32, 16 and 2
//! digits; neither id all zero, version not `ff`. Version `00` ends there; a later version may go on
//! after another `-`.

use crate::wire::message::Fields;

/// The trace id of the one valid `traceparent` among `fields`.
pub(super) fn trace_id(fields: &Fields) -> Option<String> {
    let mut values = fields.all("traceparent");
    let value = values.next()?;
    match values.next() {
        None => parse(value),
        Some(_) => None,
    }
}

/// The trace id in `value`, if all of it is valid.
pub(super) fn parse(value: &[u8]) -> Option<String> {
    let (version, rest) = digits(value, 2)?;
    let (trace, rest) = digits(rest.strip_prefix(b"-")?, 32)?;
    let (parent, rest) = digits(rest.strip_prefix(b"-")?, 16)?;
    let (_flags, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let ends = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    (ends && !zero(trace) && !zero(parent)).then(|| trace.to_owned())
}

/// The first `count` bytes as lower-case hexadecimal digits, and the rest.
fn digits(bytes: &[u8], count: usize) -> Option<(&str, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(count)?;
    let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = digits.iter().all(lower_hex).then(|| std::str::from_utf8(digits).ok())??;
    Some((text, rest))
}
