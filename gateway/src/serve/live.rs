//! The live lines of `serve`: how to point a client at it, then one line per finished exchange.
//!
//! In: a [`Welcome`] once, a [`Finished`] per exchange. Out: aligned text on a terminal, one JSON
//! object a line when piped. Never: holds traffic up. [`Lines::show`] only moves the summary into a
//! bounded queue; a thread of its own prints. While the terminal is blocked and the queue full,
//! lines are dropped, counted, and the count is said as soon as there is room. The lines are a
//! convenience: the record is the log.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use sealtap_common::leaf::{BypassUnit, Tunnel};

use crate::kernel::Whose;

pub use text::{duration, shown, size, time};

/// Lines that wait for the printer before more are dropped.
const QUEUE: usize = 4096;

/// How long lines gather: under load, one write and one waking for many of them.
const GATHER: Duration = Duration::from_millis(20);

/// Lines in one write, at most.
const AT_ONCE: usize = 1024;

/// How long [`Live::finish`] waits for the last lines to be printed.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What is said once, as soon as the gateway listens.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The address it listens on, with the real port.
    pub address: SocketAddr,
    /// The address of `/metrics` and `/healthz`, where it is another.
    pub observe: Option<SocketAddr>,
    /// Whether clients speak TLS to it.
    pub tls: bool,
    /// Every name a target may begin with ([`crate::route::Table::names`]).
    pub upstreams: Vec<String>,
    /// The data directory.
    pub data: PathBuf,
    /// The log's origin.
    pub origin: String,
    /// `strict` or `relaxed`.
    pub durability: &'static str,
}

/// A finished exchange in short. Secret values in the URL must be gone already.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exchange's id, in hexadecimal.
    pub id: String,
    /// The run's name, or its id where it has none.
    pub run: String,
    /// When it started, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// The method, as received.
    pub method: String,
    /// The URL at the upstream; where there is none, the target as received.
    pub url: String,
    /// The status the client got, if any.
    pub status: Option<u16>,
    /// The registered outcome: `complete`, `client_cancelled`, ...
    pub outcome: &'static str,
    /// The registered error code, if any.
    pub error: Option<&'static str>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// From the request's first byte to the response's last, in nanoseconds.
    pub duration_ns: u64,
    /// From the request's first byte to the response's first, in nanoseconds.
    pub ttfb_ns: Option<u64>,
    /// The index of its leaf; `None` while it waits to be sealed.
    pub leaf: Option<u64>,
    /// How the traffic came: `reverse`, `connect`, `forward`, `transparent`.
    pub ingress: &'static str,
    /// What passed unread, where it was a tunnel that is not captured.
    pub tunnel: Option<Tunnel>,
}

/// Traffic of a watched scope that did not come to the gateway.
#[derive(Clone, Debug)]
pub struct Around {
    /// When it was told, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Where to.
    pub destination: SocketAddr,
    /// The process, or whose socket a packet left by; 0 where that is not known.
    pub process: u32,
    /// Its executable, where it was still there.
    pub executable: Option<String>,
    /// By what way.
    pub way: String,
    /// Whether it was a packet, and not a connect or a send without one.
    pub packet: bool,
    /// Whether it was stopped.
    pub denied: bool,
}

impl Around {
    fn whose(&self) -> Whose<'_> {
        let executable = self.executable.as_deref();
        Whose { packet: self.packet, process: self.process.into(), executable }
    }

    fn unit(&self) -> BypassUnit {
        if self.packet { BypassUnit::Packet } else { BypassUnit::Connect }
    }
}

#[derive(Debug)]
enum Line {
    Welcome(Box<Welcome>),
    Finished(Box<Finished>),
    Around(Box<Around>),
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// Where exchanges are announced; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Announces a finished exchange, or counts it as dropped when the printer is behind.
    pub fn show(&self, finished: Finished) {
        self.send(Line::Finished(Box::new(finished)));
    }

    /// Tells of traffic that went around.
    pub fn around(&self, around: Around) {
        self.send(Line::Around(Box::new(around)));
    }

    fn send(&self, line: Line) {
        match self.queue.try_send(line) {
            // Without a reader of standard output there is nothing to count for.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The printer; one per gateway.
#[derive(Debug)]
pub struct Live {
    lines: Lines,
    ended: Receiver<()>,
}

impl Live {
    /// Starts the printer on standard output and says `welcome`: text on a terminal, else JSON.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(welcome: Welcome) -> io::Result<Self> {
        match io::stdout().is_terminal() {
            true => Self::start_on(anstream::stdout(), Form::Text, welcome, QUEUE),
            // Taking styles out would change bytes inside JSON strings.
            false => Self::start_on(io::stdout(), Form::Json, welcome, QUEUE),
        }
    }

    fn start_on(
        output: impl Write + Send + 'static,
        form: Form,
        welcome: Welcome,
        queue: usize,
    ) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(queue);
        let (end, ended) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines { queue, dropped: Arc::clone(&dropped) };
        lines.send(Line::Welcome(Box::new(welcome)));
        thread::Builder::new().name("live".to_owned()).spawn(move || {
            // A reader that went away ends the lines, not the gateway.
            let _ = print(output, form, &waiting, &dropped);
            let _ = end.send(());
        })?;
        Ok(Self { lines, ended })
    }

    /// A handle to announce exchanges with.
    #[must_use]
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits a moment for the last lines, once every other handle is dropped; a blocked terminal
    /// keeps its thread, which ends with the process.
    pub fn finish(self) {
        let Self { lines, ended } = self;
        drop(lines);
        let _ = ended.recv_timeout(LAST_LINES);
    }
}

/// Prints until every handle is gone or nobody reads.
fn print(
    mut output: impl Write,
    form: Form,
    waiting: &Receiver<Line>,
    dropped: &AtomicU64,
) -> io::Result<()> {
    let mut text = String::new();
    while let Ok(first) = waiting.recv() {
        text.clear();
        // A person does not see the delay, and whoever sends finds nobody to wake.
        thread::sleep(GATHER);
        for line in std::iter::once(first).chain(waiting.try_iter()).take(AT_ONCE) {
            match (form, &line) {
                (Form::Text, Line::Welcome(welcome)) => text::welcome(&mut text, welcome),
                (Form::Text, Line::Finished(finished)) => text::finished(&mut text, finished),
                (Form::Text, Line::Around(around)) => text::around(&mut text, around),
                (Form::Json, Line::Around(around)) => json::around(&mut text, around),
                (Form::Json, Line::Welcome(welcome)) => json::welcome(&mut text, welcome),
                (Form::Json, Line::Finished(finished)) => json::finished(&mut text, finished),
            }
        }
        output.write_all(text.as_bytes())?;
        output.flush()?;
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let mut text = String::new();
            match form {
                Form::Text => text::missed(&mut text, missed),
                Form::Json => json::missed(&mut text, missed),
            }
            output.write_all(text.as_bytes())?;
            output.flush()?;
        }
    }
    Ok(())
}
