//! Sealed exchanges as the seal stage would make them, over a journal held in memory.

use std::io;

use super::super::{
    Direction, Extent, ExtentSource, SealedBody, SealedExchange, SealedUnit, Segment, Slot,
    StoreReader, error::hex,
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
        let bodies = [(Direction::Request, request), (Direction::Response, response)]
            .into_iter()
            .map(|(direction, bytes)| SealedBody {
                direction,
                key: [direction as u8; 32],
                dialect: "bytes/1".to_owned(),
                segments: cut(bytes.len(), self.piece),
                extents: journal.append(bytes),
            })
            .collect();
        self.seal(bodies)
    }

    pub(super) fn seal(self, bodies: Vec<SealedBody>) -> SealedExchange {
        let mut id = [0_u8; 16];
        id.copy_from_slice(&blake3::hash(&self.leaf_index.to_be_bytes()).as_bytes()[..16]);
        let boot = [0xb0; 16];
        let number = self.leaf_index + 1;
        let bound = |direction| {
            let body: &SealedBody = bodies.iter().find(|body| body.direction == direction).unwrap();
            let length: u64 = body.segments.iter().map(|segment| segment.length).sum();
            serde_json::json!({ "body": {
                "dialect": body.dialect, "length": length, "segments": body.segments.len() } })
        };
        let leaf = serde_json::json!({
            "boot": hex(&boot), "exchange": hex(&id), "number": number,
            "request": bound(Direction::Request), "response": bound(Direction::Response),
            "run": { "id": hex(&[self.run; 16]) },
        });
        let context = serde_json::json!({ "run": { "by": "path", "name": self.run_name } });
        let unit = |slot, bytes: String| SealedUnit { slot, key: [3; 32], bytes: bytes.into() };
        SealedExchange {
            leaf_index: self.leaf_index,
            leaf: leaf.to_string().into_bytes(),
            boot,
            number,
            id,
            units: vec![
                unit(Slot::RequestHead, format!("{{\"target\":\"/{number}\"}}")),
                unit(Slot::ResponseHead, "{\"status\":200}".to_owned()),
                unit(Slot::Context, context.to_string()),
            ],
            bodies,
            ttfb_ns: Some(1_000_000),
            duration_ns: 2_000_000,
        }
    }
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
