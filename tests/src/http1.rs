//! HTTP/1 as the tests read and write it: small, strict, and blind to nothing.
//!
//! A head keeps its raw bytes beside what was read from them. A body keeps how it was cut into
//! chunks and how it ended. Writing is plain concatenation: a case says which bytes go out.

use crate::content::Content;

/// The head of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Every byte of it, up to and with the empty line.
    pub raw: Vec<u8>,
    /// The request line or status line.
    pub line: Vec<u8>,
    /// The fields in order, as sent; values without the spaces around them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Fields that belong to one connection and not to the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

impl Head {
    /// Reads a head that ends with an empty line.
    ///
    /// # Panics
    /// If a line has no CRLF or a field no colon: no peer of these tests may send that.
    pub fn parse(raw: &[u8]) -> Self {
        let lines = raw.strip_suffix(b"\r\n\r\n").expect("a head ends with an empty line");
        let mut lines = split_lines(lines).into_iter();
        let line = lines.next().expect("a head has a first line").to_vec();
        let fields = lines.map(parse_field).collect();
        Self { raw: raw.to_vec(), line, fields }
    }

    /// The values of the fields with this name, in order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let fields = self.fields.iter();
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The only value of a field, as text; `None` if the field is absent.
    ///
    /// # Panics
    /// If there is more than one.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} more than once in {}", self.raw.escape_ascii());
        all.first().map(|value| std::str::from_utf8(value).expect("the value is UTF-8"))
    }

    /// The fields that belong to the message, in order and spelling.
    pub fn end_to_end(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let hop =
            |name: &[u8]| HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_bytes()));
        self.fields.iter().filter(|(name, _)| !hop(name)).cloned().collect()
    }

    /// The status code of a status line.
    pub fn status(&self) -> u16 {
        self.part(1).parse().expect("a status line has a number")
    }

    /// The method of a request line.
    pub fn method(&self) -> &str {
        self.part(0)
    }

    /// The target of a request line, as sent.
    pub fn target(&self) -> &[u8] {
        let mut parts = self.line.split(|byte| *byte == b' ');
        parts.nth(1).expect("a request line has a target")
    }

    fn part(&self, index: usize) -> &str {
        let part = self.line.split(|byte| *byte == b' ').nth(index).expect("a line has parts");
        std::str::from_utf8(part).expect("this part is ASCII")
    }

    /// How the body after a request head is delimited.
    pub fn request_framing(&self) -> Framing {
        self.declared().unwrap_or(Framing::Length(0))
    }

    /// How the body after a response head is delimited.
    pub fn response_framing(&self, method: &str) -> Framing {
        match (method, self.status()) {
            ("HEAD", _) | (_, 100..200 | 204 | 304) => Framing::Length(0),
            _ => self.declared().unwrap_or(Framing::UntilClose),
        }
    }

    fn declared(&self) -> Option<Framing> {
        let chunked = self.one("transfer-encoding").is_some_and(|value| value == "chunked");
        let length = self.one("content-length").map(|value| value.parse().expect("a length"));
        assert!(!(chunked && length.is_some()), "two framings: {}", self.raw.escape_ascii());
        if chunked { Some(Framing::Chunked) } else { length.map(Framing::Length) }
    }
}

/// How a body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With a last chunk and trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing demands.
    Complete,
    /// The peer closed before that.
    Cut,
    /// The peer reset the connection.
    Reset,
    /// TLS ended without close_notify.
    Truncated,
}

/// A body as it was received.
#[derive(Clone, Debug)]
pub struct Body {
    /// The payload.
    pub content: Content,
    /// The sizes of the chunks, if it came in chunks.
    pub chunks: Vec<u64>,
    /// The trailer fields.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// How it ended.
    pub end: End,
}

/// A message as it was received.
#[derive(Clone, Debug)]
pub struct Message {
    /// Interim answers before a final one.
    pub interim: Vec<Head>,
    /// The head.
    pub head: Head,
    /// The body.
    pub body: Body,
}

impl Message {
    /// The status code of a response.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The payload, if it is small.
    pub fn bytes(&self) -> &[u8] {
        self.body.content.bytes()
    }
}

/// A head from its first line and fields.
pub fn head(line: impl AsRef<[u8]>, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = line.as_ref().to_vec();
    head.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One chunk.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// The last chunk with these trailers.
pub fn last_chunk(trailers: &[(&str, &str)]) -> Vec<u8> {
    head("0", trailers)
}

pub(crate) fn parse_field(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':');
    let colon =
        colon.unwrap_or_else(|| panic!("no colon in {:?}", line.escape_ascii().to_string()));
    (line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec())
}

fn split_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}
