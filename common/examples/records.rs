//! What the end of a run costs the thread that makes leaves: two leaves, one signature.
//!
//! `cargo run --release -p sealtap-common --example records [RUNS]`

use std::io::Write as _;
use std::time::Instant;

use ed25519_dalek::SigningKey;
use sealtap_common::Id;
use sealtap_common::commit::{Body, Dialect, Unit};
use sealtap_common::leaf::{
    ClosedReason, End, Exchange, Extensions, Isolation, IsolationBasis, IsolationLevel, Outcome,
    Policy, Request, RunLink, RunRecord,
};
use sealtap_common::note::Signer;
use sealtap_common::record::{Closing, Tally, record_hash, sign};
use sealtap_common::tree::{EMPTY_ROOT, leaf_hash};
use sealtap_common::unit::RunNamedBy;

fn exchange(run: u64) -> Exchange {
    let body = Body { dialect: Dialect::Bytes, length: 0, root: EMPTY_ROOT, segments: 0 };
    let unit = Unit { length: 9, root: [3; 32] };
    Exchange {
        boot: Id([1; 16]),
        context: unit,
        ended: 2,
        error: None,
        exchange: Id([2; 16]),
        ext: Extensions::new(),
        number: run,
        outcome: Outcome::Complete,
        policy: Policy::Strict,
        request: Request { body, end: End::Complete, head: Some(unit), same: true, trailers: None },
        response: None,
        run: RunLink { id: Id(u128::from(run).to_be_bytes()), position: 1, previous: None },
        sealed: 3,
        started: 1,
        tunnel: None,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: u64 = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let signer = Signer::new("example/run-record", SigningKey::from_bytes(&[7; 32]))?;
    let isolation = Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser };
    let (by, reason) = (RunNamedBy::Connection, ClosedReason::ConnectionEnded);
    let (mut bytes, mut leaves) = (0, std::time::Duration::ZERO);
    let began = Instant::now();
    for run in 0..runs {
        let each = Instant::now();
        let leaf = exchange(run);
        let hash = leaf_hash(&leaf.encode()?);
        leaves += each.elapsed();
        let closed =
            Tally::new(&leaf, hash, run).close(Closing { by, isolation, reason, sealed: 4 });
        let envelope = sign("example", run, &closed, &signer);
        let record = record_hash(&envelope.payload);
        let ext = Extensions::new();
        let record = RunRecord { boot: closed.boot, ext, record, run: closed.run, sealed: 4 };
        bytes += closed.encode()?.len() + record.encode()?.len();
    }
    let took = began.elapsed();
    let per = |time: std::time::Duration| time.as_secs_f64() * 1e6 / runs as f64;
    writeln!(
        std::io::stdout(),
        "{runs} runs of one exchange: {:.1} us for its leaf, {:.1} us to close and record it, {} bytes",
        per(leaves),
        per(took - leaves),
        bytes as u64 / runs.max(1)
    )?;
    Ok(())
}
