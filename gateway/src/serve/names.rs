//! `sealtap names`: the questions that the store holds, each with who asked it.
//!
//! In: the units that leaves of the kind `dns-queries` bind. Out: lines for people or programs; what
//! steers a terminal is escaped.

use sealtap_common::unit::Asker;
use serde_json::{Value, json};

use super::query::time;
use super::records;
use crate::command::{Exit, Failure, Outcome, Output, names};
use crate::kernel::Whose;
use crate::store::readable;

/// Types of records by their names (RFC 1035, RFC 3596, RFC 2782, RFC 9460); others are numbers.
const TYPES: [(u16, &str); 12] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
];

/// The class that everybody asks in.
const INTERNET: u16 = 1;

/// Lists names.
///
/// # Errors
///
/// There is no such data directory, or something cannot be read.
pub fn run(arguments: &names::Arguments, output: &mut Output<'_>) -> Outcome {
    let data = records::directory(&arguments.data)?;
    let store = records::store(&data.store()).map_err(|error| Failure::of(&error))?;
    let Some(store) = store else { return Ok(Exit::Done) };
    let out = output.exact();
    let mut after = None;
    while let Some((leaf, questions)) =
        store.questions_after(after).map_err(|error| Failure::of(&error))?
    {
        after = Some(leaf);
        for asker in &questions.questions {
            let line = match arguments.json {
                true => object(leaf, asker).to_string(),
                false => text(asker),
            };
            writeln!(out, "{line}").map_err(|error| Failure::writing(&error))?;
        }
    }
    out.flush().map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

fn type_name(number: u16) -> String {
    let known = TYPES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("TYPE{number}"), |(_, name)| (*name).to_owned())
}

fn text(asker: &Asker<'_>) -> String {
    let executable = asker.executable.as_deref().map(readable);
    let whose = whose(asker, executable.as_deref());
    let class = match asker.class {
        INTERNET => String::new(),
        class => format!(" CLASS{class}"),
    };
    format!(
        "{}  {:>5}  {:<5}{class}  {}  by {whose}",
        time(asker.first),
        asker.count,
        type_name(asker.kind),
        readable(&asker.name)
    )
}

/// What asks is a packet: whose socket it left by is known.
fn whose<'a>(asker: &Asker<'_>, executable: Option<&'a str>) -> Whose<'a> {
    Whose { packet: true, process: asker.process.unwrap_or(0), executable }
}

fn object(leaf: u64, asker: &Asker<'_>) -> Value {
    let exact = |octets: &[u8]| octets.iter().copied().map(char::from).collect::<String>();
    json!({
        "name": exact(&asker.name),
        "type": type_name(asker.kind),
        "type_number": asker.kind,
        "class": asker.class,
        "count": asker.count,
        "first": time(asker.first),
        "last": time(asker.last),
        "socket_of": whose(asker, None).socket_of(),
        "executable": asker.executable.as_deref().map(exact),
        "leaf": leaf,
    })
}
