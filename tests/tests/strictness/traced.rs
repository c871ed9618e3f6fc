//! Traced: a gateway under `strace`, and the order of its writes and syncs.

use std::net::SocketAddr;
use std::sync::Arc;

use sealtap_tests::bench::NAME;
use sealtap_tests::gate::{OF_A_GATEWAY, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::trace::{self, Call};

/// Everything by which bytes leave the gateway or reach the disk.
const CALLS: &str = "pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fdatasync,fsync,shutdown,close,io_uring_enter,msync,sync_file_range";

/// How the end of a message shows on a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Release<'a> {
    /// The first call after which these bytes have been written there.
    Bytes(&'a [u8]),
    /// The shutdown or close after these bytes.
    Close(&'a [u8]),
    /// The first frame with END_STREAM, of HTTP/2.
    EndStream,
}

/// Whose side of the gateway a message's end goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Toward {
    Client,
    Upstream,
}

pub(crate) struct Traced {
    calls: Vec<Call>,
    listener: SocketAddr,
    upstream: SocketAddr,
}

/// For how long each sync of the journal is held up, in microseconds, where it is to be waited for.
pub(crate) const HELD: u32 = 30_000;

/// The same where it is to be overtaken: by much more than a thread may stand still on a machine that is busy.
pub(crate) const OVERTAKEN: u32 = 400_000;

/// Runs a gateway under strace while `drive` uses it.
pub(crate) fn traced(
    url: String,
    upstream: SocketAddr,
    (strict, held): (bool, u32),
    drive: impl FnOnce(&Gateway),
) -> Traced {
    let home = Arc::new(Home::new());
    let file = trace::file(home.path());
    let hold = [format!("fdatasync:delay_enter={held}"), "fsync:delay_enter=5000".to_owned()];
    let durability = if strict { "strict" } else { "relaxed" };
    let gateway = Options::default()
        .upstream(NAME, url)
        .config(format!("durability = \"{durability}\"\n[journal]\nfile_size = \"1MiB\"\n"))
        .under(trace::strace(CALLS, &hold, &file))
        .start_in(home);
    drive(&gateway);
    let (listener, pid) = (gateway.address(), gateway.pid());
    // Strict, the record is there when the answer ends; relaxed, it may come after.
    assert!(!strict || !gateway.list().is_empty(), "an answer ended before its record");
    poll_for(OF_A_GATEWAY, "a record", || (!gateway.list().is_empty()).then_some(()));
    let home = gateway.terminate();
    let calls = trace::read(&trace::file(home.path()), pid);
    Traced { calls, listener, upstream }
}

impl Traced {
    /// The calls on the connection toward one side, in order.
    fn toward(&self, toward: Toward) -> Vec<&Call> {
        let calls = self.calls.iter();
        calls
            .filter(|call| {
                let Some(ends) = call.target.strip_prefix("TCP:[") else { return false };
                let Some((local, remote)) = ends.split_once("->") else { return false };
                match toward {
                    Toward::Client => local == self.listener.to_string(),
                    Toward::Upstream => remote == self.upstream.to_string(),
                }
            })
            .collect()
    }

    /// The line on which the call that releases the end starts.
    fn released(&self, toward: Toward, release: Release<'_>) -> usize {
        let mut stream = Vec::new();
        let mut seen = false;
        for call in self.toward(toward) {
            if matches!(call.name.as_str(), "shutdown" | "close") {
                if seen {
                    return call.started;
                }
                continue;
            }
            let written = usize::try_from(call.result).unwrap_or(0).min(call.data.len());
            stream.extend_from_slice(&call.data[..written]);
            match release {
                Release::Bytes(bytes) if contains(&stream, bytes) => return call.started,
                Release::Close(bytes) => seen = seen || contains(&stream, bytes),
                Release::EndStream if ends_stream(&stream) => return call.started,
                _ => {}
            }
        }
        panic!("no {release:?} toward {toward:?} in {:?}", stream.escape_ascii().to_string())
    }

    /// How many writes toward one side there were.
    pub(crate) fn writes(&self, toward: Toward) -> usize {
        let writes = self.toward(toward).into_iter();
        writes.filter(|call| call.result > 0 && !call.data.is_empty()).count()
    }

    /// Whether the journal file that took `bytes` was synced after that and before `line`.
    fn synced_before(&self, bytes: &[u8], line: usize) -> bool {
        let journal = |call: &&Call| call.target.contains("/journal/");
        let wrote = self.calls.iter().filter(journal).find(|call| contains(&call.data, bytes));
        let wrote = wrote.expect("the journal takes every byte as it is");
        assert!(wrote.result > 0, "{wrote:?}");
        self.calls.iter().filter(journal).any(|call| {
            matches!(call.name.as_str(), "fdatasync" | "fsync")
                && call.result == 0
                && call.target == wrote.target
                && call.started > wrote.ended
                && call.ended < line
        })
    }

    /// Holds one message's end against the journal.
    pub(crate) fn check(&self, toward: Toward, release: Release<'_>, last_bytes: &[u8]) -> bool {
        self.synced_before(last_bytes, self.released(toward, release))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Whether a stream of HTTP/2 frames has a whole frame of DATA or HEADERS with END_STREAM.
fn ends_stream(stream: &[u8]) -> bool {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rest = stream.strip_prefix(preface).unwrap_or(stream);
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let (kind, flags) = (rest[3], rest[4]);
        if rest.len() < 9 + length {
            return false;
        }
        if kind <= 1 && flags & 1 == 1 {
            return true;
        }
        rest = &rest[9 + length..];
    }
    false
}
