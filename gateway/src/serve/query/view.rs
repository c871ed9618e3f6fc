//! One row of `ls`: an exchange as it is listed.

use sealtap_common::Id;
use sealtap_common::leaf::{CONNECTION_EXTENSION, ErrorCode, Exchange, Leaf, Tunnel};
use sealtap_common::unit::{Context, RequestHead};
use serde::Serialize;

use super::error::QueryError;
use super::maker::MakerView;
use super::octets::{joined, readable};
use super::tunnel::TunnelView;
use super::units::{Units, plain_values};
use crate::store::{Direction, Pruned, StoreReader, StoredExchange};

/// The outcome and the end of what is still under way; no leaf ever says so.
pub const OPEN: &str = "open";

/// The run of an exchange: in JSON its name, or its id where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// The run's id.
    pub id: Id,
    /// The run's name.
    pub name: Option<String>,
}

impl Serialize for RunView {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.name {
            Some(name) => serializer.serialize_str(name),
            None => serializer.collect_str(&self.id),
        }
    }
}

/// One message of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// Body bytes captured so far.
    pub bytes: u64,
    /// The plain SHA-256 of those bytes, while they are held.
    #[serde(serialize_with = "as_optional_hex")]
    pub sha256: Option<[u8; 32]>,
    /// The first `content-type`, as it went on.
    pub content_type: Option<String>,
    /// The first `content-encoding`, as it went on.
    pub content_encoding: Option<String>,
    /// How it ended: a word of the format's closed list, or [`OPEN`].
    pub end: &'static str,
}

/// The response of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResponseView {
    /// What it has in common with a request.
    #[serde(flatten)]
    pub message: MessageView,
    /// From the request's first byte to the response's, in nanoseconds.
    pub ttfb_ns: Option<u64>,
}

/// An exchange as `ls` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExchangeView {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub id: Id,
    /// Its run.
    pub run: RunView,
    /// How the traffic came to the gateway.
    pub ingress: Option<&'static str>,
    /// The method.
    pub method: Option<String>,
    /// The URL it was sent to, with short tags in the place of secrets.
    pub url: Option<String>,
    /// The status that went to the client.
    pub status: Option<u16>,
    /// How it ended: a word of the format's closed list, or [`OPEN`].
    pub outcome: &'static str,
    /// What went wrong, a word of the format's closed list.
    pub error: Option<&'static str>,
    /// When it started, in microseconds since the Unix epoch; RFC 3339 in JSON.
    #[serde(serialize_with = "as_time")]
    pub started: u64,
    /// How long it took, or has taken so far, in nanoseconds.
    pub duration_ns: u64,
    /// The request.
    pub request: MessageView,
    /// The response, once a head came or was made.
    pub response: Option<ResponseView>,
    /// The index of its leaf in the log, once sealed.
    pub leaf: Option<u64>,
    /// The client's address and port.
    pub client: Option<String>,
    /// Who made it, where the kernel led its connection here and that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maker: Option<MakerView>,
    /// The upstream's name in the configuration, or its authority.
    pub upstream: Option<String>,
    /// What passed unread, where it was a tunnel that is not captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelView>,
    /// Why heads and bodies are no longer held, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PrunedView>,
}

/// The statement under which heads and bodies were destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrunedView {
    /// The index of the leaf that states it.
    pub leaf: u64,
    /// When that leaf was made, in microseconds since the Unix epoch; RFC 3339 in JSON.
    #[serde(serialize_with = "as_time")]
    pub sealed: u64,
    /// What may be held, in words.
    pub retention: String,
}

