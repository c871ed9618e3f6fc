//! What the small model says: it repeats what it was told, and asks for a tool where it is given one.
//!
//! In: the request's method, target and body. Out: a status and JSON, or events to be streamed, in
//! the shape of the OpenAI chat API. No socket here.

use serde_json::{Value, json};

/// The model's name.
pub(super) const MODEL: &str = "parrot-1";

/// An answer, ready to be framed.
pub(super) enum Answer {
    /// One JSON document.
    Whole(u16, Value),
    /// Server-sent events, each with its blank line.
    Events(Vec<String>),
}

/// The answer to a request.
pub(super) fn answer(method: &str, target: &str, body: &[u8]) -> Answer {
    match (method, target) {
        ("GET", "/v1/models") => Answer::Whole(
            200,
            json!({"object": "list", "data": [{"id": MODEL, "object": "model"}]}),
        ),
        ("POST", "/v1/chat/completions") => match serde_json::from_slice(body) {
            Ok(request) => chat(&request),
            Err(error) => refusal(400, &format!("the body is not JSON: {error}")),
        },
        _ => refusal(404, "there is nothing here"),
    }
}

fn refusal(status: u16, message: &str) -> Answer {
    Answer::Whole(status, json!({"error": {"message": message}}))
}

fn chat(request: &Value) -> Answer {
    let messages = request.get("messages").and_then(Value::as_array);
    let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
        return refusal(400, "there are no messages");
    };
    let asked = messages
        .iter()
        .rev()
        .find(|message| message.get("role").and_then(Value::as_str) == Some("user"))
        .and_then(|message| message.get("content").and_then(Value::as_str))
        .unwrap_or_default();
    let reply = format!("You said: {asked}");
    if request.get("stream").and_then(Value::as_bool) == Some(true) {
        return Answer::Events(events(&reply));
    }
    let tool = request.pointer("/tools/0/function/name").and_then(Value::as_str);
    let (message, reason) = match tool {
        Some(name) => (tool_call(name, asked), "tool_calls"),
        None => (json!({"role": "assistant", "content": reply}), "stop"),
    };
    let usage = json!({"prompt_tokens": words(request), "completion_tokens": words(&message)});
    let choice = json!({"index": 0, "message": message, "finish_reason": reason});
    let answer = json!({
        "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage,
    });
    Answer::Whole(200, answer)
}

/// The tool, asked about the first number in what was said.
fn tool_call(name: &str, asked: &str) -> Value {
    let number: String = asked
        .chars()
        .skip_while(|character| !character.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    let arguments = json!({"order": number}).to_string();
    let function = json!({"name": name, "arguments": arguments});
    let call = json!({"id": "call_1", "type": "function", "function": function});
    json!({"role": "assistant", "content": null, "tool_calls": [call]})
}

fn events(reply: &str) -> Vec<String> {
    let mut events: Vec<String> = reply
        .split_inclusive(' ')
        .map(|word| {
            let choice = json!({"index": 0, "delta": {"content": word}, "finish_reason": null});
            json!({"object": "chat.completion.chunk", "model": MODEL, "choices": [choice]})
        })
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// Words stand in for tokens.
fn words(value: &Value) -> usize {
    value.to_string().split_whitespace().count()
}
