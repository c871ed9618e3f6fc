//! Transcript: the bytes of a connection in both directions, read as exchanges of HTTP/1.
//!
//! What comes in is what an upstream truly received and sent; nothing else is believed. A transcript
//! that is no HTTP/1 fails the test.

use sealtap_tests::http1::{Framing, Head};

/// One request as the upstream received it, and its answer as the upstream sent it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The method.
    pub(crate) method: String,
    /// The target, as it stood in the request.
    pub(crate) target: String,
    /// "1.1" or "2".
    pub(crate) version: &'static str,
    /// The fields in order and spelling, those of one connection left out.
    pub(crate) fields: Vec<(String, String)>,
    /// The payload; of an upgraded connection, every byte behind the head.
    pub(crate) request: Vec<u8>,
    /// The status of the final answer.
    pub(crate) status: u16,
    /// The answer's payload; of an upgraded connection, every byte behind the head.
    pub(crate) response: Vec<u8>,
    /// Trailer fields of either direction.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Seen {
    /// The first value of a field, by its lower-case name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads all exchanges of a connection: `sent` by the client, `answered` by the server.
pub(crate) fn read(sent: &[u8], answered: &[u8]) -> Vec<Seen> {
    let (mut sent, mut answered) = (Cursor(sent), Cursor(answered));
    let mut exchanges = Vec::new();
    while let Some(head) = sent.head() {
        let mut trailers = Vec::new();
        let mut request = sent.body(head.request_framing(), &mut trailers);
        let final_head = loop {
            match answered.head() {
                Some(head) if (100..200).contains(&head.status()) && head.status() != 101 => {}
                other => break other,
            }
        };
        // The client left before an answer came.
        let (mut status, mut response) = (0, Vec::new());
        if let Some(answer) = final_head {
            status = answer.status();
            response = if status == 101 {
                request = sent.rest();
                answered.rest()
            } else {
                answered.body(answer.response_framing(head.method()), &mut trailers)
            };
        }
        let method = head.method().to_owned();
        let target = text(head.target());
        let fields = head.end_to_end();
        let fields = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
        let version = "1.1";
        exchanges.push(Seen {
            method,
            target,
            version,
            fields,
            request,
            status,
            response,
            trailers,
        });
    }
    exchanges
}

/// Bytes as text; what is no UTF-8 is escaped.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.escape_ascii().to_string())
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn rest(&mut self) -> Vec<u8> {
        self.take(usize::MAX).to_vec()
    }

    /// Up to and with `end`, if it is there.
    fn through(&mut self, end: &[u8]) -> Option<&'a [u8]> {
        let at = self.0.windows(end.len()).position(|window| window == end)?;
        Some(self.take(at + end.len()))
    }

    fn head(&mut self) -> Option<Head> {
        self.through(b"\r\n\r\n").map(Head::parse)
    }

    fn body(&mut self, framing: Framing, trailers: &mut Vec<(String, String)>) -> Vec<u8> {
        match framing {
            Framing::Length(length) => {
                self.take(usize::try_from(length).expect("it fits")).to_vec()
            }
            Framing::UntilClose => self.rest(),
            Framing::Chunked => self.chunks(trailers),
        }
    }

    /// The payload of chunks; a body that was cut gives what there is.
    fn chunks(&mut self, trailers: &mut Vec<(String, String)>) -> Vec<u8> {
        let mut payload = Vec::new();
        while let Some(line) = self.through(b"\r\n") {
            let digits = line.split(|byte| b";\r".contains(byte)).next().unwrap_or_default();
            let digits = str::from_utf8(digits).expect("a chunk's size is ASCII");
            let size = usize::from_str_radix(digits.trim(), 16).expect("a chunk has a size");
            if size == 0 {
                while let Some(line) = self.through(b"\r\n").filter(|line| *line != b"\r\n") {
                    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
                    let value = line[colon + 1..].trim_ascii();
                    trailers.push((text(&line[..colon]), text(value)));
                }
                break;
            }
            payload.extend_from_slice(self.take(size));
            self.take(2);
        }
        payload
    }
}
