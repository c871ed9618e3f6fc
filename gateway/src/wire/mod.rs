//! Wire: HTTP messages and codecs, shared by `accept` and `forward`.

pub mod http1;
pub mod message;
pub mod websocket;
