//! What the app says that it sent, held against the sealed bytes.
//!
//! One comparison only: the digest of the request body that a claim names, and that of the captured
//! one at the same place of the same run. It tells that two texts differ, not in what.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::app::{self, RUN};
use super::error::{DemoError, expect};
use super::place::Place;
use super::record::Recorded;
use super::story::{Story, hex, short};

/// Lets the app claim its three calls, the first one falsely, and finds that one.
pub(super) fn compared(
    place: &Place,
    recorded: &[Recorded],
    story: &mut Story<'_, '_>,
) -> Result<(), DemoError> {
    story.step("the app claims what it sent, and lies about call 1")?;
    let path = place.claims();
    fs::write(&path, claims()).map_err(DemoError::file("write", &path))?;
    let text = fs::read_to_string(&path).map_err(DemoError::file("read", &path))?;
    let mut contradicted = Vec::new();
    for line in text.lines() {
        let claim: Value = serde_json::from_str(line).unwrap_or_default();
        let call = claim.get("call").and_then(Value::as_u64).unwrap_or_default();
        let claimed = claim.get("request_sha256").and_then(Value::as_str).unwrap_or_default();
        let record = recorded.iter().find(|it| it.position() == call);
        let Some(record) = record.filter(|_| claim.get("run") == Some(&Value::from(RUN))) else {
            return expect(false, "each claim is about a recorded call", || line.to_owned());
        };
        let sealed = record.request_sha256();
        if hex(&sealed) == claimed {
            story.good(&format!(
                "call {call}: the claimed SHA-256 {} is the sealed one",
                short(&sealed)
            ))?;
            continue;
        }
        contradicted.push(call);
        let start: String = claimed.chars().take(12).collect();
        story.found(
            "contradicted",
            &format!(
                "call {call}: the app claims SHA-256 {start}, the sealed bytes have {} (leaf {})",
                short(&sealed),
                record.detail.view.leaf.unwrap_or_default(),
            ),
        )?;
        let claimed = claim.get("system").and_then(Value::as_str).unwrap_or_default();
        story.fact("claimed", claimed)?;
        story.fact("sealed ", &system(&record.request))?;
    }
    expect(contradicted == [1], "the lie is found, and only the lie", || {
        format!("{contradicted:?}")
    })?;
    story.fact(
        "note",
        "digests of whole request bodies, compared for this demonstration; `sealtap compare`, which reads real traces, is not part of this version",
    )
}

/// The app's claims: the digest of each body, the first one of a body that was never sent.
fn claims() -> String {
    let claim = |call: u64, body: &[u8]| {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let system = system(body);
        json!({"run": RUN, "call": call, "request_sha256": hex(&digest), "system": system})
    };
    let lie = app::question(app::CLAIMED).to_string();
    let calls = app::calls();
    let lines = (1..).zip(&calls).map(|(call, sent)| match call {
        1 => claim(call, lie.as_bytes()),
        _ => claim(call, &sent.body),
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The system prompt in a request's bytes.
fn system(body: &[u8]) -> String {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = request.pointer("/messages/0");
    let is_system = |it: &&Value| it.get("role").and_then(Value::as_str) == Some("system");
    let prompt = first.filter(is_system).and_then(|message| message.get("content"));
    prompt.and_then(Value::as_str).unwrap_or_default().to_owned()
}
