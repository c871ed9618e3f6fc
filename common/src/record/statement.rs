//! The statement: in-toto Statement v1, canonical, a function of the closing leaf.

use std::borrow::Cow;

use crate::encoding::base64;
use crate::json::Value;
use crate::leaf::RunClosed;
use crate::tree::Hash;

/// `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// `predicateType` of a run record.
pub const PREDICATE_TYPE: &str = "https://sealtap.dev/run-record/v1";

/// What a record of this version does not say; the same in each.
pub const NOT_ASSERTED: [&str; 5] = [
    "that an answer is true",
    "that no traffic went around the gateway",
    "that the gateway's clock was right",
    "that what left the gateway arrived",
    "that the run's name means what it says",
];

/// The statement's canonical bytes for the run that `closed`, the leaf at `index` of the log
/// `origin`, ends.
#[must_use]
pub fn statement(origin: &str, index: u64, closed: &RunClosed) -> Vec<u8> {
    let run = format!("run/{}", closed.run);
    let mut subject = vec![named(run.clone(), "sealtapRunRoot", &closed.root)];
    if let Some(output) = &closed.output {
        subject.push(named(format!("{run}/output"), "sealtapBodyRoot", &output.root));
    }
    let predicate = object([
        ("boot", text(closed.boot.to_string())),
        (
            "coverage",
            object([
                ("inside", number(closed.inside)),
                ("outside", number(closed.count.saturating_sub(closed.inside))),
            ]),
        ),
        (
            "exchanges",
            object([
                ("count", number(closed.count)),
                ("first", number(closed.first)),
                ("last", number(closed.last.index)),
                ("root", text(base64(&closed.root))),
            ]),
        ),
        (
            "isolation",
            object([
                ("basis", text(closed.isolation.basis.as_str())),
                ("level", text(closed.isolation.level.as_str())),
            ]),
        ),
        ("leaves", object([("first", number(closed.first)), ("last", number(index))])),
        ("log", text(origin)),
        ("notAsserted", Value::Array(NOT_ASSERTED.into_iter().map(text).collect())),
        ("policy", text(closed.policy.as_str())),
        (
            "run",
            object([
                ("by", text(closed.by.as_str())),
                ("closed", text(closed.reason.as_str())),
                ("id", text(closed.run.to_string())),
            ]),
        ),
        (
            "time",
            object([
                ("closed", number(closed.sealed)),
                ("ended", number(closed.ended)),
                ("started", number(closed.started)),
            ]),
        ),
    ]);
    object([
        ("_type", text(STATEMENT_TYPE)),
        ("predicate", predicate),
        ("predicateType", text(PREDICATE_TYPE)),
        ("subject", Value::Array(subject)),
    ])
    .encode()
}

/// A subject by its name and the one digest that it has.
fn named(name: String, algorithm: &'static str, digest: &Hash) -> Value<'static> {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    object([("digest", object([(algorithm, text(hex))])), ("name", text(name))])
}

fn object<'a, const N: usize>(members: [(&'a str, Value<'a>); N]) -> Value<'a> {
    Value::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    Value::String(text.into())
}

/// Numbers of leaves are at most 2^53-1, or they could not be encoded.
fn number(number: u64) -> Value<'static> {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
