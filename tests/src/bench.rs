//! Bench: a client, an upstream, and between them the gateway or nothing.
//!
//! A case says what the client sent, what the upstream answered and what the client received.
//! [`Bench::finish`] then holds everything against everything: the upstream's log, the client's
//! answer, and, with a gateway, its record and the bytes that `show --body` gives back.

use std::net::SocketAddr;

use crate::content::Content;
use crate::gateway::{Gateway, Options};
use crate::http1::{self, Head, Message};
use crate::records::{Direction, Exchange};
use crate::upstream_http1::{Session, Upstream};
use crate::wire::Wire;

/// The name the upstream has in the gateway.
pub const NAME: &str = "up";

/// What stands between client and upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Nothing: the case proves itself.
    Direct,
    /// The gateway, by its name for the upstream.
    Gateway,
    /// The gateway, by a CONNECT to the upstream.
    Connect,
}

/// Makes each case a test three times: `direct::NAME`, `through::NAME` and `tunnel::NAME`.
#[macro_export]
macro_rules! cases {
    ($($(#[$meta:meta])* fn $name:ident($path:ident) $body:block)*) => {
        $($(#[$meta])* fn $name($path: $crate::bench::Path) $body)*

        /// Without a gateway.
        mod direct {
            $(#[test] fn $name() { super::$name($crate::bench::Path::Direct); })*
        }

        /// Through the gateway.
        mod through {
            $(#[test] fn $name() { super::$name($crate::bench::Path::Gateway); })*
        }

        /// Through the gateway, in a tunnel that it opens.
        mod tunnel {
            $(#[test] fn $name() { super::$name($crate::bench::Path::Connect); })*
        }
    };
}

/// A client's way to an upstream.
pub struct Bench {
    upstream: Upstream,
    gateway: Option<Gateway>,
    path: Path,
}

impl Bench {
    /// An upstream whose connections run `script`.
    pub fn scripted(path: Path, script: impl Fn(Session) + Send + Sync + 'static) -> Self {
        Self::new(path, Upstream::start(script), Options::default())
    }

    /// An upstream that answers each request.
    pub fn answering(
        path: Path,
        answer: impl Fn(&mut Session, &Message) + Send + Sync + 'static,
    ) -> Self {
        Self::new(path, Upstream::answering(answer), Options::default())
    }

    /// This upstream, and a gateway with these options.
    pub fn new(path: Path, upstream: Upstream, options: Options) -> Self {
        let gateway = match path {
            Path::Direct => None,
            Path::Gateway | Path::Connect => Some(options.upstream(NAME, upstream.url()).start()),
        };
        Self { upstream, gateway, path }
    }

    /// The upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The gateway, if there is one.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Whom the client speaks to, as its requests say.
    pub fn address(&self) -> SocketAddr {
        match (self.path, &self.gateway) {
            (Path::Gateway, Some(gateway)) => gateway.address(),
            _ => self.upstream.address(),
        }
    }

    /// A connected client.
    pub fn client(&self) -> Wire {
        match (self.path, &self.gateway) {
            (Path::Connect, Some(gateway)) => {
                Wire::tunnel(gateway.address(), &self.upstream.address().to_string())
            }
            _ => Wire::connect(self.address()),
        }
    }

    /// What a client writes before the upstream's own path.
    pub fn prefix(&self) -> &'static str {
        if self.path == Path::Gateway { "/up" } else { "" }
    }

    /// A request head with its Host field first.
    pub fn head(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        self.raw_head(method, target.as_bytes(), fields)
    }

    /// The same for a target that is no text.
    pub fn raw_head(&self, method: &str, target: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
        let host = self.address().to_string();
        let mut all = vec![("Host", host.as_str())];
        all.extend_from_slice(fields);
        let line = [method.as_bytes(), b" ", self.prefix().as_bytes(), target, b" HTTP/1.1"];
        http1::head(line.concat(), &all)
    }

    /// Stops everything, without comparing: the records, and the requests the upstream logged.
    pub fn stop(self) -> (Vec<Exchange>, Vec<Message>) {
        let exchanges = self.gateway.map(Gateway::finish).unwrap_or_default();
        (exchanges, self.upstream.finish())
    }

    /// Stops everything and holds each call against what the others saw, in the order in which
    /// the requests came.
    ///
    /// # Panics
    /// If any two of them differ.
    pub fn finish(self, calls: &[Call]) -> Vec<Exchange> {
        let prefix = self.prefix();
        let host = self.upstream.authority();
        let exchanges = self.gateway.map(Gateway::finish);
        let mut requests = self.upstream.finish();
        for call in calls {
            let sent = Head::parse(&call.head);
            let target = &sent.target()[prefix.len()..];
            let at = requests.iter().position(|request| request.head.target() == target);
            let at = at.unwrap_or_else(|| {
                panic!("{} never reached the upstream", sent.line.escape_ascii())
            });
            call.compare_request(&sent, &requests.remove(at), &host);
            call.compare_answer();
        }
        assert!(requests.is_empty(), "the upstream got more than was sent: {requests:?}");
        let Some(exchanges) = exchanges else { return Vec::new() };
        assert_eq!(exchanges.len(), calls.len(), "{exchanges:?}");
        for (call, exchange) in calls.iter().zip(&exchanges) {
            call.compare_record(exchange);
        }
        exchanges
    }
}

/// One request and its answer, as the case knows them.
pub struct Call {
    head: Vec<u8>,
    sent: Content,
    answer: Option<(Vec<u8>, Content)>,
    received: Option<Message>,
    outcome: &'static str,
    request_end: &'static str,
    response_end: &'static str,
}

impl Call {
    /// A request with this head and payload, answered with this head and payload, of which the
    /// client received this.
    pub fn new(
        head: impl AsRef<[u8]>,
        sent: impl Into<Content>,
        answer_head: impl AsRef<[u8]>,
        answered: impl Into<Content>,
        received: &Message,
    ) -> Self {
        Self {
            head: head.as_ref().to_vec(),
            sent: sent.into(),
            answer: Some((answer_head.as_ref().to_vec(), answered.into())),
            received: Some(received.clone()),
            outcome: "complete",
            request_end: "complete",
            response_end: "complete",
        }
    }

    /// A request that reached the upstream but of whose answer the client saw no head.
    pub fn unanswered(head: impl AsRef<[u8]>, sent: impl Into<Content>) -> Self {
        Self {
            head: head.as_ref().to_vec(),
            sent: sent.into(),
            answer: None,
            received: None,
            outcome: "client_cancelled",
            request_end: "complete",
            response_end: "upstream_failed",
        }
    }

    /// What the record must say instead of `complete`: outcome, end of request, end of response.
    #[must_use]
    pub fn ends(
        mut self,
        outcome: &'static str,
        request_end: &'static str,
        response_end: &'static str,
    ) -> Self {
        self.outcome = outcome;
        self.request_end = request_end;
        self.response_end = response_end;
        self
    }

    fn compare_request(&self, sent: &Head, reached: &Message, host: &str) {
        let name = sent.line.escape_ascii().to_string();
        assert_eq!(reached.head.method(), sent.method(), "{name}: method at the upstream");
        assert_eq!(reached.body.content, self.sent, "{name}: request body at the upstream");
        let mut expected = sent.end_to_end();
        for (_, value) in expected.iter_mut().filter(|(name, _)| name == b"Host") {
            *value = host.as_bytes().to_vec();
        }
        expected.retain(|(name, _)| !name.eq_ignore_ascii_case(b"expect"));
        let mut fields = reached.head.end_to_end();
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"expect"));
        assert_fields(&fields, &expected, &format!("{name}: request fields at the upstream"));
    }

    fn compare_answer(&self) {
        let (Some((head, answered)), Some(received)) = (&self.answer, &self.received) else {
            return;
        };
        let head = Head::parse(head);
        let line = received.head.line.escape_ascii().to_string();
        assert_eq!(line, head.line.escape_ascii().to_string(), "status line at the client");
        assert_eq!(&received.body.content, answered, "{line}: answer body at the client");
        let what = format!("{line}: answer fields at the client");
        assert_fields(&received.head.end_to_end(), &head.end_to_end(), &what);
    }

    fn compare_record(&self, exchange: &Exchange) {
        let record = &exchange.json;
        let sent = Head::parse(&self.head);
        assert_eq!(exchange.text("/method"), sent.method(), "{record}");
        assert_eq!(exchange.text("/outcome"), self.outcome, "outcome in {record}");
        assert_eq!(exchange.text("/request/end"), self.request_end, "end of request in {record}");
        compare_body(exchange, Direction::Request, &self.sent);
        match (&self.answer, &self.received) {
            (Some((head, answered)), Some(_)) => {
                let status = u64::from(Head::parse(head).status());
                assert_eq!(exchange.number("/status"), status, "status in {record}");
                let end = exchange.text("/response/end");
                assert_eq!(end, self.response_end, "end of response in {record}");
                compare_body(exchange, Direction::Response, answered);
            }
            _ => assert!(record["response"].is_null(), "a response in {record}"),
        }
    }
}

fn compare_body(exchange: &Exchange, direction: Direction, expected: &Content) {
    let word = direction.word();
    assert_eq!(&exchange.body(direction), expected, "show --body {word} of {}", exchange.json);
    let record = &exchange.json;
    assert_eq!(exchange.number(&format!("/{word}/bytes")), expected.length(), "{record}");
    assert_eq!(exchange.text(&format!("/{word}/sha256")), expected.sha256(), "{record}");
}

fn assert_fields(found: &[(Vec<u8>, Vec<u8>)], expected: &[(Vec<u8>, Vec<u8>)], what: &str) {
    let text = |fields: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
        let fields = fields.iter();
        fields
            .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
            .collect()
    };
    assert_eq!(text(found), text(expected), "{what}");
}

impl<T: AsRef<[u8]>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::of(bytes)
    }
}