/// What is known of an exchange beside its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its id.
    pub id: Id,
    /// The id of its run.
    pub run: Id,
    /// How it ended, or [`OPEN`].
    pub outcome: &'static str,
    /// What went wrong.
    pub error: Option<ErrorCode>,
    /// When it started, in microseconds since the Unix epoch.
    pub started: u64,
    /// How long it took, or has taken so far, in nanoseconds.
    pub duration_ns: u64,
    /// From the request's first byte to the response's, in nanoseconds.
    pub ttfb_ns: Option<u64>,
    /// The index of its leaf, once sealed.
    pub leaf: Option<u64>,
    /// The request's body: bytes, their SHA-256, and how it ended, or [`OPEN`].
    pub request: (u64, [u8; 32], &'static str),
    /// The response's body, once a head came or was made.
    pub response: Option<(u64, [u8; 32], &'static str)>,
    /// What passed unread.
    pub tunnel: Option<Tunnel>,
}

impl ExchangeView {
    /// Puts a row together. The seal stage uses this for what is not in the store yet.
    #[must_use]
    pub fn new(parts: &Parts, units: &Units) -> Self {
        let context = units.context.as_ref();
        let request_fields = units.request_head.as_ref().map(|head| head.fields.as_slice());
        let response_fields = units.response_head.as_ref().map(|head| head.fields.as_slice());
        let message = |(bytes, sha256, end), fields: Option<&[_]>| {
            let first = |name| {
                let octets = plain_values(fields.unwrap_or_default(), name).next();
                octets.map(|octets| readable(octets))
            };
            MessageView {
                bytes,
                sha256: Some(sha256),
                content_type: first("content-type"),
                content_encoding: first("content-encoding"),
                end,
            }
        };
        Self {
            id: parts.id,
            run: RunView {
                id: parts.run,
                name: context.and_then(|context| context.run_name.as_deref().map(readable)),
            },
            ingress: context.map(|context| context.ingress.as_str()),
            method: units.request_head.as_ref().map(|head| readable(&head.line.method)),
            url: units.request_head.as_ref().map(|head| url(head, context)),
            status: units.response_head.as_ref().map(|head| head.line.status),
            outcome: parts.outcome,
            error: parts.error.map(ErrorCode::as_str),
            started: parts.started,
            duration_ns: parts.duration_ns,
            request: message(parts.request, request_fields),
            response: parts.response.map(|response| ResponseView {
                message: message(response, response_fields),
                ttfb_ns: parts.ttfb_ns,
            }),
            leaf: parts.leaf,
            client: context.map(|context| readable(&context.client)),
            maker: None,
            upstream: context.and_then(upstream),
            tunnel: parts.tunnel.as_ref().map(TunnelView::new),
            pruned: None,
        }
    }

    /// The same, with who made it.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn made(self, leaf: &Exchange, store: Option<&StoreReader>) -> Result<Self, QueryError> {
        let (Some(store), true) = (store, leaf.ext.contains_key(CONNECTION_EXTENSION)) else {
            return Ok(self);
        };
        let made = store.made_by(&leaf.boot.0, leaf.number)?;
        Ok(Self { maker: made.as_ref().map(MakerView::new), ..self })
    }

    /// The row of a stored exchange, with its leaf and its units.
    ///
    /// # Errors
    ///
    /// The leaf or a unit cannot be read.
    pub fn stored(stored: &StoredExchange) -> Result<(Self, Exchange, Units), QueryError> {
        let damaged = |part: &'static str, detail: String| QueryError::Unreadable {
            exchange: Id(stored.id).to_string(),
            part,
            detail,
        };
        let leaf = match Leaf::decode(&stored.leaf) {
            Ok(Leaf::Exchange(leaf)) => *leaf,
            Ok(other) => {
                return Err(damaged("leaf", format!("it is of kind {}", other.kind())));
            }
            Err(error) => return Err(damaged("leaf", error.to_string())),
        };
        let units = stored.units.iter().map(|unit| (unit.slot, unit.bytes.as_slice()));
        let units = Units::decode(units)
            .map_err(|(slot, error)| damaged(slot.as_str(), error.to_string()))?;
        let body = |direction, end: &'static str| {
            let body = stored.body(direction);
            body.map_or((0, [0; 32], end), |body| (body.length, body.sha256, end))
        };
        // Interim answers alone are no response.
        let response = leaf.response.as_ref().filter(|response| response.head.is_some());
        let parts = Parts {
            id: leaf.exchange,
            run: leaf.run.id,
            outcome: leaf.outcome.as_str(),
            error: leaf.error,
            started: leaf.started,
            duration_ns: stored.duration_ns,
            ttfb_ns: stored.ttfb_ns,
            leaf: Some(stored.leaf_index),
            request: body(Direction::Request, leaf.request.end.as_str()),
            response: response.map(|response| body(Direction::Response, response.end.as_str())),
            tunnel: leaf.tunnel,
        };
        let mut view = Self::new(&parts, &units);
        if let Some(pruned) = &stored.pruned {
            view.forget(&leaf, pruned);
        }
        Ok((view, leaf, units))
    }

    /// What the leaf still says of bodies that are held no longer.
    fn forget(&mut self, leaf: &Exchange, pruned: &Pruned) {
        let (retention, sealed) = (pruned.policy(), pruned.sealed);
        self.pruned = Some(PrunedView { leaf: pruned.leaf, sealed, retention });
        (self.request.bytes, self.request.sha256) = (leaf.request.body.length, None);
        if let (Some(view), Some(response)) = (&mut self.response, &leaf.response) {
            (view.message.bytes, view.message.sha256) = (response.body.length, None);
        }
    }

    /// Whether `text` stands for this exchange or its run: an id, its beginning, or a run's name.
    #[must_use]
    pub fn answers_to(&self, text: &str) -> bool {
        !text.is_empty() && (self.id.to_string().starts_with(text) || self.is_of_run(text))
    }

    /// Whether `text` stands for this exchange's run.
    #[must_use]
    pub fn is_of_run(&self, text: &str) -> bool {
        let by_name = self.run.name.as_deref() == Some(text);
        !text.is_empty() && (by_name || self.run.id.to_string().starts_with(text))
    }
}

