//! Bench for HTTP/2: a client, an upstream, and between them the gateway or nothing.

use std::future::Future;

use http::HeaderMap;

use crate::bench::Path;
use crate::client_http2::Client;
use crate::content::Content;
use crate::gateway::{Gateway, Options};
use crate::http2;
use crate::records::{Direction, Exchange as Record};
use crate::upstream_http2::{Exchange, Upstream};

/// A client's way to an HTTP/2 upstream, in clear text.
pub struct Bench {
    /// What answers.
    pub upstream: Upstream,
    gateway: Option<Gateway>,
    path: Path,
}

impl Bench {
    /// An upstream whose streams run `script`, behind a gateway or not.
    pub fn new<F, T>(path: Path, script: F) -> Self
    where
        F: Fn(Exchange) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let upstream = Upstream::start(None, script);
        let gateway = match path {
            Path::Direct => None,
            // In a tunnel the upstream speaks first, to a client that a busy machine may make slow.
            Path::Gateway | Path::Connect => Some(
                Options::default()
                    .upstream("up", upstream.url())
                    .config("[proxy]\ndetect = \"20s\"\n")
                    .start(),
            ),
        };
        Self { upstream, gateway, path }
    }

    /// A connection to the gateway, or to the upstream where there is none.
    pub async fn client(&self) -> Client {
        let gateway = self.gateway.as_ref().map(Gateway::address);
        match (self.path, gateway) {
            (Path::Connect, Some(gateway)) => {
                Client::tunnel(gateway, &self.upstream.address().to_string()).await
            }
            _ => Client::connect(gateway.unwrap_or(self.upstream.address())).await,
        }
    }

    /// The target that reaches `rest` at the upstream.
    pub fn target(&self, rest: &str) -> String {
        format!("{}{rest}", if self.path == Path::Gateway { "/up" } else { "" })
    }

    /// The records, if there was a gateway, and what the upstream read.
    pub fn finish(self) -> (Vec<Record>, Vec<(http::request::Parts, http2::Body)>) {
        let records = self.gateway.map(Gateway::finish).unwrap_or_default();
        (records, self.upstream.finish())
    }
}

/// Holds a record against its ends (outcome, request, response) and bodies.
///
/// # Panics
/// If it says otherwise.
pub fn record(record: &Record, ends: [&str; 3], request: &Content, response: &Content) {
    let found =
        [record.text("/outcome"), record.text("/request/end"), record.text("/response/end")];
    assert_eq!(found, ends, "{}", record.json);
    assert_eq!(record.body(Direction::Request), *request, "{}", record.json);
    assert_eq!(record.body(Direction::Response), *response, "{}", record.json);
}

/// A map of fields.
///
/// # Panics
/// If a value is no field value.
pub fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

/// One message of gRPC: not compressed, length, payload.
///
/// # Panics
/// If it has 4 GiB.
pub fn grpc(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0], length.as_slice(), payload].concat()
}
