//! Accept: connections in, requests out.
//!
//! In: TCP connections on the listener, with TLS where it is configured. Out: [`Accepted`], which
//! only this stage can make. Bytes that are no request are refused here with the reason, and never
//! go further. Either version of HTTP is served: by ALPN under TLS, by the connection's first
//! bytes without.

mod accepted;
pub mod authority;
mod door;
mod http1;
mod http2;
mod listener;
mod tls;
mod watched;

pub use self::accepted::{Accepted, BodyLength, ByteReply, Client, Door, Reply};
#[doc(hidden)]
pub use self::door::look_at_any;
pub use self::door::{Carrier, Led, Minter, Redirected, RedirectedError};
pub use self::listener::{ListenError, Listener};
pub use self::tls::{TlsError, server_config};
