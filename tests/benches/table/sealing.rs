//! Journal, seal and log without HTTP in front: how many exchanges they can take.
//!
//! The same parts the gateway joins, fed by tasks that record small exchanges as the front does:
//! each message arrives whole, and its end waits until it is durable.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sealtap::accept::{Client, Door};
use sealtap::capture::journal::{self, Extents, Journal, Opened};
use sealtap::capture::record::Direction;
use sealtap::capture::secrets::Secrets;
use sealtap::capture::{End, Outcome, Recorder, Tap, random_id};
use sealtap::clock::Timeline;
use sealtap::data::DataDir;
use sealtap::gateway::secure_random;
use sealtap::seal::keys::Keys;
use sealtap::seal::ledger::Ledger;
use sealtap::seal::lock::LockPlace;
use sealtap::seal::log::{Log, Options};
use sealtap::seal::pins::Pins;
use sealtap::seal::progress::Progress;
use sealtap::seal::recovery::{last_sealed, recover};
use sealtap::seal::{Pace, Parts, Sealed, Sealer, run};
use sealtap::store::Store;
use sealtap::wire::buffer::Payload;
use sealtap::wire::message::{Fields, RequestHead, ResponseHead, Version};
use sealtap_common::leaf::{Isolation, IsolationBasis, IsolationLevel, Policy};
use serde_json::{Value, json};

/// Tasks that record exchanges side by side.
const TASKS: u64 = 256;

/// Records `count` exchanges into a new data directory, waits for their leaves, and says how long
/// that took.
pub(crate) async fn run(data: &Path, count: u64) -> Result<Value> {
    let data = DataDir::new(data);
    let writer = data.become_writer().map_err(Error::other)?;
    let random = secure_random();
    let keys = Arc::new(Keys::load_or_create(&data.keys(), None).map_err(Error::other)?);
    let lock = LockPlace::new(Some(data.root().with_file_name("lock")));
    let options = Options { data: &data, keys: Arc::clone(&keys), lock, adopt: false };
    let (mut log, _) = Log::open(&options).map_err(Error::other)?;
    let timeline = Timeline::start(0);
    let store = Store::open(&data.store(), keys.store()).map_err(Error::other)?;
    let boot = random_id(random);
    let options = journal::Options::new(timeline);
    let opened = Journal::open(&data.journal(), boot, options).map_err(Error::other)?;
    let Opened { journal, batches, mut recovered } = opened;
    let pins = Arc::new(Pins::default());
    let recovery = recover(&log, &store, &mut recovered, &pins).map_err(Error::other)?;
    let sealed = last_sealed(&log).map_err(Error::other)?;
    let isolation = Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser };
    let runs = run::Runs::new(boot, Arc::clone(&keys), isolation, recovery.runs);
    let mut ledger = Ledger::new(boot, Policy::Strict, timeline, sealed, log.size(), runs);
    let mut leaves = Vec::new();
    for happening in recovery.happenings {
        let entries = ledger.enter(happening).map_err(Error::other)?;
        leaves.extend(entries.into_iter().map(|entry| entry.leaf));
    }
    log.append(&leaves).map_err(Error::other)?;
    let before = log.size();
    let sealer = Sealer::start(Parts {
        batches,
        journal: journal.clone(),
        directory: data.journal(),
        extents: Extents::new(&data.journal()),
        ledger,
        log,
        store,
        pins,
        recovered: Sealed::default(),
        pace: Pace {
            checkpoint: Duration::from_secs(1),
            heartbeat: Duration::from_secs(60),
            progress: Duration::from_secs(60),
        },
        progress: Arc::new(Progress::default()),
        retention: (Arc::default(), timeline),
        announcer: None,
    })?;

    let secrets = Secrets::new(keys.header(), &[], &[]);
    let tap = Arc::new(Tap::new(journal.clone(), timeline, secrets, random, true));
    let left = Arc::new(AtomicU64::new(count));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (tap, left) = (Arc::clone(&tap), Arc::clone(&left));
        tasks.spawn(async move {
            let run = random_id(secure_random());
            let client = Client::new(([127, 0, 0, 1], 1).into(), run, Door::Front);
            let heads = Heads::new();
            let take = |left: u64| left.checked_sub(1);
            while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                let recorder = tap.malformed(&client).map_err(Error::other)?;
                exchange(recorder, &heads, task << 40 | number).await?;
            }
            Result::Ok(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(Error::other)??;
    }
    let recorded = began.elapsed();
    let checkpoint = data.log().join("checkpoint");
    while size(&checkpoint) < before + count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    drop(tap);
    journal.close().map_err(Error::other)?;
    sealer.finish().map_err(Error::other)?;
    drop(writer);
    Ok(json!({ "leaves": count, "seconds": seconds, "recorded_s": recorded.as_secs_f64() }))
}

/// The heads of every exchange.
struct Heads {
    request: RequestHead,
    response: ResponseHead,
}

impl Heads {
    fn new() -> Self {
        let fields = |pairs: &[(&str, &str)]| {
            Fields::from_pairs(
                pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            )
        };
        let request = RequestHead {
            method: Bytes::from_static(b"POST"),
            target: Bytes::from_static(b"/v1/chat/completions"),
            scheme: None,
            authority: None,
            version: Version::Http11,
            fields: fields(&[
                ("host", "models.example.com"),
                ("authorization", "Bearer sk-bench-0123456789abcdef"),
                ("content-type", "application/json"),
                ("content-length", "30"),
            ]),
        };
        let response = ResponseHead {
            status: 200,
            reason: Bytes::from_static(b"OK"),
            version: Version::Http11,
            fields: fields(&[("content-type", "application/json"), ("content-length", "30")]),
        };
        Self { request, response }
    }
}

/// Records one small exchange, as the front would in strict mode.
async fn exchange(recorder: Recorder, heads: &Heads, unique: u64) -> Result<()> {
    let down = |down: journal::Down| Error::other(down.to_string());
    let body = |number: u64| Payload::Frame(format!("{{\"number\":{number:018}}}").into());
    recorder.room().await;
    recorder.requested(&heads.request, &heads.request).map_err(down)?;
    recorder.data(Direction::Request, &body(unique)).map_err(down)?;
    let end = recorder.ended(Direction::Request, End::Complete, true, None).map_err(down)?;
    recorder.connected("127.0.0.1:2", None).map_err(down)?;
    recorder.durable(end).await.map_err(down)?;
    recorder.answered(&heads.response, &heads.response, None).map_err(down)?;
    recorder.data(Direction::Response, &body(!unique)).map_err(down)?;
    let end = recorder.ended(Direction::Response, End::Complete, true, None).map_err(down)?;
    recorder.durable(end).await.map_err(down)?;
    recorder.closed(Outcome::Complete, None).map_err(down)
}

fn size(checkpoint: &Path) -> u64 {
    let text = std::fs::read_to_string(checkpoint).unwrap_or_default();
    text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}
