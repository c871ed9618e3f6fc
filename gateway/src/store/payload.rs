//! Payload: a body's bytes read back from the journal, one segment at a time.

use super::error::StoreError;
use super::facts::hex;
use super::sealed::{Extent, ExtentSource, SealedBody, SealedExchange};

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
    rest: Option<Extent>,
}

impl<'a> Payload<'a> {
    pub(super) fn new(
        exchange: &'a SealedExchange,
        body: &'a SealedBody,
        source: &'a mut dyn ExtentSource,
    ) -> Self {
        Self { exchange, body, source, extents: body.extents.iter(), rest: None }
    }

    /// Puts the next `length` bytes into `into`, in place of what it held.
    pub(super) fn next(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), StoreError> {
        into.clear();
        let mut wanted = length;
        while wanted > 0 {
            let Some(extent) = self.rest.take().or_else(|| self.extents.next().copied()) else {
                return Err(StoreError::Malformed {
                    exchange: hex(&self.exchange.id),
                    detail: "its extents end before its segments".to_owned(),
                });
            };
            let part = u32::try_from(wanted).map_or(extent.length, |most| most.min(extent.length));
            let piece = Extent { length: part, ..extent };
            self.read(piece, into)?;
            wanted -= u64::from(part);
            let left = extent.length - part;
            if left > 0 {
                let offset = extent.offset + u64::from(part);
                self.rest = Some(Extent { file: extent.file, offset, length: left });
            }
        }
        Ok(())
    }

    fn read(&mut self, piece: Extent, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let before = into.len();
        let read = self.source.read(piece, into).and_then(|()| {
            let came = into.len().saturating_sub(before);
            if u32::try_from(came) == Ok(piece.length) {
                return Ok(());
            }
            let detail = format!("{came} bytes came where {} were asked for", piece.length);
            Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, detail))
        });
        read.map_err(|source| StoreError::Journal {
            exchange: hex(&self.exchange.id),
            direction: self.body.direction,
            file: piece.file,
            offset: piece.offset,
            source,
        })
    }
}
