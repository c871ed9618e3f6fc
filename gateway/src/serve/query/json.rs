//! `show --json`: the members of `ls --json`, and everything else that is known.

use sealtap_common::unit::{Field, RequestLine, Shown, StatusLine, Trailers};
use serde_json::{Map, Value, json};

use super::detail::{BodyFacts, Detail};
use super::octets::{JsonShown, exact};
use super::units::received_fields;
use super::view::{hex, rfc3339};

/// The exchange as one JSON object.
pub(super) fn detail(detail: &Detail) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(&detail.view)?;
    let seal = detail.seal.as_ref();
    let units = &detail.units;
    if let Some(request) = object.get_mut("request").and_then(Value::as_object_mut) {
        if let Some(head) = &units.request_head {
            request_line(request, &head.line)?;
            put(request, "headers", fields(&head.fields)?);
            let mut received = Map::new();
            request_line(&mut received, &head.received_line)?;
            let came = received_fields(&head.fields, &head.received_fields);
            put(&mut received, "headers", fields(came)?);
            put(request, "received", received.into());
        }
        trailers(request, units.request_trailers.as_ref())?;
        body_facts(request, seal.map(|seal| &seal.request));
    }
    if let Some(response) = object.get_mut("response").and_then(Value::as_object_mut) {
        if let Some(head) = &units.response_head {
            status_line(response, &head.line);
            put(response, "headers", fields(&head.fields)?);
            let mut received = Map::new();
            status_line(&mut received, &head.received_line);
            let came = received_fields(&head.fields, &head.received_fields);
            put(&mut received, "headers", fields(came)?);
            put(response, "received", received.into());
        }
        trailers(response, units.response_trailers.as_ref())?;
        body_facts(response, seal.and_then(|seal| seal.response.as_ref()));
        let source = seal.and_then(|seal| seal.source);
        put(response, "source", json!(source.map(|source| source.as_str())));
    }
    if let Some(object) = object.as_object_mut() {
        put(object, "interim", interim(detail)?);
        put(object, "websocket", messages(detail));
        context(object, detail);
        put(object, "position", json!(seal.map(|seal| seal.position)));
        put(object, "policy", json!(seal.map(|seal| seal.policy.as_str())));
        put(object, "sealed", json!(seal.map(|seal| rfc3339(seal.sealed))));
    }
    Ok(object)
}

fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}

fn octets(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |octets| exact(octets).into())
}

fn shown(value: &Shown<'_>) -> Result<Value, serde_json::Error> {
    serde_json::to_value(JsonShown(value))
}

/// Fields in order: `[[name, value], ...]`.
fn fields<'a>(
    fields: impl IntoIterator<Item = &'a Field<'static>>,
) -> Result<Value, serde_json::Error> {
    let pairs = fields.into_iter();
    let pairs = pairs.map(|(name, value)| Ok(json!([exact(name), shown(value)?])));
    Ok(Value::Array(pairs.collect::<Result<_, serde_json::Error>>()?))
}

/// The trailers that went on, and within `received` those that came.
fn trailers(
    object: &mut Map<String, Value>,
    trailers: Option<&Trailers<'static>>,
) -> Result<(), serde_json::Error> {
    let sent = trailers.map(|trailers| fields(&trailers.fields)).transpose()?;
    let came = trailers
        .map(|trailers| fields(received_fields(&trailers.fields, &trailers.received_fields)));
    put(object, "trailers", sent.into());
    if let Some(received) = object.get_mut("received").and_then(Value::as_object_mut) {
        put(received, "trailers", came.transpose()?.into());
    }
    Ok(())
}

fn request_line(
    object: &mut Map<String, Value>,
    line: &RequestLine<'_>,
) -> Result<(), serde_json::Error> {
    let target: Result<Vec<_>, _> = line.target.iter().map(shown).collect();
    put(object, "method", exact(&line.method).into());
    // The parts of the target; one alone unless secrets were cut out of it.
    put(object, "target", target?.into());
    put(object, "scheme", octets(line.scheme.as_deref()));
    put(object, "authority", octets(line.authority.as_deref()));
    put(object, "version", line.version.as_str().into());
    Ok(())
}

fn status_line(object: &mut Map<String, Value>, line: &StatusLine<'_>) {
    put(object, "status", line.status.into());
    put(object, "reason", exact(&line.reason).into());
    put(object, "version", line.version.as_str().into());
}

fn body_facts(object: &mut Map<String, Value>, facts: Option<&BodyFacts>) {
    put(object, "same", json!(facts.map(|facts| facts.same)));
    put(object, "dialect", json!(facts.map(|facts| facts.dialect)));
    put(object, "segments", json!(facts.map(|facts| facts.segments)));
}

fn interim(detail: &Detail) -> Result<Value, serde_json::Error> {
    let mut answers = Vec::new();
    for (line, own) in detail.units.interim.iter().flat_map(|interim| &interim.heads) {
        let mut answer = Map::new();
        status_line(&mut answer, line);
        put(&mut answer, "headers", fields(own)?);
        answers.push(Value::from(answer));
    }
    Ok(answers.into())
}

fn messages(detail: &Detail) -> Value {
    let Some(messages) = &detail.messages else { return Value::Null };
    let items = messages.iter().map(|(direction, message)| {
        json!({
            "dir": direction.as_str(),
            "op": message.op.as_str(),
            "len": message.length,
            "sha256": hex(&message.sha256),
            "compressed": message.compressed,
            "decoded": message.decoded.map(|decoded| json!({
                "len": decoded.length,
                "sha256": hex(&decoded.sha256),
            })),
            "range": message.sealed.map(|entry| [entry.start, entry.end]),
            "time": message.sealed.map(|entry| rfc3339(entry.time)),
            "complete": message.complete,
        })
    });
    items.collect()
}

fn context(object: &mut Map<String, Value>, detail: &Detail) {
    let context = detail.units.context.as_ref();
    put(object, "run_id", detail.view.run.id.to_string().into());
    put(object, "run_by", json!(context.map(|context| context.run_by.as_str())));
    put(object, "upstream_url", octets(context.and_then(|it| it.upstream_url.as_deref())));
    put(object, "upstream_address", octets(context.and_then(|it| it.upstream_address.as_deref())));
    put(object, "upstream_tls", octets(context.and_then(|it| it.upstream_tls.as_deref())));
}
