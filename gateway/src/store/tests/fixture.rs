//! Sealed exchanges as the seal stage would make them, over a journal held in memory.

use std::borrow::Cow;
use std::io;

use sealtap_common::Id;
use sealtap_common::commit::{self, Body, BodyKey, BodyRoot, Dialect, UnitKind};
use sealtap_common::leaf::{
    End, Exchange, Extensions, Leaf, Outcome, Policy, Request, Response, RunLink, Source,
};
use sealtap_common::unit::{Context, Ingress, RunNamedBy};

use super::super::{
    Direction, Extent, ExtentSource, SealedBody, SealedExchange, SealedUnit, Segment, Slot,
    StoreReader,
};

pub(super) const KEY: [u8; 32] = [7; 32];

/// Journal files in memory.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) files: Vec<Vec<u8>>,
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
    pub(super) fn append(&mut self, bytes: &[u8]) -> Vec<Extent> {
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
pub(super) struct Sample {
    leaf_index: u64,
    run: u8,
    run_name: Option<&'static str>,
    piece: usize,
}

impl Sample {
    pub(super) fn new(leaf_index: u64) -> Self {
        Self { leaf_index, run: 1, run_name: None, piece: 65_536 }
    }

    pub(super) fn run(mut self, run: u8) -> Self {
        self.run = run;
        self
    }

    pub(super) fn run_name(mut self, name: &'static str) -> Self {
        self.run_name = Some(name);
        self
    }

    pub(super) fn piece(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    pub(super) fn bodies(
        self,
        journal: &mut Journal,
        request: &[u8],
        response: &[u8],
    ) -> SealedExchange {
        let bodies = [(Direction::Request, request), (Direction::Response, response)];
        let bodies = bodies.map(|(direction, bytes)| SealedBody {
            direction,
            key: [direction as u8; 32],
            dialect: self.dialect(),
            segments: cut(bytes.len(), self.piece),
            extents: journal.append(bytes),
        });
        self.seal(bodies.into(), journal)
    }

    /// Only pieces of the fixed length may be sealed as fixed pieces.
    fn dialect(&self) -> Dialect {
        if self.piece == 65_536 { Dialect::Bytes } else { Dialect::EventStream }
    }

    /// Seals bodies that are in `journal`, with their true commitments.
    pub(super) fn seal(
        self,
        bodies: Vec<SealedBody>,
        journal: &mut dyn ExtentSource,
    ) -> SealedExchange {
        let mut id = [0_u8; 16];
        id.copy_from_slice(&blake3::hash(&self.leaf_index.to_be_bytes()).as_bytes()[..16]);
        let number = self.leaf_index + 1;
        let context = Context {
            client: Cow::Borrowed(b"127.0.0.1:50123"),
            ingress: Ingress::Reverse,
            run_by: RunNamedBy::Path,
            run_name: self.run_name.map(|name| Cow::Borrowed(name.as_bytes())),
            upstream_address: None,
            upstream_name: Some(Cow::Borrowed(b"openai")),
            upstream_tls: None,
            upstream_url: Some(Cow::Borrowed(b"https://api.openai.com")),
        };
        let units = [
            (Slot::RequestHead, b"head of the request".to_vec()),
            (Slot::ResponseHead, b"head of the response".to_vec()),
            (Slot::Context, context.encode()),
        ]
        .map(|(slot, bytes)| SealedUnit { slot, key: [3; 32], bytes });
        let [request_head, response_head, context] = units
            .each_ref()
            .map(|unit| commit::unit(&BodyKey::new(unit.key), unit.slot.kind(), &unit.bytes));
        let mut bound = |direction| {
            let body = bodies.iter().find(|body| body.direction == direction).unwrap();
            commit_body(body, journal)
        };
        let leaf = Exchange {
            boot: Id([0xb0; 16]),
            context,
            ended: 1_800_000_000_000_000 + number * 1_000,
            error: None,
            exchange: Id(id),
            ext: Extensions::new(),
            number,
            outcome: Outcome::Complete,
            policy: Policy::Strict,
            request: Request {
                body: bound(Direction::Request),
                end: End::Complete,
                head: Some(request_head),
                same: true,
                trailers: None,
            },
            response: Some(Response {
                body: bound(Direction::Response),
                end: End::Complete,
                head: response_head,
                interim: None,
                same: true,
                source: Source::Upstream,
                trailers: None,
            }),
            run: RunLink { id: Id([self.run; 16]), position: number, previous: None },
            sealed: 1_800_000_000_000_000 + number * 1_000,
            started: 1_800_000_000_000_000,
        };
        SealedExchange {
            leaf_index: self.leaf_index,
            leaf: Leaf::Exchange(Box::new(leaf)).encode().unwrap(),
            boot: [0xb0; 16],
            number,
            id,
            units: units.into(),
            bodies,
            ttfb_ns: Some(1_000_000),
            duration_ns: 2_000_000,
        }
    }
}

fn commit_body(body: &SealedBody, journal: &mut dyn ExtentSource) -> Body {
    let key = BodyKey::new(body.key);
    let mut root = BodyRoot::new();
    let mut held = Vec::new();
    let mut pieces = body.extents.iter().flat_map(|extent| {
        (0..extent.length).step_by(1 << 20).map(|start| Extent {
            file: extent.file,
            offset: extent.offset + u64::from(start),
            length: (extent.length - start).min(1 << 20),
        })
    });
    for segment in &body.segments {
        let length = usize::try_from(segment.length).unwrap();
        while held.len() < length {
            journal.read(pieces.next().unwrap(), &mut held).unwrap();
        }
        let commitment = commit::commit(&key.salt(root.next_index()), &held[..length]);
        root.push(segment.length, UnitKind::Bytes, commitment).unwrap();
        held.drain(..length);
    }
    root.finish(body.dialect)
}

/// Segments of `piece` bytes that tile `length` bytes.
pub(super) fn cut(length: usize, piece: usize) -> Vec<Segment> {
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
pub(super) fn text_bytes(seed: u64, length: usize) -> Vec<u8> {
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
pub(super) fn noise_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn body_of(reader: &mut StoreReader, id: &[u8; 16], direction: Direction) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.write_body(id, direction, &mut bytes).unwrap();
    bytes
}
