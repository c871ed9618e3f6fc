//! Pages of the gateway's own: answered here, recorded nowhere, since they go nowhere.

use super::Rest;
use super::respond::Responding;
use crate::accept::Accepted;
use crate::serve::observe::Page;
use crate::wire::message::{Fields, ResponseHead, Version};

/// Answers a request with a page of the gateway's own; a body that came with it is left unread, and
/// the connection ends.
pub async fn own(accepted: Accepted, page: Page) -> Rest {
    let method = accepted.head().method.clone();
    let (body, reply) = accepted.into_streams();
    let mut response = Responding::new(reply, method);
    let length = page.body.len().to_string();
    let pairs: [(&[u8], &[u8]); 3] = [
        (b"Content-Type", page.content_type.as_bytes()),
        (b"Content-Length", length.as_bytes()),
        (b"Cache-Control", b"no-store"),
    ];
    let head = ResponseHead {
        status: page.status,
        reason: match page.status {
            200 => b"OK".as_slice().into(),
            503 => b"Service Unavailable".as_slice().into(),
            _ => b"Internal Server Error".as_slice().into(),
        },
        version: Version::Http11,
        fields: Fields::from_pairs(pairs),
    };
    response.unrecorded(&head, page.body).await;
    let (rest, _) = response.into_rest(body, false);
    rest
}
