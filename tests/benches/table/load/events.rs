//! Event streams: timed one by one, or held open.

use std::cell::{Cell, RefCell};
use std::io::{Result, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::chat::finished;
use super::{Target, quantiles};
use crate::clock::now_ns;
use crate::http::{Connection, wrong};
use crate::text::{Random, checksum, request};

/// Connections that are made in one go, so that no listener's backlog runs over.
const AT_ONCE: usize = 64;

/// Where an event says when it was written.
const AT: std::ops::Range<usize> = 13..33;

/// Where the last event has the checksum of those before.
const SUM: std::ops::Range<usize> = 42..58;

/// One stream.
struct Stream {
    connection: Connection,
    /// Payload whose event is not complete.
    payload: Vec<u8>,
    seen: u64,
    sum: u64,
}

impl Stream {
    /// Asks for a stream of `count` events at this distance in microseconds.
    async fn open(target: &Target, count: u64, distance: u64, seed: u64) -> Result<Self> {
        let mut connection = target.connect().await?;
        let (mut body, mut out) = (Vec::new(), Vec::new());
        request(&mut body, 512, &mut Random::new(seed));
        write!(
            out,
            "POST {}/v1/events/{count}/{distance} HTTP/1.1\r\nhost: {}\r\n\
             authorization: Bearer sk-bench-0123456789abcdef\r\nuser-agent: bench/1\r\n\
             accept: text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            target.prefix,
            target.host(),
            body.len(),
        )?;
        out.extend_from_slice(&body);
        connection.write(&out).await?;
        let head = connection.head().await?.ok_or_else(|| wrong("no answer"))?;
        if head.status() != "200" || head.framing != crate::http::Framing::Chunked {
            return Err(wrong(format!("answered: {}", head.line)));
        }
        Ok(Self { connection, payload: Vec::new(), seen: 0, sum: 0 })
    }

    /// Reads what comes next and gives each event's age to `aged`. False at the end.
    async fn next(&mut self, count: u64, mut aged: impl FnMut(u64)) -> Result<bool> {
        let more = self.connection.chunk(&mut self.payload).await?;
        let now = now_ns();
        let mut start = 0;
        while let Some(length) = memchr::memmem::find(&self.payload[start..], b"\n\n") {
            let event = &self.payload[start..start + length + 2];
            start += event.len();
            self.seen += 1;
            let digits = |range| event.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let at = digits(AT).and_then(|text| text.parse::<u64>().ok());
            let sum = digits(SUM).and_then(|text| u64::from_str_radix(text, 16).ok());
            let expected = if self.seen == count { self.sum } else { 0 };
            let (Some(at), true) = (at, sum == Some(expected)) else {
                return Err(wrong(format!("event {} is not the upstream's", self.seen)));
            };
            self.sum ^= checksum(event).rotate_left((self.seen % 64) as u32);
            aged(now.saturating_sub(at));
        }
        self.payload.drain(..start);
        if !more && (self.seen != count || !self.payload.is_empty()) {
            return Err(wrong(format!("{} of {count} events came", self.seen)));
        }
        Ok(more)
    }
}

/// Opens `streams` streams, a few at a time.
async fn opened(target: &Target, streams: usize, count: u64, distance: u64) -> Result<Vec<Stream>> {
    let mut all = Vec::with_capacity(streams);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut seed = 0;
            while all.len() < streams {
                let mut opening = JoinSet::new();
                for _ in 0..AT_ONCE.min(streams - all.len()) {
                    seed += 1;
                    let target = target.clone();
                    opening.spawn_local(async move {
                        Stream::open(&target, count, distance, seed).await
                    });
                }
                while let Some(stream) = opening.join_next().await {
                    all.push(stream.map_err(std::io::Error::other)??);
                }
            }
            Result::Ok(())
        })
        .await?;
    Ok(all)
}

/// Reads `streams` streams to their end.
pub(super) async fn measured(
    target: &Target,
    streams: usize,
    count: u64,
    distance: u64,
) -> Result<Value> {
    let ages = Rc::new(RefCell::new(Vec::new()));
    let began = Instant::now();
    let opened = opened(target, streams, count, distance).await?;
    let local = tokio::task::LocalSet::new();
    let mut reading = JoinSet::new();
    for mut stream in opened {
        let ages = Rc::clone(&ages);
        reading.spawn_local_on(
            async move {
                while stream.next(count, |age| ages.borrow_mut().push(age)).await? {}
                Result::Ok(())
            },
            &local,
        );
    }
    local.run_until(finished(&mut reading)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut result = quantiles(ages.take());
    result["seconds"] = json!(seconds);
    Ok(result)
}

/// Opens `streams` streams, says so once each has had its first event, and holds them until the
/// standard input ends.
pub(super) async fn held(target: &Target, streams: usize, distance: u64) -> Result<()> {
    let opened = opened(target, streams, u64::MAX, distance).await?;
    let local = tokio::task::LocalSet::new();
    let begun = Rc::new(Cell::new(0));
    let mut reading = JoinSet::new();
    for mut stream in opened {
        let begun = Rc::clone(&begun);
        reading.spawn_local_on(
            async move {
                let mut first = true;
                while stream.next(u64::MAX, |_| ()).await? {
                    // By the time that all are open, several events of the first ones may wait.
                    if first && stream.seen > 0 {
                        begun.set(begun.get() + 1);
                        first = false;
                    }
                }
                Result::Ok(())
            },
            &local,
        );
    }
    local
        .run_until(async {
            let told = async {
                while begun.get() < streams {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                super::say(&json!({ "held": streams }))?;
                crate::parent_gone().await;
                Result::Ok(())
            };
            tokio::select! {
                told = told => told,
                ended = finished(&mut reading) => ended,
            }
        })
        .await
}
