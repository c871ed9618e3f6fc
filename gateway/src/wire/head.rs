//! Reads the head of one HTTP/1 message from a connection.

use std::io;

use bytes::Bytes;

use super::buffer::Chunk;
use super::http1::{HeadError, HeadScanner};
use super::stream::Reader;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum ReadHeadError {
    /// The connection ended before the first byte of a head.
    #[error("the connection ended")]
    Ended,
    /// The connection ended or failed in the middle of a head.
    #[error("the connection ended in the middle of a head")]
    Cut,
    /// The connection failed before the first byte of a head.
    #[error("the connection failed: {0}")]
    Transport(io::Error),
    /// What came cannot be a head.
    #[error(transparent)]
    Malformed(#[from] HeadError),
}

/// Reads until a head is complete. `carry` holds what was read before and not used; afterwards it
/// holds what was read beyond the head. Bytes of a body are not copied.
///
/// # Errors
///
/// [`ReadHeadError`]; what was read of an unfinished head is gone then.
pub async fn read_head(
    reader: &mut Reader,
    carry: &mut Chunk,
    mut scanner: HeadScanner,
) -> Result<Bytes, ReadHeadError> {
    let mut partial = Vec::new();
    loop {
        if !carry.is_empty() {
            let before = partial.len();
            let scanned = if before == 0 {
                scanner.scan(carry)?
            } else {
                partial.extend_from_slice(carry);
                scanner.scan(&partial)?
            };
            if let Some(end) = scanned {
                let whole: &[u8] = if before == 0 { carry } else { &partial };
                let head = whole.get(scanner.leading()..end).unwrap_or_default();
                let head = Bytes::copy_from_slice(head);
                carry.advance(end.saturating_sub(before));
                if carry.is_empty() {
                    *carry = Chunk::empty();
                }
                return Ok(head);
            }
            if before == 0 {
                partial.extend_from_slice(carry);
            }
        }
        *carry = Chunk::empty();
        let chunk = reader.read().await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof if partial.is_empty() => ReadHeadError::Ended,
            io::ErrorKind::UnexpectedEof => ReadHeadError::Cut,
            _ if partial.is_empty() => ReadHeadError::Transport(error),
            _ => ReadHeadError::Cut,
        })?;
        if chunk.is_empty() {
            return Err(if partial.is_empty() { ReadHeadError::Ended } else { ReadHeadError::Cut });
        }
        *carry = chunk;
    }
}
