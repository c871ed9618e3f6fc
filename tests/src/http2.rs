//! HTTP/2 messages as the tests send and read them, over the `h2` crate.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use crate::content::Content;
use crate::gate::OF_A_GATEWAY;

/// A body as it was received.
#[derive(Clone, Debug)]
pub struct Body {
    /// The payload.
    pub content: Content,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
    /// The code of the reset that ended it, if one did.
    pub reset: Option<Reason>,
}

/// Reads a body to its end.
///
/// # Panics
/// If the connection breaks.
pub async fn read(mut stream: RecvStream) -> Body {
    let mut body = Body { content: Content::default(), trailers: None, reset: None };
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                body.content.push(&data);
                let released = stream.flow_control().release_capacity(data.len());
                released.expect("what was received can be released");
            }
            Err(error) => {
                body.reset = Some(reset_code(&error));
                return body;
            }
        }
    }
    match stream.trailers().await {
        Ok(trailers) => body.trailers = trailers,
        Err(error) => body.reset = Some(reset_code(&error)),
    }
    body
}

/// The code of a stream's reset.
///
/// # Panics
/// If it is another error.
pub fn reset_code(error: &h2::Error) -> Reason {
    error.reason().unwrap_or_else(|| panic!("the connection broke: {error}"))
}

/// Sends bytes as the window allows.
pub async fn send(
    stream: &mut SendStream<Bytes>,
    bytes: impl Into<Bytes>,
    end: bool,
) -> Result<(), h2::Error> {
    let mut bytes = bytes.into();
    if bytes.is_empty() {
        return stream.send_data(bytes, end);
    }
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(capacity) => {
                let piece = bytes.split_to(capacity?.min(bytes.len()));
                stream.send_data(piece, end && bytes.is_empty())?;
            }
            None => return Err(Reason::STREAM_CLOSED.into()),
        }
    }
    Ok(())
}

/// The fields of a map as text, in its order.
pub fn fields(map: &HeaderMap) -> Vec<(String, String)> {
    let pairs = map.iter();
    pairs
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

/// Runs a client's side of a case on this thread.
///
/// # Panics
/// If it takes longer than twice [`OF_A_GATEWAY`].
pub fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        tokio::time::timeout(OF_A_GATEWAY * 2, case).await.expect("the case comes to an end")
    })
}
