//! The app: what it asks the model, through the gateway, and what it later claims to have asked.
//!
//! It knows one address and a made-up key. It never touches the record.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::answers::MODEL;
use super::client::{Answered, send};
use super::error::DemoError;

/// Looks like a key, opens nothing.
pub(super) const KEY: &str = "sk-demo-made-up-3c9f51e8a7d24b06";
/// The run's name.
pub(super) const RUN: &str = "demo";
/// The upstream's name.
pub(super) const UPSTREAM: &str = "model";

/// The system prompt of the first call.
pub(super) const TOLD: &str = "You answer for Northwind Bikes. Do not mention the brake recall.";
/// What the app will claim that it was.
pub(super) const CLAIMED: &str = "You answer for Northwind Bikes. Always mention the brake recall.";

const QUESTION: &str = "Is my bike safe to ride?";
/// Turns of the long conversation.
const TURNS: u32 = 40;

/// One request of the app.
pub(super) struct Call {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// The body, to the byte.
    pub(super) body: Vec<u8>,
}

/// The three calls, in order.
pub(super) fn calls() -> [Call; 3] {
    let call = |what, body: &Value| Call { what, body: body.to_string().into_bytes() };
    [
        call("a question", &question(TOLD)),
        call("a long conversation, with a tool", &conversation()),
        call("a streamed answer", &streamed()),
    ]
}

/// The first call's body as it would be with this system prompt.
pub(super) fn question(system: &str) -> Value {
    json!({"model": MODEL, "messages": [message("system", system), message("user", QUESTION)]})
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn conversation() -> Value {
    let turns = (1..=TURNS).flat_map(|turn| {
        let asked = format!("This is turn {turn}: what else should I know about my order?");
        let said = format!("In turn {turn} there is nothing new about your order yet.");
        [message("user", &asked), message("assistant", &said)]
    });
    let mut messages = vec![message("system", "You look orders up before you answer.")];
    messages.extend(turns);
    messages.push(message("user", "Where is order 1042?"));
    let parameters = json!({
        "type": "object",
        "properties": {"order": {"type": "string"}},
        "required": ["order"],
    });
    let function = json!({
        "name": "find_order", "description": "Where an order is", "parameters": parameters,
    });
    let tools = json!([{"type": "function", "function": function}]);
    json!({"model": MODEL, "messages": messages, "tools": tools})
}

fn streamed() -> Value {
    let user = message("user", "Tell me slowly, one word after the other.");
    json!({"model": MODEL, "messages": [user], "stream": true})
}

/// Asks a server which models it has.
pub(super) async fn models(server: SocketAddr) -> Result<Answered, DemoError> {
    let head = format!("GET /v1/models HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    send(server, &head, b"").await.map_err(failed("/v1/models".to_owned()))
}

/// Makes one call through the gateway, under the run's name.
pub(super) async fn chat(gateway: SocketAddr, call: &Call) -> Result<Answered, DemoError> {
    let target = format!("/run/{RUN}/{UPSTREAM}/v1/chat/completions");
    let length = call.body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\n\
         Host: {gateway}\r\n\
         Authorization: {}\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\
         Connection: close\r\n\r\n",
        authorization()
    );
    send(gateway, &head, &call.body).await.map_err(failed(target))
}

/// The value of the app's `Authorization` field.
pub(super) fn authorization() -> String {
    format!("Bearer {KEY}")
}

fn failed(target: String) -> impl FnOnce(std::io::Error) -> DemoError {
    move |source| DemoError::Call { target, source }
}
