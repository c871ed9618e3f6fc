//! A tunnel whose content was not captured: how much passed, and why it was not opened.

use super::TunnelReason;
use super::decode::word;
use super::encode::Writer;
use crate::json::{Problem, Refusal, Value};

/// What a leaf of kind `opaque` says beside what the leaf of any exchange says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// The number of the TLS alert with which the client refused the gateway's certificate.
    pub alert: Option<u8>,
    /// Bytes from the client that were passed on.
    pub from_client: u64,
    /// Why the content was not captured.
    pub reason: TunnelReason,
    /// Bytes that were passed on to the client.
    pub to_client: u64,
}

/// The name of a TLS alert (RFC 8446 section 6, and those of earlier versions).
#[must_use]
pub const fn alert_name(number: u8) -> &'static str {
    match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}

pub(super) fn decode(value: &Value) -> Result<Tunnel, Refusal> {
    let mut m = value.members()?;
    let alert = m.take("alert", |v| v.optional(octet))?;
    let from_client = m.take("from_client", Value::unsigned)?;
    let reason = m.take("reason", |v| match word(v, TunnelReason::parse)? {
        reason if alert.is_some() && reason != TunnelReason::ClientRejected => {
            Err(Problem::Value(format!("{reason} beside an alert")))
        }
        reason => Ok(reason),
    })?;
    let to_client = m.take("to_client", Value::unsigned)?;
    m.end()?;
    Ok(Tunnel { alert, from_client, reason, to_client })
}

fn octet(value: &Value) -> Result<u8, Problem> {
    u8::try_from(value.unsigned()?).map_err(|_| Problem::Type("an integer below 256"))
}

pub(super) fn encode(w: &mut Writer, tunnel: &Tunnel) {
    w.fixed("{\"alert\":").optional(tunnel.alert, |w, alert| {
        w.number(u64::from(alert));
    });
    w.fixed(",\"from_client\":").number(tunnel.from_client);
    w.fixed(",\"reason\":").word(tunnel.reason.as_str());
    w.fixed(",\"to_client\":").number(tunnel.to_client).fixed("}");
}
