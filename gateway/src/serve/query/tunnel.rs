//! A tunnel whose content was not captured, as `ls`, `show` and the live lines tell of it.

use sealtap_common::leaf::{Tunnel, TunnelReason, alert_name};
use serde::Serialize;

/// What a client that refuses the gateway's certificate needs.
const HINT: &str = "the client does not take the gateway's certificate, or pins another: \
     `sealtap ca` prints the certificate and how each runtime is told to trust it";

/// What passed through a tunnel that was not captured, and why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelView {
    /// Why: a word of the format's closed list.
    pub reason: &'static str,
    /// Bytes from the client that were passed on.
    pub from_client: u64,
    /// Bytes that were passed on to the client.
    pub to_client: u64,
    /// The TLS alert with which the client refused the gateway's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertView>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// A TLS alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AlertView {
    /// Its number.
    pub number: u8,
    /// Its name in RFC 8446.
    pub name: &'static str,
}

impl TunnelView {
    /// The view of `tunnel`.
    #[must_use]
    pub fn new(tunnel: &Tunnel) -> Self {
        let Tunnel { alert, from_client, reason, to_client } = *tunnel;
        let hint = (reason == TunnelReason::ClientRejected).then_some(HINT);
        let alert = alert.map(|number| AlertView { number, name: alert_name(number) });
        Self { reason: reason.as_str(), from_client, to_client, alert, hint }
    }

    /// The same in a few words.
    #[must_use]
    pub fn said(&self) -> String {
        match self.alert {
            Some(AlertView { number, name }) => {
                format!("opaque: {}, TLS alert {name} ({number})", self.reason)
            }
            None => format!("opaque: {}", self.reason),
        }
    }
}
