//! Field lines: of heads, and of trailers.
//!
//! Comes in: a block of lines that ends with an empty one. Goes out: [`Fields`] that are ranges of
//! the same buffer, values without their outer whitespace. `httparse` reads the lines; what it
//! lets pass (bare line feeds) is checked here, and when it refuses, the cause is looked up here.

use bytes::Bytes;
use httparse::{EMPTY_HEADER, Header, Status};

use super::HeadError;
use crate::wire::message::Fields;

/// The most fields one head or trailer section may have. A field can be three bytes and costs
/// 48 of memory while it is parsed, so the length of the head alone is no sufficient bound.
pub const MAX_FIELDS: usize = 8192;

/// Fields that fit the table kept on the stack; longer heads are parsed a second time.
const USUAL_FIELDS: usize = 40;

/// Whether each byte may stand in a token (RFC 9110 section 5.6.2).
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut list: &[u8] = b"!#$%&'*+-.^_`|~0123456789\
        abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while let [byte, rest @ ..] = list {
        #[expect(
            clippy::indexing_slicing,
            reason = "evaluated by the compiler; a byte is below 256"
        )]
        {
            table[*byte as usize] = true;
        }
        list = rest;
    }
    table
};

/// Whether `bytes` is a token (RFC 9110 section 5.6.2): a legal method or field name.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    let legal = |byte: &u8| TOKEN_BYTES.get(usize::from(*byte)).copied().unwrap_or(false);
    !bytes.is_empty() && bytes.iter().all(legal)
}

/// Whether a field's value or a reason phrase may hold `byte`: no control byte but HTAB.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// Whether `bytes` may be a field's value or a reason phrase; outer whitespace apart.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    // A fold without an early exit is what the compiler turns into vector instructions.
    bytes.iter().fold(true, |legal, byte| legal & is_value_byte(*byte))
}

/// Whether a target may hold all of `bytes`: neither whitespace nor control bytes.
pub(super) fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |legal, byte| legal & (*byte > 0x20) & (*byte != 0x7f))
}

/// Parses the lines of `buffer` from `start` to its end, which must be an empty line.
/// `line` is the number of the first line, for messages.
pub(super) fn parse(buffer: &Bytes, start: usize, line: usize) -> Result<Fields, HeadError> {
    let block = buffer.get(start..).unwrap_or_default();
    let mut table = [EMPTY_HEADER; USUAL_FIELDS];
    match httparse::parse_headers(block, &mut table) {
        Ok(Status::Complete((end, headers))) => collect(buffer, block, end, headers, line),
        Err(httparse::Error::TooManyHeaders) => {
            let count = memchr::memchr_iter(b'\n', block).count();
            // The empty line counts too, and is no field.
            if count > MAX_FIELDS + 1 {
                return Err(HeadError::TooManyFields);
            }
            let mut table = vec![EMPTY_HEADER; count];
            match httparse::parse_headers(block, &mut table) {
                Ok(Status::Complete((end, headers))) => collect(buffer, block, end, headers, line),
                Ok(Status::Partial) | Err(_) => Err(explain(buffer, start, line)),
            }
        }
        Ok(Status::Partial) | Err(_) => Err(explain(buffer, start, line)),
    }
}

/// Turns what `httparse` found into ranges of `buffer`, once every line end is CR LF.
fn collect(
    buffer: &Bytes,
    block: &[u8],
    end: usize,
    headers: &[Header<'_>],
    line: usize,
) -> Result<Fields, HeadError> {
    let start = buffer.len() - block.len();
    // A line's name starts right after the end of the line before, so two bytes back must stand
    // a carriage return; the first line follows a start line that its own parser has checked.
    let ends_well = |at: usize| at == 0 || block.get(at.wrapping_sub(2)) == Some(&b'\r');
    let offset = |part: &[u8]| part.as_ptr().addr().wrapping_sub(block.as_ptr().addr());
    let sound = headers.iter().all(|header| ends_well(offset(header.name.as_bytes())))
        && ends_well(end.saturating_sub(2))
        && block.ends_with(b"\r\n")
        && end == block.len();
    if !sound {
        return Err(explain(buffer, start, line));
    }
    let range = |part: &[u8]| {
        let from = start.wrapping_add(offset(part));
        let to = from.wrapping_add(part.len());
        // Heads are far shorter than 4 GiB; a range that were not would read as empty.
        (u32::try_from(from).unwrap_or(u32::MAX), u32::try_from(to).unwrap_or(u32::MAX))
    };
    Ok(Fields::from_spans(
        buffer.clone(),
        headers.iter().map(|header| (range(header.name.as_bytes()), range(header.value))),
    ))
}

/// Names the first fault of lines that were refused.
fn explain(buffer: &[u8], start: usize, first_line: usize) -> HeadError {
    let block = buffer.get(start..).unwrap_or_default();
    let mut at = start;
    for (number, raw) in block.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = first_line + number;
        let next = at + raw.len();
        let Some(text) = raw.strip_suffix(b"\r\n") else {
            return match raw.last() {
                Some(b'\n') => HeadError::BareLineFeed { at: next - 1 },
                _ => HeadError::Incomplete,
            };
        };
        if text.is_empty() {
            return HeadError::Incomplete;
        }
        if let Some(fault) = line_fault(text, at, line, number == 0) {
            return fault;
        }
        at = next;
    }
    HeadError::Incomplete
}

/// The fault of one line without its line end, if it has one; the line starts at byte `at`.
fn line_fault(text: &[u8], at: usize, line: usize, first: bool) -> Option<HeadError> {
    if let Some(position) = memchr::memchr2(b'\r', 0, text) {
        let at = at + position;
        return Some(match text.get(position) {
            Some(b'\r') => HeadError::BareCarriageReturn { at },
            _ => HeadError::Nul { at },
        });
    }
    if let Some(b' ' | b'\t') = text.first() {
        return Some(match first {
            true => HeadError::WhitespaceBeforeFirstField,
            false => HeadError::FoldedLine { line },
        });
    }
    let Some(colon) = memchr::memchr(b':', text) else {
        return Some(HeadError::ColonMissing { line });
    };
    let (name, value) = text.split_at_checked(colon).unwrap_or_default();
    if name.is_empty() {
        return Some(HeadError::NameEmpty { line });
    }
    if let Some(b' ' | b'\t') = name.last() {
        return Some(HeadError::WhitespaceBeforeColon { line });
    }
    if !is_token(name) {
        return Some(HeadError::NameInvalid { line });
    }
    (!is_value(value)).then_some(HeadError::ValueControl { line })
}
