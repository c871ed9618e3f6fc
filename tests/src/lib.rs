//! The harness of the end-to-end suites.
//!
//! Every suite in `tests/tests/` drives the real `sealtap` binary between clients and upstream
//! servers written here, on raw sockets where bytes matter. Both ends know exactly which bytes
//! they sent and received, so that a case can hold four things against each other: what the
//! client saw, what the upstream saw, what `show --body` gives back, and what `ls` says.
//!
//! Two rules are structural. A [`gateway::Gateway`] must be [finished](gateway::Gateway::finish):
//! that stops it with SIGTERM and verifies the log it wrote, and dropping it unfinished fails the
//! test. And a case that does not depend on the gateway runs twice, once with the client connected
//! straight to the upstream ([`bench::Path::Direct`]), which proves the case itself.
//!
//! Nothing here sleeps to wait for something: it waits on sockets, channels or a deadline.

pub mod bench;
pub mod bench_http2;
pub mod bundle;
pub mod client_http2;
pub mod content;
pub mod coverage;
pub mod gate;
pub mod gateway;
pub mod http1;
pub mod http2;
pub mod launch;
pub mod leaves;
pub mod load;
pub mod maps;
pub mod metrics;
pub mod programs;
pub mod records;
pub mod refusing;
pub mod resolver;
pub mod running;
pub mod seen;
pub mod standing;
pub mod statements;
pub mod suite;
pub mod terminal;
pub mod tls;
pub mod trace;
pub mod upstream_http1;
pub mod upstream_http2;
pub mod verify;
pub mod volume;
pub mod websocket;
pub mod wire;
pub mod witness;
