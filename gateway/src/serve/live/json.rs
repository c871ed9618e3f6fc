//! Live lines for programs: one JSON object a line, its kind under `event`.

use serde::Serialize;
use serde_json::json;

use super::{Around, Finished, Welcome};
use crate::serve::query::TunnelView;

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

/// One exchange, in the members that `ls --json` has, as far as they are known.
#[derive(Serialize)]
struct Exchange<'a> {
    event: &'static str,
    id: &'a str,
    run: &'a str,
    ingress: &'static str,
    method: &'a str,
    url: &'a str,
    status: Option<u16>,
    outcome: &'static str,
    error: Option<&'static str>,
    started: u64,
    duration_ns: u64,
    request: Request,
    response: Option<Response>,
    leaf: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelView>,
}

#[derive(Serialize)]
struct Request {
    bytes: u64,
}

#[derive(Serialize)]
struct Response {
    bytes: u64,
    ttfb_ns: Option<u64>,
}

/// `{"event":"exchange",...}`. Written without a tree in between: there is one for each exchange.
pub(super) fn finished(text: &mut String, finished: &Finished) {
    let exchange = Exchange {
        event: "exchange",
        id: &finished.id,
        run: &finished.run,
        ingress: finished.ingress,
        method: &finished.method,
        url: &finished.url,
        status: finished.status,
        outcome: finished.outcome,
        error: finished.error,
        started: finished.started_us,
        duration_ns: finished.duration_ns,
        request: Request { bytes: finished.request_bytes },
        response: finished
            .status
            .map(|_| Response { bytes: finished.response_bytes, ttfb_ns: finished.ttfb_ns }),
        leaf: finished.leaf,
        tunnel: finished.tunnel.as_ref().map(TunnelView::new),
    };
    line(text, &exchange);
}

/// `{"event":"bypass",...}`: traffic of a watched scope that did not come to the gateway. Of a packet
/// only whose socket it left by is known: `socket_of`.
pub(super) fn around(text: &mut String, around: &Around) {
    line(
        text,
        &json!({
            "event": "bypass",
            "at": around.at_us,
            "destination": around.destination.to_string(),
            "unit": around.unit().as_str(),
            "way": around.way,
            "process": around.whose().did(),
            "socket_of": around.whose().socket_of(),
            "executable": around.executable,
            "denied": around.denied,
        }),
    );
}

/// `{"event":"dropped","lines":N}`: lines that nobody read in time; the record has them all.
pub(super) fn missed(text: &mut String, lines: u64) {
    line(text, &json!({ "event": "dropped", "lines": lines }));
}

fn line(text: &mut String, value: &impl Serialize) {
    // Serialising fails for maps with keys that are no strings, of which there are none here.
    text.push_str(&serde_json::to_string(value).unwrap_or_default());
    text.push('\n');
}