/// The URL that a request went to: its target as sent, before it the scheme and the authority.
fn url(head: &RequestHead<'_>, context: Option<&Context<'_>>) -> String {
    let target = joined(&head.line.target);
    if target.contains("://") && !target.starts_with('/') {
        return target;
    }
    let configured = context.and_then(|context| context.upstream_url.as_deref()).map(readable);
    let configured = configured.as_deref().and_then(|url| url.split_once("://"));
    let (scheme, authority) = match configured {
        Some((scheme, rest)) => {
            (Some(scheme.to_owned()), rest.split('/').next().map(str::to_owned))
        }
        None => (None, None),
    };
    let own_scheme = head.line.scheme.as_deref().map(readable);
    let own_authority = head.line.authority.as_deref().map(readable);
    let host = || plain_values(&head.fields, "host").next().map(|octets| readable(octets));
    let scheme = scheme.or(own_scheme).unwrap_or_else(|| "http".to_owned());
    let authority = authority.or(own_authority).or_else(host).unwrap_or_default();
    // CONNECT and OPTIONS may name no path: `host:port` and `*`.
    if target.starts_with('/') || target.is_empty() {
        format!("{scheme}://{authority}{target}")
    } else if target == "*" {
        format!("{scheme}://{authority}/*")
    } else {
        target
    }
}

fn upstream(context: &Context<'_>) -> Option<String> {
    let known = [&context.upstream_name, &context.upstream_url, &context.upstream_address];
    known.into_iter().flatten().next().map(|octets| readable(octets))
}

pub(super) fn as_hex<S: serde::Serializer>(
    hash: &[u8; 32],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(hash))
}

fn as_optional_hex<S: serde::Serializer>(
    hash: &Option<[u8; 32]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match hash {
        Some(hash) => as_hex(hash, serializer),
        None => serializer.serialize_none(),
    }
}

/// Lowercase hex of a hash.
pub(super) fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn as_text<S: serde::Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) fn as_time<S: serde::Serializer>(
    microseconds: &u64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*microseconds))
}

/// A time in microseconds since the Unix epoch as RFC 3339 in UTC, always with six decimals.
pub(crate) fn rfc3339(microseconds: u64) -> String {
    let time = i64::try_from(microseconds)
        .ok()
        .and_then(|microseconds| jiff::Timestamp::from_microsecond(microseconds).ok());
    match time {
        Some(time) => format!("{time:.6}"),
        None => format!("{microseconds} us"),
    }
}
