//! Records: what `ls`, `show` and `show --body` say about exchanges.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::content::Content;
use crate::gateway::Home;
use crate::programs;

/// One of the two directions of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

impl Direction {
    /// The word the command line uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// One exchange as `ls --json` lists it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The whole JSON object.
    pub json: Value,
    home: Arc<Home>,
}

impl Exchange {
    /// Where it was recorded.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The exchange's id.
    pub fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.json))
    }

    /// A member that must be a string.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.json.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{pointer} is no string in {}", self.json))
    }

    /// A member that must be a number.
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.json.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{pointer} is no number in {}", self.json))
    }

    /// Whether the exchange is in the tree.
    pub fn sealed(&self) -> bool {
        self.json["leaf"].is_u64()
    }

    /// What `show --json` says.
    pub fn show(&self) -> Value {
        let output = output(&["show", self.id(), "--json"], &self.home.data());
        serde_json::from_slice(&output).expect("show --json prints one JSON value")
    }

    /// The captured body, streamed from `show --body`.
    pub fn body(&self, direction: Direction) -> Content {
        let mut child = Command::new(programs::sealtap())
            .args(["show", self.id(), "--body", direction.word(), "--data"])
            .arg(self.home.data())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sealtap can be run");
        let mut content = Content::default();
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let mut buffer = vec![0; 65_536];
        loop {
            match std::io::Read::read(&mut stdout, &mut buffer).expect("a pipe can be read") {
                0 => break,
                size => content.push(&buffer[..size]),
            }
        }
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "show --body {} of {}: {status}", direction.word(), self.json);
        content
    }

    /// Header fields of `show --json`, as pairs, in order; secret values as JSON text.
    ///
    /// `pointer` leads to the list.
    pub fn fields(&self, pointer: &str) -> Vec<(String, String)> {
        let shown = self.show();
        let list = shown.pointer(pointer).and_then(Value::as_array);
        let list = list.unwrap_or_else(|| panic!("{pointer} is no list in {shown}"));
        list.iter()
            .map(|pair| {
                let name = pair[0].as_str().expect("a field has a name").to_owned();
                (name, pair[1].as_str().map_or_else(|| pair[1].to_string(), str::to_owned))
            })
            .collect()
    }
}

/// Every exchange of a gateway's home, oldest first.
pub fn list(home: &Arc<Home>) -> Vec<Exchange> {
    let exchange = |json| Exchange { json, home: Arc::clone(home) };
    rows(&home.data()).into_iter().map(exchange).collect()
}

/// What `ls --json` prints of a data directory, oldest first.
pub fn rows(data: &Path) -> Vec<Value> {
    lines(&["ls", "--json"], data)
}

/// In the order in which they came: on a connection or a stream of its own, one that its client has the answer of
/// may be sealed behind the next.
pub fn as_they_came(mut exchanges: Vec<Exchange>) -> Vec<Exchange> {
    exchanges.sort_by_key(|exchange| exchange.text("/started").to_owned());
    exchanges
}

/// What `names --json` prints of a gateway's home, oldest first.
pub fn names(home: &Home) -> Vec<Value> {
    lines(&["names", "--json"], &home.data())
}

/// What `bypasses --json` prints of a gateway's home, oldest first.
pub fn bypasses(home: &Home) -> Vec<Value> {
    lines(&["bypasses", "--json"], &home.data())
}

fn lines(arguments: &[&str], data: &Path) -> Vec<Value> {
    let text = String::from_utf8(output(arguments, data)).expect("JSON is UTF-8");
    let line = |line: &str| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{arguments:?} printed {line:?}: {error}"))
    };
    text.lines().map(line).collect()
}

fn output(arguments: &[&str], data: &Path) -> Vec<u8> {
    let output = Command::new(programs::sealtap())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("sealtap can be run");
    assert!(
        output.status.success(),
        "sealtap {arguments:?} failed: {}",
        crate::verify::text(&output)
    );
    output.stdout
}
