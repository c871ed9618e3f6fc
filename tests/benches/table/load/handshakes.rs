//! TLS that begins: full handshakes, and first requests to hosts nobody has been at.

use std::cell::Cell;
use std::io::Result;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::chat::{Chat, Client, finished};
use super::{Target, quantiles};
use crate::upstream::distant;

/// `count` handshakes, `connections` at a time. Each connection is closed by both sides before the
/// next begins, so that what it costs the other side is spent.
pub(super) async fn many(target: Target, count: u64, connections: usize) -> Result<Value> {
    let target = Rc::new(target);
    let left = Rc::new(Cell::new(count));
    let began = Instant::now();
    let local = tokio::task::LocalSet::new();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (target, left) = (Rc::clone(&target), Rc::clone(&left));
        clients.spawn_local_on(
            async move {
                while let Some(rest) = left.get().checked_sub(1) {
                    left.set(rest);
                    target.connect().await?.close().await?;
                }
                Result::Ok(())
            },
            &local,
        );
    }
    local.run_until(finished(&mut clients)).await?;
    Ok(json!({ "count": count, "seconds": began.elapsed().as_secs_f64() }))
}

/// One chat with each of these distant hosts, one after another; timed from before connecting until
/// the first byte of the answer.
pub(super) async fn first_requests(chat: Chat, port: u16, hosts: Range<u64>) -> Result<Value> {
    let mut times = Vec::new();
    for number in hosts {
        let target = chat.target.to(format!("{}:{port}", distant(number)));
        let began = Instant::now();
        let mut client = Client::connect(Rc::new(Chat { target, ..chat }), number).await?;
        client.prepare()?;
        let first = client.call().await?;
        times.push((first - began).as_nanos() as u64);
    }
    Ok(quantiles(times))
}
