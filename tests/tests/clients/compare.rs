//! Compare: what was the same by nature must be the same in bytes; what cannot be is named here.
//!
//! New in each call are the ids and times that a server makes up, the boundary of a multipart body,
//! the mask of a WebSocket frame, and the fields that a client's row in the table names. They are
//! put in one form on both sides; nothing else is touched.

use sealtap_tests::content::Content;
use sealtap_tests::records::{Direction, Exchange};
use serde_json::Value;

use crate::client::{Client, Outcome};
use crate::transcript::Seen;

/// Members of results that hold a time, or a field of one connection (RFC 9110, 7.6.1).
const LEFT_OUT: [&str; 7] =
    ["created", "created_at", "completed_at", "expires_at", "date", "connection", "keep-alive"];

/// How ids begin that a server makes up, and how long they are at least.
const IDS: [&str; 7] = ["chatcmpl-", "resp-", "resp_", "msg-", "msg_", "file-", "req-"];
const ID_LENGTH: usize = 14;

/// The client's own results are the same.
///
/// # Errors
/// Where they differ first.
pub(crate) fn results(direct: &[Outcome], through: &[Outcome]) -> Result<(), String> {
    let cases = |outcomes: &[Outcome]| {
        outcomes.iter().map(|outcome| outcome.case.clone()).collect::<Vec<_>>()
    };
    let (left, right) = (cases(direct), cases(through));
    if left != right {
        return Err(format!("other cases came to an end: {left:?} and {right:?}"));
    }
    for (direct, through) in direct.iter().zip(through) {
        let (left, right) = (settled(&direct.result), settled(&through.result));
        if let Some(difference) = difference(&left, &right) {
            return Err(format!("the result of {}{difference}", direct.case));
        }
    }
    Ok(())
}

/// Where two results differ first, and how.
fn difference(left: &Value, right: &Value) -> Option<String> {
    let other = match (left, right) {
        _ if left == right => return None,
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            let mut pairs = left.iter().zip(right.values());
            pairs.find_map(|((name, left), right)| {
                Some(format!("/{name}{}", difference(left, right)?))
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs.find_map(|(at, (left, right))| Some(format!("/{at}{}", difference(left, right)?)))
        }
        _ => None,
    };
    Some(other.unwrap_or_else(|| format!("\n  directly: {left}\n  through: {right}")))
}

fn left_out(name: &str) -> bool {
    LEFT_OUT.iter().any(|left_out| name.eq_ignore_ascii_case(left_out))
}

/// A result without what is left out, and without the ids that a server made up.
fn settled(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !left_out(name));
            kept.map(|(name, value)| (name.clone(), settled(value))).collect()
        }
        Value::Array(items) => items.iter().map(settled).collect(),
        Value::String(text) => Value::String(anonymous(text)),
        other => other.clone(),
    }
}

/// Text in which every id that a server made up is cut to what it begins with.
fn anonymous(text: &str) -> String {
    let part = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let mut settled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(part) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|character| !part(character)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let prefix = IDS.iter().find(|prefix| word.starts_with(**prefix));
        settled.push_str(before);
        match prefix.filter(|_| word.len() >= ID_LENGTH) {
            Some(prefix) => settled.extend([*prefix, "*"]),
            None => settled.push_str(word),
        }
        rest = after;
    }
    settled + rest
}

/// The upstream received the same requests, and sent the same answers' statuses.
///
/// # Errors
/// What only one of both received.
pub(crate) fn requests(client: &Client, direct: &[Seen], through: &[Seen]) -> Result<(), String> {
    let exact = direct.iter().chain(through).all(|seen| seen.version == "1.1");
    let lines = |all: &[Seen]| all.iter().map(|seen| written(client, seen, exact)).collect();
    same("what the upstream received", lines(direct), lines(through))
}

/// One request and the status of its answer as text.
fn written(client: &Client, seen: &Seen, exact: bool) -> String {
    let content_type = seen.field("content-type").unwrap_or_default();
    let boundary = content_type.split_once("boundary=").map(|(_, value)| value.trim_matches('"'));
    let mut fields: Vec<(String, String)> = seen.fields.clone();
    for (name, value) in &mut fields {
        if client.differs.iter().any(|differs| name.eq_ignore_ascii_case(differs)) {
            "*".clone_into(value);
        }
        if let Some(boundary) = boundary {
            *value = value.replace(boundary, "BOUNDARY");
        }
        if !exact {
            name.make_ascii_lowercase();
        }
    }
    if !exact {
        fields.sort();
    }
    let body = if seen.status == 101 {
        unmasked(&seen.request)
    } else if let Some(boundary) = boundary {
        replaced(&seen.request, boundary.as_bytes(), b"BOUNDARY")
    } else if let Ok(text) = str::from_utf8(&seen.request) {
        anonymous(text).into_bytes()
    } else {
        seen.request.clone()
    };
    let mut text = format!("{} {}\n", seen.method, anonymous(&seen.target));
    fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\n"));
    text + &format!("=> {}\n{:?}\n", seen.status, Content::of(body))
}

/// Every body that was captured is the one that the upstream received or sent.
///
/// # Errors
/// What only one of both holds: a body that differs, an exchange that is missing or too many.
pub(crate) fn captured(base: &str, seen: &[Seen], exchanges: &[Exchange]) -> Result<(), String> {
    let received = |seen: &Seen| {
        let (request, response) = (Content::of(&seen.request), Content::of(&seen.response));
        let Seen { method, target, status, .. } = seen;
        format!("{method} {base}{target} {status}\n{request:?}\n{response:?}\n")
    };
    let recorded = |exchange: &Exchange| {
        let request = exchange.body(Direction::Request);
        let response = exchange.body(Direction::Response);
        let (method, url) = (exchange.text("/method"), exchange.text("/url"));
        let status = exchange.number("/status");
        format!("{method} {url} {status}\n{request:?}\n{response:?}\n")
    };
    let (seen, exchanges) = (seen.iter().map(received), exchanges.iter().map(recorded));
    same("what was captured (left: at the upstream)", seen.collect(), exchanges.collect())
}

/// Both lists hold the same, in whatever order.
fn same(what: &str, mut left: Vec<String>, mut right: Vec<String>) -> Result<(), String> {
    left.sort();
    right.sort();
    if left == right {
        return Ok(());
    }
    let mut told = format!("{what} differs: {} and {} exchanges\n", left.len(), right.len());
    let mut only_left = left;
    for item in &right {
        if let Some(at) = only_left.iter().position(|other| other == item) {
            only_left.remove(at);
        } else {
            told += &format!("--- only on the right\n{item}\n");
        }
    }
    only_left.iter().for_each(|item| told += &format!("--- only on the left\n{item}\n"));
    Err(told)
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, from) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    made.extend_from_slice(rest);
    made
}

/// Frames of a WebSocket client with their masks taken off (RFC 6455, 5.2).
fn unmasked(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = rest[..wide].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let length = if wide == 0 { usize::from(second & 0x7f) } else { length };
        assert!(second & 0x80 != 0, "a client masks its frames");
        let (mask, payload) = rest[wide..].split_at(4);
        plain.extend([*first, *second]);
        plain.extend_from_slice(&rest[..wide]);
        let (payload, after) = payload.split_at(length.min(payload.len()));
        plain.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes = after;
    }
    plain
}
