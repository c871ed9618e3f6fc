//! Lines: what goes around, said while the command runs.
//!
//! In: each way around as it is told of, and that coverage is over. Out: single lines on standard error,
//! each written at once. Standard error is the command's as well: a program that draws its own screen is not
//! written into (its terminal passes output on as it is), what is said once is not said again, and no more
//! than a few lines come at once. Never waits for a terminal: a thread of its own does. What is not said
//! here is in the closing account, and in the log.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::termios::{OutputModes, tcgetattr};

use crate::kernel::{Bypass, Whose};
use crate::serve::live::shown;

/// Lines that wait to be said.
const QUEUE: usize = 64;

/// Lines that are said at once, and how long it takes until there may be one more.
const AT_ONCE: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// What was said already, and is not said again.
const SAID: usize = 1024;

/// Where lines are said; cheap to clone, never blocks.
#[derive(Clone)]
pub(super) struct Lines(SyncSender<Line>);

enum Line {
    Around(Around),
    Over(String),
}

/// Who went where, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Around {
    process: u32,
    executable: Option<String>,
    destination: SocketAddr,
    way: String,
    packet: bool,
    denied: bool,
}

/// The thread that says them.
pub(super) struct Saying {
    lines: Lines,
    ended: Receiver<()>,
}

impl Saying {
    /// Says lines from now on.
    pub(super) fn begin() -> std::io::Result<Self> {
        let (sender, lines) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
            say_all(&lines);
            let _ = end.send(());
        })?;
        Ok(Self { lines: Lines(sender), ended })
    }

    /// Where lines are said.
    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits a moment for the last one, once every other handle is gone.
    pub(super) fn finish(self) {
        let Self { lines, ended } = self;
        drop(lines);
        let _ = ended.recv_timeout(PAUSE);
    }
}

impl Lines {
    /// Something went around.
    pub(super) fn around(&self, bypass: &Bypass) {
        let Bypass { destination, process, executable, way, packet, denied, .. } = bypass.clone();
        let around = Around { process, executable, destination, way, packet, denied };
        // Where many wait already, the account tells of it.
        let _ = self.0.try_send(Line::Around(around));
    }

    /// Coverage is over before its time.
    pub(super) fn over(&self, why: &str) {
        let _ = self.0.try_send(Line::Over(why.to_owned()));
    }
}

/// Says them until nobody has any more.
fn say_all(lines: &Receiver<Line>) {
    let mut telling = Telling::new(Instant::now());
    while let Ok(line) = lines.recv() {
        let Some(text) = telling.say(line, Instant::now(), is_drawn_on()) else { continue };
        let mut error = std::io::stderr().lock();
        // In one piece, so that it stays a line of its own beside what the command writes.
        if error.write_all(text.as_bytes()).and_then(|()| error.flush()).is_err() {
            return;
        }
    }
}

/// Whether a program draws a screen of its own on the terminal that is standard error.
fn is_drawn_on() -> bool {
    tcgetattr(std::io::stderr())
        .is_ok_and(|terminal| !terminal.output_modes.contains(OutputModes::OPOST))
}

/// What was said, and how much may be said yet.
struct Telling {
    said: HashSet<Around>,
    unsaid: u64,
    left: u32,
    since: Instant,
}

impl Telling {
    fn new(now: Instant) -> Self {
        Self { said: HashSet::new(), unsaid: 0, left: AT_ONCE, since: now }
    }

    /// The line for it, if it may be said.
    fn say(&mut self, line: Line, now: Instant, drawn_on: bool) -> Option<String> {
        let text = match line {
            Line::Over(why) if !drawn_on => format!("coverage is over: {why}"),
            Line::Over(_) => return None,
            Line::Around(around) => {
                // The packet of a send that was said is no news.
                let send = Around { packet: false, ..around.clone() };
                if self.said.contains(&around) || self.said.contains(&send) {
                    return None;
                }
                if drawn_on || !self.may(now) {
                    self.unsaid = self.unsaid.saturating_add(1);
                    return None;
                }
                let text = around.text();
                if self.said.len() < SAID {
                    self.said.insert(around);
                }
                text
            }
        };
        let more = match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            more => format!(" (and {more} that were not said)"),
        };
        Some(format!("sealtap: {text}{more}\n"))
    }

    fn may(&mut self, now: Instant) -> bool {
        while self.left < AT_ONCE && now.duration_since(self.since) >= PAUSE {
            self.since += PAUSE;
            self.left = self.left.saturating_add(1);
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl Around {
    fn text(&self) -> String {
        let Self { process, executable, destination, way, packet, denied } = self;
        let became = if *denied { "DENIED" } else { "went around the gateway" };
        let unit = if *packet { "a packet" } else { "a connect or send" };
        let (process, executable) = ((*process).into(), executable.as_deref());
        let whose = shown(&Whose { packet: *packet, process, executable }.to_string());
        format!("{became}: {unit} by {way} to {destination} by {whose}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(port: u16) -> Line {
        Line::Around(Around {
            process: 7,
            executable: Some("/bin/x\u{1b}[2J".to_owned()),
            destination: SocketAddr::from(([192, 0, 2, 1], port)),
            way: "udp".to_owned(),
            packet: port == 2,
            denied: port == 53,
        })
    }

    #[test]
    fn each_is_said_once_and_few_at_once() {
        let start = Instant::now();
        let mut telling = Telling::new(start);
        let first = telling.say(line(53), start, false).unwrap();
        assert!(first.starts_with(
            "sealtap: DENIED: a connect or send by udp to 192.0.2.1:53 by process 7 (/bin/x"
        ));
        assert!(first.ends_with('\n') && !first.contains('\u{1b}'), "{first:?}");
        assert_eq!(telling.say(line(53), start, false), None, "said already");
        let said = (1..20).filter_map(|port| telling.say(line(port), start, false)).count();
        assert_eq!(said, 4);
        let later = telling.say(line(99), start + PAUSE, false).unwrap();
        assert!(later.contains("went around") && later.contains("(and 15 that"), "{later}");
        assert_eq!(telling.say(line(98), start + PAUSE, false), None);
        let over = telling.say(Line::Over("x".into()), start + PAUSE, false).unwrap();
        assert!(over.contains("coverage is over: x"), "whatever was said before");
    }

    #[test]
    fn nothing_is_said_into_a_drawn_screen() {
        let now = Instant::now();
        let mut telling = Telling::new(now);
        assert_eq!(telling.say(line(1), now, true), None);
        assert_eq!(telling.say(Line::Over("x".into()), now, true), None);
        let said = telling.say(line(2), now, false).unwrap();
        assert!(said.contains("(and 1 that") && said.contains("a packet by udp"), "{said}");
        assert!(said.contains("by a socket of process 7"), "{said}");
    }
}
