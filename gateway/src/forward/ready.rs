//! A response's head as it will leave, made before anything of it is recorded or sent.
//!
//! In: the head to send. Out: its bytes, or what `h2` takes. Can fail where the client's version of
//! HTTP has no words for it; then nothing has been said to anyone.

use crate::wire::http1::{WriteError, write_response_head};
use crate::wire::http2::respond_with;
use crate::wire::message::{ResponseHead, Version};

/// A head in the client's version of HTTP.
pub(super) enum Ready {
    /// Its bytes.
    Http1(Vec<u8>),
    /// What becomes a HEADERS frame.
    Http2(http::Response<()>),
}

/// Makes a head ready.
///
/// # Errors
///
/// It cannot be said to the client.
pub(super) fn ready(sent: &ResponseHead) -> Result<Ready, WriteError> {
    if sent.version == Version::Http2 {
        return respond_with(sent).map(Ready::Http2).map_err(|_| WriteError::Unsayable);
    }
    let mut head = Vec::with_capacity(1024);
    write_response_head(&mut head, sent, sent.fields.iter())?;
    Ok(Ready::Http1(head))
}
