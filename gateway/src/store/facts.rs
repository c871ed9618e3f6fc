//! Facts: the few values of an exchange that the store looks rows up by.

use serde_json::Value;

use super::error::{Outcome, StoreError, hex};
use super::sealed::{SealedBody, SealedExchange, Slot};

/// What the leaf and the context say.
pub(super) struct Facts {
    /// The run's id.
    pub(super) run: [u8; 16],
    /// The run's name, if it has one.
    pub(super) run_name: Option<String>,
    leaf: Value,
}

/// The facts of one exchange, checked against what stands beside the leaf.
pub(super) fn of(exchange: &SealedExchange) -> Outcome<Facts> {
    let fault = |detail: &str| StoreError::Malformed {
        exchange: hex(&exchange.id),
        detail: detail.to_owned(),
    };
    let leaf: Value = serde_json::from_slice(&exchange.leaf)
        .map_err(|error| fault(&format!("its leaf cannot be read: {error}")))?;
    let says = |name: &str, value: &str| leaf.get(name).and_then(Value::as_str) == Some(value);
    if !says("exchange", &hex(&exchange.id))
        || !says("boot", &hex(&exchange.boot))
        || leaf.get("number").and_then(Value::as_u64) != Some(exchange.number)
    {
        return Err(fault("its leaf names another id, boot or number").into());
    }
    let run = leaf
        .pointer("/run/id")
        .and_then(Value::as_str)
        .and_then(unhex)
        .ok_or_else(|| fault("its leaf names no run"))?;
    let context = exchange.units.iter().find(|unit| unit.slot == Slot::Context);
    let run_name = context
        .and_then(|unit| serde_json::from_slice::<Value>(&unit.bytes).ok())
        .and_then(|context| context.pointer("/run/name")?.as_str().map(str::to_owned));
    Ok(Facts { run, run_name, leaf })
}

impl Facts {
    /// Checks that the leaf binds a body of this dialect, length and number of segments.
    pub(super) fn check_body(
        &self,
        exchange: &SealedExchange,
        body: &SealedBody,
        length: u64,
    ) -> Outcome<()> {
        let bound = self.leaf.get(body.direction.as_str()).and_then(|part| part.get("body"));
        let number = |name: &str| bound.and_then(|body| body.get(name)).and_then(Value::as_u64);
        let dialect = bound.and_then(|body| body.get("dialect")).and_then(Value::as_str);
        let segments = u64::try_from(body.segments.len()).ok();
        if number("length") == Some(length)
            && number("segments") == segments
            && dialect == Some(body.dialect.as_str())
        {
            return Ok(());
        }
        let direction = body.direction.as_str();
        let detail = format!("its leaf binds another {direction} body than the journal holds");
        Err(StoreError::Malformed { exchange: hex(&exchange.id), detail }.into())
    }
}

/// Sixteen bytes from 32 lowercase hex digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
