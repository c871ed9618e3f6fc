//! Sealed exchanges as the seal stage would make them, over a journal held in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use sealtap_common::Id;
use sealtap_common::commit::{self, Body, BodyKey, BodyRoot, Dialect, UnitKind};
use sealtap_common::leaf::{
    CONNECTION_EXTENSION, End, Exchange, Leaf, Outcome, Policy, Request, Response, RunLink, Source,
};
use sealtap_common::unit::{
    self, Context, Field, Ingress, RequestHead, RequestLine, ResponseHead, RunNamedBy, Shown,
    StatusLine, Version,
};
use sealtap_common::websocket::EXTENSION;

use super::super::{
    Direction, ExtentSource, SealedBody, SealedExchange, SealedUnit, Segment, Slot, StoreReader,
};
use crate::capture::journal::Extent;

pub(crate) const KEY: [u8; 32] = [7; 32];

/// Journal files in memory.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) files: Vec<Vec<u8>>,
}

impl ExtentSource for Journal {
    fn read(&mut self, extent: Extent, into: &mut Vec<u8>) -> io::Result<()> {
        let file = &self.files[usize::try_from(extent.file).unwrap()];
        let start = usize::try_from(extent.offset).unwrap();
        let end = (start + extent.length as usize).min(file.len());
        into.extend_from_slice(file.get(start..end).unwrap_or_default());
        Ok(())
    }
}

impl Journal {
    /// Appends `bytes` in records of odd lengths with something else between them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Vec<Extent> {
        if self.files.is_empty() {
            self.files.push(Vec::new());
        }
        let file = &mut self.files[0];
        let mut extents = Vec::new();
        for chunk in bytes.chunks(40_961) {
            file.extend_from_slice(b"head");
            extents.push(Extent {
                file: 0,
                offset: file.len() as u64,
                length: u32::try_from(chunk.len()).unwrap(),
            });
            file.extend_from_slice(chunk);
        }
        extents
    }
}

/// One exchange to be.
pub(crate) struct Sample {
    leaf_index: u64,
    run: u8,
    run_name: Option<&'static str>,
    piece: usize,
    units: BTreeMap<Slot, Vec<u8>>,
    ends: (Outcome, End),
    /// What its leaf says of the connection it came over.
    connection: Option<[u8; 32]>,
}

impl Sample {
    pub(crate) fn new(leaf_index: u64) -> Self {
        let text = octets("content-type", "text/plain");
        let request =
            request_head("POST", vec![plain("/v1/chat")], std::slice::from_ref(&text), &[]);
        let response = response_head(200, &[text], &[]);
        let units = [(Slot::RequestHead, request), (Slot::ResponseHead, response)];
        let ends = (Outcome::Complete, End::Complete);
        let (run, run_name, piece, connection) = (1, None, 65_536, None);
        Self { leaf_index, run, run_name, piece, units: units.into(), ends, connection }
    }

    /// An exchange over a connection that the kernel led here.
    pub(crate) fn led(mut self) -> Self {
        self.connection = Some([7; 32]);
        self
    }

    pub(crate) fn run(mut self, run: u8) -> Self {
        self.run = run;
        self
    }

    pub(crate) fn run_name(mut self, name: &'static str) -> Self {
        self.run_name = Some(name);
        self
    }

    pub(crate) fn piece(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    /// Puts a unit in the place of what its slot held.
    pub(crate) fn unit(mut self, slot: Slot, bytes: Vec<u8>) -> Self {
        self.units.insert(slot, bytes);
        self
    }

    /// An exchange whose upstream broke off before any answer.
    pub(crate) fn no_response(mut self) -> Self {
        self.units.remove(&Slot::ResponseHead);
        self.ends = (Outcome::UpstreamFailed, End::Complete);
        self
    }

    pub(crate) fn bodies(
        self,
        journal: &mut Journal,
        request: &[u8],
        response: &[u8],
    ) -> SealedExchange {
        let mut bodies = vec![(Direction::Request, request)];
        if self.units.contains_key(&Slot::ResponseHead) {
            bodies.push((Direction::Response, response));
        }
        let bodies = bodies.into_iter().map(|(direction, bytes)| SealedBody {
            direction,
            key: [direction as u8; 32],
            dialect: self.dialect(),
            segments: cut(bytes.len(), self.piece),
            extents: journal.append(bytes),
        });
        let bodies = bodies.collect();
        self.seal(bodies, journal)
    }

    /// Only pieces of the fixed length may be sealed as fixed pieces.
    fn dialect(&self) -> Dialect {
        if self.piece == 65_536 { Dialect::Bytes } else { Dialect::EventStream }
    }

    /// Seals bodies that are in `journal`, with their true commitments.
    pub(crate) fn seal(
        mut self,
        bodies: Vec<SealedBody>,
        journal: &mut dyn ExtentSource,
    ) -> SealedExchange {
        let mut id = [0_u8; 16];
        id.copy_from_slice(&blake3::hash(&self.leaf_index.to_be_bytes()).as_bytes()[..16]);
        let number = self.leaf_index + 1;
        self.units.insert(Slot::Context, context(self.run_name));
        let bind = |slot: Slot| {
            let bytes = self.units.get(&slot)?;
            Some(commit::unit(&BodyKey::new([3; 32]), slot.kind(), bytes))
        };
        let mut bound = |direction| {
            let body = bodies.iter().find(|body| body.direction == direction)?;
            Some(commit_body(body, journal))
        };
        let (outcome, end) = self.ends;
        let leaf = Exchange {
            boot: Id([0xb0; 16]),
            context: bind(Slot::Context).unwrap(),
            ended: 1_800_000_000_000_000 + number * 1_000,
            error: None,
            exchange: Id(id),
            ext: bind(Slot::Messages)
                .map(|unit| (EXTENSION.to_owned(), unit.root))
                .into_iter()
                .chain(self.connection.map(|tag| (CONNECTION_EXTENSION.to_owned(), tag)))
                .collect(),
            number,
            outcome,
            policy: Policy::Strict,
            request: Request {
                body: bound(Direction::Request).unwrap(),
                end,
                head: bind(Slot::RequestHead),
                same: true,
                trailers: bind(Slot::RequestTrailers),
            },
            response: bind(Slot::ResponseHead).map(|head| Response {
                body: bound(Direction::Response).unwrap(),
                end,
                head: Some(head),
                interim: bind(Slot::Interim),
                same: true,
                source: Source::Upstream,
                trailers: bind(Slot::ResponseTrailers),
            }),
            run: RunLink { id: Id([self.run; 16]), position: number, previous: None },
            sealed: 1_800_000_000_000_000 + number * 1_000,
            started: 1_800_000_000_000_000,
            tunnel: None,
        };
        let units = self.units.into_iter();
        let units = units.map(|(slot, bytes)| SealedUnit { slot, key: [3; 32], bytes }).collect();
        SealedExchange {
            leaf_index: self.leaf_index,
            leaf: Leaf::Exchange(Box::new(leaf)).encode().unwrap(),
            boot: [0xb0; 16],
            number,
            id,
            first_file: 1,
            weight: 0,
            units,
            bodies,
            ttfb_ns: Some(1_000_000),
            duration_ns: 2_000_000,
        }
    }
}

/// A value that is no secret.
pub(crate) fn plain(text: &str) -> Shown<'static> {
    Shown::Plain(Cow::Owned(text.as_bytes().to_vec()))
}

