//! Load: many clients at once, each of which remembers exactly what it saw.
//!
//! For crash tests: a client's calls end in finished answers until the gateway is gone. What was
//! finished must be in the record, whole; what reached the upstream must be in it too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::content::{Content, Pattern};
use crate::http1::{self, End, head};
use crate::records::{Direction, Exchange};
use crate::upstream_http1::Upstream;
use crate::wire::Wire;

/// What clients and upstream have seen, by target.
#[derive(Clone, Default)]
pub struct Seen {
    finished: Arc<Mutex<BTreeMap<String, (Content, Content)>>>,
    reached: Arc<Mutex<BTreeSet<String>>>,
    next: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

impl Seen {
    /// An upstream that answers each body with another one, and notes what reached it.
    pub fn upstream(&self) -> Upstream {
        let reached = Arc::clone(&self.reached);
        Upstream::start(move |mut session| {
            while let Ok(head) = session.try_head() {
                lock(&reached).insert(String::from_utf8_lossy(head.target()).into_owned());
                let body = session.body(head.request_framing()).finish();
                if body.end != End::Complete {
                    return;
                }
                let seed = body.content.length() + 1;
                let answer = Pattern::bytes(seed, seed * 3 % 200_000);
                if session.try_send(answer_head(seed)).is_err() {
                    return;
                }
                // In pieces, so that a crash may fall between them.
                for piece in answer.chunks(4096) {
                    let sent = match seed % 2 {
                        0 => session.try_send(piece),
                        _ => session.try_send(http1::chunk(piece)),
                    };
                    if sent.is_err() {
                        return;
                    }
                }
                if seed % 2 == 1 && session.try_send("0\r\n\r\n").is_err() {
                    return;
                }
            }
        })
    }

    /// Starts clients that call until the gateway is gone or `stop` is set.
    pub fn clients(
        &self,
        gateway: SocketAddr,
        count: usize,
        stop: &Arc<AtomicBool>,
    ) -> Vec<JoinHandle<()>> {
        let spawn = |_| {
            let (seen, stop) = (self.clone(), Arc::clone(stop));
            std::thread::spawn(move || while !stop.load(Ordering::SeqCst) && seen.call(gateway) {})
        };
        (0..count).map(spawn).collect()
    }

    /// One call on a connection of its own; false when the gateway is gone.
    pub fn call(&self, gateway: SocketAddr) -> bool {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let size = number * 7919 % 150_000;
        let target = format!("/load/{number}");
        let Ok(stream) = TcpStream::connect(gateway) else { return false };
        let mut wire = Wire::plain(stream);
        let length = size.to_string();
        let fields = [("Host", "x"), ("Content-Length", length.as_str())];
        if wire.try_send(head(format!("POST /up{target} HTTP/1.1"), &fields)).is_err() {
            return false;
        }
        for piece in Pattern::new(number, size) {
            if wire.try_send(piece).is_err() {
                break;
            }
        }
        let Ok(answer) = wire.try_head() else { return false };
        if answer.status() != 200 {
            // Refused in so many words: nothing was promised.
            self.refused.fetch_add(u64::from(answer.status() == 503), Ordering::SeqCst);
            return true;
        }
        let body = wire.body(answer.response_framing("POST")).finish();
        if body.end != End::Complete {
            return false;
        }
        let answered = Content::of_pattern(size + 1, (size + 1) * 3 % 200_000);
        assert_eq!(body.content, answered, "the client got other bytes");
        lock(&self.finished).insert(target, (Content::of_pattern(number, size), answered));
        true
    }

    /// How many calls were finished.
    pub fn finished(&self) -> usize {
        lock(&self.finished).len()
    }

    /// How many calls were answered 503.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many calls reached the upstream.
    pub fn reached(&self) -> usize {
        lock(&self.reached).len()
    }

    /// Holds what the clients saw finished against the record.
    ///
    /// # Panics
    /// If something finished is missing or different.
    pub fn account(&self, records: &[Exchange]) {
        let by_target = by_target(records);
        for (target, (request, response)) in lock(&self.finished).iter() {
            let record = by_target.get(target);
            let record = record.unwrap_or_else(|| panic!("finished and not recorded: {target}"));
            assert_eq!(record.text("/outcome"), "complete", "finished: {}", record.json);
            let sums = [record.text("/request/sha256"), record.text("/response/sha256")];
            assert_eq!(sums, [request.sha256(), response.sha256()], "{}", record.json);
        }
        // A few bodies to the byte.
        for (target, (request, response)) in lock(&self.finished).iter().rev().take(3) {
            assert_eq!(by_target[target].body(Direction::Request), *request);
            assert_eq!(by_target[target].body(Direction::Response), *response);
        }
    }

    /// What reached the upstream and is not in the record: a number is journalled before anything
    /// is forwarded, so there is nothing.
    pub fn unrecorded(&self, records: &[Exchange]) -> Vec<String> {
        let by_target = by_target(records);
        let reached = lock(&self.reached);
        reached.iter().filter(|target| !by_target.contains_key(*target)).cloned().collect()
    }
}

fn by_target(records: &[Exchange]) -> BTreeMap<String, &Exchange> {
    let mut by_target = BTreeMap::new();
    for record in records {
        assert!(record.sealed(), "not sealed: {}", record.json);
        if record.json["url"].is_null() {
            // Numbered, and killed before its head was on disk: only ever an interrupted one.
            assert_eq!(record.text("/outcome"), "interrupted", "{}", record.json);
            continue;
        }
        let url = record.text("/url");
        let at = url.find("/load/").unwrap_or_else(|| panic!("an unknown call: {url}"));
        let twice = by_target.insert(url[at..].to_owned(), record);
        assert!(twice.is_none(), "recorded twice: {url}");
    }
    by_target
}

fn answer_head(seed: u64) -> Vec<u8> {
    let length = (seed * 3 % 200_000).to_string();
    match seed % 2 {
        0 => head("HTTP/1.1 200 OK", &[("Content-Length", &length)]),
        _ => head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]),
    }
}
