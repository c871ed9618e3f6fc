//! Chats: in a closed loop for cost, at a fixed rate for latency.

use std::cell::{Cell, RefCell};
use std::io::{Result, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{Target, quantiles};
use crate::http::{CHECK, Connection, wrong};
use crate::text::{Random, checksum, request};

/// One kind of chat.
#[derive(Clone, Debug)]
pub(super) struct Chat {
    pub(super) target: Target,
    pub(super) request: usize,
    pub(super) answer: usize,
}

/// A connection with what it needs to make chats.
pub(super) struct Client {
    chat: Rc<Chat>,
    connection: Connection,
    random: Random,
    content: Vec<u8>,
    out: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(chat: Rc<Chat>, seed: u64) -> Result<Self> {
        let connection = chat.target.connect().await?;
        let random = Random::new(seed);
        Ok(Self { chat, connection, random, content: Vec::new(), out: Vec::new() })
    }

    /// Makes the next request.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let Chat { target, request: size, answer } = &*self.chat;
        let (prefix, host) = (&target.prefix, target.host());
        // A request without a body is a GET.
        let method = if *size > 0 { "POST" } else { "GET" };
        self.out.clear();
        write!(
            self.out,
            "{method} {prefix}/v1/chat/{answer} HTTP/1.1\r\nhost: {host}\r\n\
             authorization: Bearer sk-bench-0123456789abcdef\r\nuser-agent: bench/1\r\n\
             accept: application/json\r\n",
        )?;
        if *size > 0 {
            request(&mut self.content, *size, &mut self.random);
            let (length, check) = (self.content.len(), checksum(&self.content));
            write!(
                self.out,
                "content-type: application/json\r\ncontent-length: {length}\r\n\
                 {CHECK}: {check:x}\r\n",
            )?;
        }
        self.out.extend_from_slice(b"\r\n");
        if *size > 0 {
            self.out.extend_from_slice(&self.content);
        }
        Ok(())
    }

    /// Sends it and checks the answer. Gives when its first byte came.
    pub(super) async fn call(&mut self) -> Result<Instant> {
        // The answer may begin before a large request is written; every proxy here takes the
        // request first, so there is no need to read meanwhile.
        self.connection.write(&self.out).await?;
        if !self.connection.fill().await? {
            return Err(wrong("the connection ended without an answer"));
        }
        let first = Instant::now();
        let head = self.connection.head().await?.ok_or_else(|| wrong("no answer"))?;
        if head.status() != "200" {
            return Err(wrong(format!("answered: {}", head.line)));
        }
        self.connection.body(head.framing, &mut self.content).await?;
        let (length, expected) = (self.content.len(), self.chat.answer);
        if length != expected || head.check != Some(checksum(&self.content)) {
            return Err(wrong(format!("an answer of {length} bytes is not the upstream's")));
        }
        Ok(first)
    }
}

/// `count` chats over `connections`. Where `warm` is not 0, so many before them, over the same
/// connections; then a line is printed, and one is awaited.
pub(super) async fn closed_loop(
    chat: Chat,
    (warm, count): (u64, u64),
    connections: usize,
) -> Result<Value> {
    let chat = Rc::new(chat);
    let mut clients = Vec::with_capacity(connections);
    for seed in 0..connections as u64 {
        clients.push(Client::connect(Rc::clone(&chat), seed).await?);
    }
    if warm > 0 {
        driven(&mut clients, warm).await?;
        super::say(&json!({ "warm": warm }))?;
        let mut input = BufReader::new(tokio::io::stdin());
        input.read_line(&mut String::new()).await?;
    }
    let began = Instant::now();
    let longest = driven(&mut clients, count).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "count": count, "seconds": seconds, "longest_s": longest.as_secs_f64() }))
}

/// Makes `count` chats with all clients, and gives how long the longest took.
async fn driven(clients: &mut Vec<Client>, count: u64) -> Result<Duration> {
    let left = Rc::new(Cell::new(count));
    let local = tokio::task::LocalSet::new();
    let mut driving = JoinSet::new();
    for mut client in clients.drain(..) {
        let left = Rc::clone(&left);
        driving.spawn_local_on(
            async move {
                let mut longest = Duration::ZERO;
                while let Some(rest) = left.get().checked_sub(1) {
                    left.set(rest);
                    client.prepare()?;
                    let sent = Instant::now();
                    client.call().await?;
                    longest = longest.max(sent.elapsed());
                }
                Result::Ok((client, longest))
            },
            &local,
        );
    }
    let mut longest = Duration::ZERO;
    let joining = async {
        while let Some(joined) = driving.join_next().await {
            let (client, its_longest) = joined.map_err(std::io::Error::other)??;
            clients.push(client);
            longest = longest.max(its_longest);
        }
        Result::Ok(longest)
    };
    local.run_until(joining).await
}

/// `count` chats, `rate` a second; the time of each runs from when it was due to be sent.
pub(super) async fn paced(chat: Chat, rate: u64, count: u64) -> Result<Value> {
    let chat = Rc::new(chat);
    let idle = Rc::new(RefCell::new(Vec::new()));
    for seed in 0..16 {
        let client = Client::connect(Rc::clone(&chat), seed).await?;
        idle.borrow_mut().push(client);
    }
    let local = tokio::task::LocalSet::new();
    let times = Rc::new(RefCell::new(Vec::new()));
    let mut calls = JoinSet::new();
    let pacing = async {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate as f64));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..count {
            let free = idle.borrow_mut().pop();
            let prepared = free.map(|mut client: Client| client.prepare().map(|()| client));
            let prepared = prepared.transpose()?;
            ticks.tick().await;
            let due = Instant::now();
            let (chat, idle, times) = (Rc::clone(&chat), Rc::clone(&idle), Rc::clone(&times));
            calls.spawn_local(async move {
                let mut client = match prepared {
                    Some(client) => client,
                    None => {
                        let mut client = Client::connect(chat, 1000 + number).await?;
                        client.prepare()?;
                        client
                    }
                };
                let first = client.call().await?;
                times.borrow_mut().push((first - due).as_nanos() as u64);
                idle.borrow_mut().push(client);
                Result::Ok(())
            });
        }
        finished(&mut calls).await
    };
    local.run_until(pacing).await?;
    Ok(quantiles(times.take()))
}

/// Waits for all tasks; the first failure is theirs all.
pub(super) async fn finished(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(std::io::Error::other)??;
    }
    Ok(())
}
