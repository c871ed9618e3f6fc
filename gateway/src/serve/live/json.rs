//! Live lines for programs: one JSON object a line, its kind under `event`.

use serde_json::{Value, json};

use super::{Finished, Welcome};

/// `{"event":"listening",...}`, always the first line.
pub(super) fn welcome(text: &mut String, welcome: &Welcome) {
    let scheme = if welcome.tls { "https" } else { "http" };
    line(
        text,
        &json!({
            "event": "listening",
            "address": welcome.address.to_string(),
            "observe": welcome.observe.map(|address| address.to_string()),
            "url": format!("{scheme}://{}", welcome.address),
            "data": welcome.data.to_string_lossy(),
            "origin": welcome.origin,
            "durability": welcome.durability,
            "upstreams": welcome.upstreams,
        }),
    );
}

/// `{"event":"exchange",...}` with the members that `ls --json` has, as far as they are known.
pub(super) fn finished(text: &mut String, finished: &Finished) {
    let response = finished
        .status
        .map(|_| json!({ "bytes": finished.response_bytes, "ttfb_ns": finished.ttfb_ns }));
    line(
        text,
        &json!({
            "event": "exchange",
            "id": finished.id,
            "run": finished.run,
            "ingress": "reverse",
            "method": finished.method,
            "url": finished.url,
            "status": finished.status,
            "outcome": finished.outcome,
            "error": finished.error,
            "started": finished.started_us,
            "duration_ns": finished.duration_ns,
            "request": { "bytes": finished.request_bytes },
            "response": response,
            "leaf": finished.leaf,
        }),
    );
}

/// `{"event":"dropped","lines":N}`: lines that nobody read in time; the record has them all.
pub(super) fn missed(text: &mut String, lines: u64) {
    line(text, &json!({ "event": "dropped", "lines": lines }));
}

fn line(text: &mut String, value: &Value) {
    text.push_str(&value.to_string());
    text.push('\n');
}
