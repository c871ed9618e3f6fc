//! How fast leaves are written and a whole log is verified, on one core.
//!
//! `cargo run --release -p sealtap-common --example speed [LEAVES]`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Instant;

use ed25519_dalek::SigningKey;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::commit::{BodyKey, Dialect, UnitKind, commit, unit};
use sealtap_common::leaf::{
    Body, Clock, End, Exchange, Extensions, Outcome, Policy, Request, Response, Restart, RunLink,
    Source,
};
use sealtap_common::note::{Note, Signer};
use sealtap_common::tile::{Edge, entry_tiles, push_entry};
use sealtap_common::tree::leaf_hash;
use sealtap_common::verify::verify;
use sealtap_common::{Hash, Id};

fn exchange(number: u64, previous: Option<Hash>) -> Exchange {
    let key = BodyKey::new([7; 32]);
    let unit = |kind| unit(&key, kind, b"{\"fields\":[]}");
    let body = Body { dialect: Dialect::Bytes, length: 900, root: [3; 32], segments: 1 };
    Exchange {
        boot: Id([1; 16]),
        context: unit(UnitKind::Context),
        ended: 2,
        error: None,
        exchange: Id([2; 16]),
        ext: Extensions::new(),
        number,
        outcome: Outcome::Complete,
        policy: Policy::Strict,
        request: Request {
            body,
            end: End::Complete,
            head: Some(unit(UnitKind::RequestHead)),
            same: true,
            trailers: None,
        },
        response: Some(Response {
            body,
            end: End::Complete,
            head: Some(unit(UnitKind::ResponseHead)),
            interim: None,
            same: true,
            source: Source::Upstream,
            trailers: None,
        }),
        run: RunLink { id: Id([3; 16]), position: number, previous },
        sealed: 3,
        started: 1,
        tunnel: None,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
    let mut out = std::io::stdout();
    let signer = Signer::new("speed.example", SigningKey::from_bytes(&[1; 32]))?;
    let clock = Clock { boottime: 0, wall: 0 };
    let (ext, policy) = (Extensions::new(), Policy::Strict);
    let restart = Restart { boot: Id([1; 16]), clock, ext, policy, previous: None, sealed: 0 };

    let began = Instant::now();
    let mut entries = vec![restart.encode()?];
    let mut previous = None;
    for number in 1..count {
        let entry = exchange(number, previous).encode()?;
        previous = Some(leaf_hash(&entry));
        entries.push(entry);
    }
    rate(&mut out, "made, with their units", count, began)?;

    let began = Instant::now();
    let mut files = BTreeMap::new();
    let mut edge = Edge::new();
    for entry in &entries {
        edge.push(leaf_hash(entry), |tile, bytes| {
            files.insert(tile.to_string(), bytes.to_vec());
        });
    }
    files.extend(edge.partial_tiles().map(|(tile, bytes)| (tile.to_string(), bytes.to_vec())));
    rate(&mut out, "integrated", count, began)?;
    for (tile, chunk) in entry_tiles(edge.size()).zip(entries.chunks(256)) {
        let mut bundle = Vec::new();
        for entry in chunk {
            push_entry(&mut bundle, entry)?;
        }
        files.insert(tile.to_string(), bundle);
    }
    let origin = "speed.example".to_owned();
    let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
    let note = Note::sign(&checkpoint.to_string(), &signer);
    files.insert("checkpoint".to_owned(), note.emit().into_bytes());

    let began = Instant::now();
    let report = verify(&files, &[signer.public().clone()], &mut ());
    rate(&mut out, report.verdict().as_str(), count, began)?;

    let piece = vec![9; 65_536];
    let salt = BodyKey::new([1; 32]).salt(0);
    let began = Instant::now();
    for _ in 0..2000 {
        std::hint::black_box(commit(&salt, std::hint::black_box(&piece)));
    }
    let megabytes = 2000.0 * 65_536.0 / 1e6 / began.elapsed().as_secs_f64();
    writeln!(out, "{megabytes:.0} MB/s committed")?;
    Ok(())
}

fn rate(
    out: &mut impl std::io::Write,
    what: &str,
    count: u64,
    began: Instant,
) -> std::io::Result<()> {
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    writeln!(out, "{} leaves/s {what}", count.saturating_mul(1_000_000) / micros)
}
