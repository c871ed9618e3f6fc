//! What the operator sees of an exchange the moment it is over.

use std::borrow::Cow;
use std::ops::Range;

use sealtap_common::leaf::{ErrorCode, Outcome, Tunnel};
use sealtap_common::unit::Ingress;

use super::respond::Responding;
use crate::accept::Accepted;
use crate::capture::Recorder;
use crate::capture::record::Direction;
use crate::capture::secrets::userinfo;
use crate::route::{Route, Scheme, Upstream};

/// One finished exchange in short.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The exchange's random id; all zero where nothing could be recorded.
    pub id: [u8; 16],
    /// Its number in this boot.
    pub number: u64,
    /// The method, as text.
    pub method: String,
    /// The run's name, or its id.
    pub run: String,
    /// The URL at the upstream, or the target where there is none; without userinfo, query and
    /// fragment, which may hold secrets.
    pub url: String,
    /// The status sent to the client.
    pub status: Option<u16>,
    /// How the traffic came to the gateway.
    pub ingress: Ingress,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    pub error: Option<ErrorCode>,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// When its head was complete, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How long the head of the answer took, in microseconds.
    pub ttfb_us: Option<u64>,
    /// Whether its end is in the journal.
    pub recorded: bool,
    /// What passed unread, where it was a tunnel that is not captured.
    pub tunnel: Option<Tunnel>,
}

impl Summary {
    /// Says at debug level how the exchange ended, in OpenTelemetry's names where it has any.
    pub fn tell(&self) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let path = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        });
        tracing::debug!(
            number = self.number,
            http.request.method = self.method,
            url.path = path,
            http.response.status_code = self.status,
            http.request.body.size = self.request_bytes,
            http.response.body.size = self.response_bytes,
            outcome = self.outcome.as_str(),
            "error.type" = self.error.map(|error| error.as_str()),
            duration_us = self.duration_us,
            "exchange ended"
        );
    }

    pub(super) fn new(accepted: &Accepted, route: &Route) -> Self {
        let url = format!("{}{}", origin(&route.upstream), path(&route.target));
        Self { ingress: route.ingress, ..Self::at(accepted, url) }
    }

    pub(super) fn refused(accepted: &Accepted) -> Self {
        Self::at(accepted, path(&accepted.head().target))
    }

    pub(super) fn malformed() -> Self {
        Self {
            id: [0; 16],
            number: 0,
            method: "-".to_owned(),
            run: String::new(),
            url: "-".to_owned(),
            status: None,
            ingress: Ingress::Reverse,
            outcome: Outcome::Interrupted,
            error: None,
            request_bytes: 0,
            response_bytes: 0,
            started_us: 0,
            duration_us: 0,
            ttfb_us: None,
            recorded: false,
            tunnel: None,
        }
    }

    /// A tunnel to `authority` that was asked for at `started_us`, or that the kernel made one.
    #[must_use]
    pub fn tunnel(authority: String, started_us: u64, ingress: Ingress) -> Self {
        let method = "CONNECT".to_owned();
        Self { method, url: authority, ingress, started_us, ..Self::malformed() }
    }

    pub(super) fn tunnelled(
        &mut self,
        recorder: &Recorder,
        tunnel: &Tunnel,
        outcome: Outcome,
        error: Option<ErrorCode>,
    ) {
        self.id = recorder.id();
        self.number = recorder.number();
        recorder.run().clone_into(&mut self.run);
        self.status = Some(200);
        self.outcome = outcome;
        self.error = error;
        self.request_bytes = tunnel.from_client;
        self.response_bytes = tunnel.to_client;
        self.duration_us = recorder.now_us().saturating_sub(self.started_us);
        self.tunnel = Some(*tunnel);
    }

    fn at(accepted: &Accepted, url: String) -> Self {
        Self {
            method: String::from_utf8_lossy(&accepted.head().method).into_owned(),
            url,
            ingress: accepted.ingress(),
            started_us: accepted.started_us(),
            ..Self::malformed()
        }
    }

    pub(super) fn close(
        &mut self,
        recorder: &Recorder,
        response: &Responding,
        outcome: Outcome,
        error: Option<ErrorCode>,
    ) {
        if self.started_us == 0 {
            self.started_us = recorder.now_us();
        }
        self.id = recorder.id();
        self.number = recorder.number();
        recorder.run().clone_into(&mut self.run);
        self.ttfb_us = response.answered_us().map(|at| at.saturating_sub(self.started_us));
        self.status = response.status();
        self.outcome = outcome;
        self.error = error;
        self.request_bytes = recorder.captured(Direction::Request);
        self.response_bytes = recorder.captured(Direction::Response);
        self.duration_us = recorder.now_us().saturating_sub(self.started_us);
    }
}

/// A target up to its query or fragment, without userinfo.
fn path(target: &[u8]) -> String {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let shown = match userinfo(path) {
        Some(Range { start, end }) => {
            let before = path.get(..start).unwrap_or_default();
            // The `@` goes with what stood in front of it.
            Cow::Owned([before, path.get(end + 1..).unwrap_or_default()].concat())
        }
        None => Cow::Borrowed(path),
    };
    String::from_utf8_lossy(&shown).into_owned()
}

/// Scheme and authority of an upstream.
fn origin(upstream: &Upstream) -> String {
    let scheme = if upstream.scheme == Scheme::Https { "https" } else { "http" };
    format!("{scheme}://{}", upstream.authority)
}