/// A field whose value is no secret.
pub(crate) fn octets(name: &str, value: &str) -> Field<'static> {
    (Cow::Owned(name.as_bytes().to_vec()), plain(value))
}

/// A request head; with `came` empty it came as it went.
pub(crate) fn request_head(
    method: &'static str,
    target: Vec<Shown<'static>>,
    fields: &[Field<'static>],
    came: &[Field<'static>],
) -> Vec<u8> {
    let line = RequestLine {
        authority: None,
        method: Cow::Borrowed(method.as_bytes()),
        scheme: None,
        target,
        version: Version::Http11,
    };
    let came = if came.is_empty() { fields } else { came };
    let received_fields = unit::received(fields, came);
    let received_line = line.clone();
    RequestHead { line, fields: fields.to_vec(), received_line, received_fields }.encode()
}

/// A response head; with `came` empty it came as it went.
pub(crate) fn response_head(
    status: u16,
    fields: &[Field<'static>],
    came: &[Field<'static>],
) -> Vec<u8> {
    let line = StatusLine { reason: Cow::Borrowed(b"Fine"), status, version: Version::Http11 };
    let came = if came.is_empty() { fields } else { came };
    let received_fields = unit::received(fields, came);
    let received_line = line.clone();
    ResponseHead { line, fields: fields.to_vec(), received_line, received_fields }.encode()
}

fn context(run_name: Option<&str>) -> Vec<u8> {
    Context {
        client: Cow::Borrowed(b"127.0.0.1:50123"),
        ingress: Ingress::Reverse,
        run_by: RunNamedBy::Path,
        run_name: run_name.map(|name| Cow::Borrowed(name.as_bytes())),
        upstream_address: Some(Cow::Borrowed(b"192.0.2.7:443")),
        upstream_name: Some(Cow::Borrowed(b"openai")),
        upstream_tls: Some(Cow::Borrowed(b"TLSv1.3")),
        upstream_url: Some(Cow::Borrowed(b"https://api.example.com/base")),
    }
    .encode()
}

fn commit_body(body: &SealedBody, journal: &mut dyn ExtentSource) -> Body {
    let key = BodyKey::new(body.key);
    let mut root = BodyRoot::new();
    let mut held = Vec::new();
    let mut extents = body.extents.iter();
    for segment in &body.segments {
        let length = usize::try_from(segment.length).unwrap();
        while held.len() < length {
            journal.read(*extents.next().unwrap(), &mut held).unwrap();
        }
        let commitment = commit::commit(&key.salt(root.next_index()), &held[..length]);
        root.push(segment.length, UnitKind::Bytes, commitment).unwrap();
        held.drain(..length);
    }
    root.finish(body.dialect)
}

/// Segments of `piece` bytes that tile `length` bytes.
pub(crate) fn cut(length: usize, piece: usize) -> Vec<Segment> {
    (0..length)
        .step_by(piece)
        .map(|offset| Segment {
            offset: offset as u64,
            length: piece.min(length - offset) as u64,
            kind: 0,
        })
        .collect()
}

/// Text that compresses about as prose does, different for each seed.
pub(crate) fn text_bytes(seed: u64, length: usize) -> Vec<u8> {
    let noise = noise_bytes(seed, length / 4 + 8);
    let words = ["the ", "model ", "answers ", "with ", "tool ", "call ", "and ", "{\"role\":"];
    let mut text = Vec::with_capacity(length + 16);
    for byte in noise {
        text.extend_from_slice(words[usize::from(byte & 7)].as_bytes());
        text.push(b'a' + (byte >> 3) % 26);
    }
    text.truncate(length);
    text
}

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn body_of(reader: &mut StoreReader, id: &[u8; 16], direction: Direction) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.write_body(id, direction, &mut bytes).unwrap();
    bytes
}
