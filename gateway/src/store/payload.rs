//! Payload: a body's bytes read back from the journal, one segment at a time.

use std::io;

use super::error::StoreError;
use super::facts::hex;
use super::sealed::{ExtentSource, SealedBody, SealedExchange};
use crate::capture::journal::Extent;

/// Checks that the segments tile the body and that its extents hold exactly as many bytes.
pub(super) fn check_tiling(
    exchange: &SealedExchange,
    body: &SealedBody,
    longest: u64,
) -> Result<u64, StoreError> {
    let fault = |detail: String| StoreError::Malformed {
        exchange: hex(&exchange.id),
        detail: format!("{} body: {detail}", body.direction.as_str()),
    };
    let mut end = 0_u64;
    for (index, segment) in body.segments.iter().enumerate() {
        if segment.offset != end {
            return Err(fault(format!(
                "segment {index} begins at {}, the one before ends at {end}",
                segment.offset
            )));
        }
        if segment.length == 0 || segment.length > longest {
            return Err(fault(format!("segment {index} is {} bytes long", segment.length)));
        }
        end = end
            .checked_add(segment.length)
            .ok_or_else(|| fault(format!("segment {index} ends beyond any body")))?;
    }
    let held: u64 = body.extents.iter().map(|extent| u64::from(extent.length)).sum();
    if held != end {
        return Err(fault(format!("its segments end at {end}, the journal holds {held} bytes")));
    }
    Ok(end)
}

/// The bytes of one body, in order.
pub(super) struct Payload<'a> {
    exchange: &'a SealedExchange,
    body: &'a SealedBody,
    source: &'a mut dyn ExtentSource,
    extents: std::slice::Iter<'a, Extent>,
    /// An extent that reached beyond the segment it began in, and how much of it was taken.
    held: (Vec<u8>, usize),
}

impl<'a> Payload<'a> {
    pub(super) fn new(
        exchange: &'a SealedExchange,
        body: &'a SealedBody,
        source: &'a mut dyn ExtentSource,
    ) -> Self {
        let extents = body.extents.iter();
        Self { exchange, body, source, extents, held: (Vec::new(), 0) }
    }

    /// Puts the next `length` bytes into `into`, in place of what it held.
    pub(super) fn next(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let malformed = |detail: &str| StoreError::Malformed {
            exchange: hex(&self.exchange.id),
            detail: detail.to_owned(),
        };
        let length = usize::try_from(length).map_err(|_| malformed("a segment is too long"))?;
        into.clear();
        loop {
            let (held, taken) = &mut self.held;
            let rest = held.get(*taken..).unwrap_or_default();
            let part = rest.get(..length.saturating_sub(into.len())).unwrap_or(rest);
            into.extend_from_slice(part);
            *taken = taken.saturating_add(part.len());
            if into.len() >= length {
                return Ok(());
            }
            let Some(extent) = self.extents.next() else {
                return Err(malformed("its extents end before its segments"));
            };
            // Most extents lie within one segment, and are read to their place at once.
            let wanted = length - into.len();
            if usize::try_from(extent.length).is_ok_and(|length| length <= wanted) {
                read(self.source, *extent, into)
            } else {
                held.clear();
                *taken = 0;
                read(self.source, *extent, held)
            }
            .map_err(|source| StoreError::Journal {
                exchange: hex(&self.exchange.id),
                direction: self.body.direction,
                file: extent.file,
                offset: extent.offset,
                source,
            })?;
        }
    }
}

/// Reads one extent, and holds the source to its word.
fn read(source: &mut dyn ExtentSource, extent: Extent, into: &mut Vec<u8>) -> io::Result<()> {
    let before = into.len();
    source.read(extent, into)?;
    let came = into.len().saturating_sub(before);
    if u32::try_from(came) == Ok(extent.length) {
        return Ok(());
    }
    let detail = format!("{came} bytes came where {} were asked for", extent.length);
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, detail))
}
