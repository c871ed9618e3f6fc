//! Statements: what the kernel counted, sealed every few seconds while somebody is watched.
//!
//! In: the observer and what came to the listener. Out: leaves about one coverage, and at the end the last
//! numbers. A program that was detached or replaced, a loader that is gone, and numbers that do not add
//! up each end the coverage at that moment, and the leaf says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Armed, Arrived, Attached, Channel, ChannelState, Connections, CoverageEnd, CoverageMode,
    CoverageSaid, KernelProgram, Statement,
};

use super::{Counted, Observer, ProgramAt};
use crate::accept::Led;
use crate::gateway::CoverageTeller;

/// Before the programs' names in the kernel.
const PREFIX: &str = "sealtap_";

/// Statements that are being made.
pub struct Statements {
    stop: Sender<()>,
    thread: JoinHandle<Result<Last, String>>,
}

/// What was stated last.
#[derive(Debug)]
pub struct Last {
    /// What the kernel counted.
    pub counted: Counted,
    /// What came to the listener.
    pub arrived: Arrived,
}

impl Statements {
    /// States that the coverage begins, and goes on to state what it sees.
    ///
    /// # Errors
    ///
    /// What the kernel says of its programs is not what was attached; or there is no thread.
    pub fn begin(
        teller: CoverageTeller,
        observer: Arc<Observer>,
        led: Arc<Led>,
        interval: Duration,
    ) -> Result<Self, String> {
        let armed = armed(&observer)?;
        // Where the journal takes nothing, nothing is let through either.
        let _ = teller.say(CoverageSaid::Armed(armed));
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("coverage".to_owned());
        let thread = thread.spawn(move || {
            let mut stating = Stating { teller, observer, led, number: 1, over: None };
            loop {
                match stopped.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => drop(stating.state(false)),
                    _ => return stating.state(true),
                }
            }
        });
        Ok(Self { stop, thread: thread.map_err(|error| error.to_string())? })
    }

    /// States that the coverage is over; gives the last numbers, where they are known.
    pub fn end(self) -> Result<Last, String> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|_| Err("its statements were broken off".to_owned()))
    }
}

struct Stating {
    teller: CoverageTeller,
    observer: Arc<Observer>,
    led: Arc<Led>,
    number: u64,
    /// Why it was over before its end.
    over: Option<String>,
}

impl Stating {
    fn state(&mut self, last: bool) -> Result<Last, String> {
        if let Some(why) = &self.over {
            return Err(why.clone());
        }
        // Before the kernel's numbers: whatever came was counted there before.
        let arrived = arrived(&self.led);
        let counted = match self.observer.count() {
            Ok(counted) => counted,
            Err(error) => return self.close(arrived, CoverageEnd::LoaderGone, error.to_string()),
        };
        if !counted.holds() {
            let why = "the kernel's numbers do not add up".to_owned();
            return self.close(arrived, CoverageEnd::NumbersWrong, why);
        }
        let held = held(&self.observer.armed().programs, &counted.programs);
        let connections = connections(&counted);
        let said = match (held, last) {
            (true, false) => {
                CoverageSaid::Heartbeat(Statement { arrived, connections, number: self.number })
            }
            (true, true) => {
                CoverageSaid::Closed(Some(connections), arrived, self.number, CoverageEnd::Ended)
            }
            (false, _) => {
                let end = CoverageEnd::LinksChanged;
                CoverageSaid::Closed(Some(connections), arrived, self.number, end)
            }
        };
        if self.teller.say(said) {
            self.number = self.number.saturating_add(1);
        }
        if !held {
            let why = "a program of the kernel was detached or replaced".to_owned();
            self.teller.ended_early(&why);
            tracing::error!(%why, "coverage is over");
            self.over = Some(why.clone());
            return Err(why);
        }
        Ok(Last { counted, arrived })
    }

    fn close(&mut self, arrived: Arrived, end: CoverageEnd, why: String) -> Result<Last, String> {
        self.teller.ended_early(&why);
        tracing::error!(%why, "coverage is over");
        let _ = self.teller.say(CoverageSaid::Closed(None, arrived, self.number, end));
        self.over = Some(why.clone());
        Err(why)
    }
}

/// What this coverage rests on, and what it says nothing of.
fn armed(observer: &Observer) -> Result<Armed, String> {
    let armed = observer.armed();
    if !held(&armed.programs, &armed.programs) {
        return Err("the kernel does not name the links that were made".to_owned());
    }
    let attached = |at: &ProgramAt| {
        Some(Attached {
            cgroup: at.cgroup,
            id: u64::from(at.id),
            link: u64::from(at.link),
            program: KernelProgram::parse(at.name.strip_prefix(PREFIX)?)?,
            tag: at.tag,
        })
    };
    let programs: Option<Vec<_>> = armed.programs.iter().map(attached).collect();
    Ok(Armed {
        channels: Channel::ALL.iter().map(|channel| state(*channel)).collect(),
        machine: machine(&armed.boot).ok_or("the kernel does not name its boot")?,
        mode: CoverageMode::Observe,
        object: armed.object,
        programs: programs.ok_or("a program of the kernel has no registered name")?,
    })
}

/// What is known of a channel where these programs are attached and nothing else is done.
fn state(channel: Channel) -> ChannelState {
    match channel {
        Channel::Tcp => ChannelState::ClosedByHook,
        Channel::Udp | Channel::Names => ChannelState::ObservedOnly,
        Channel::Raw
        | Channel::Packet
        | Channel::Vsock
        | Channel::Helper
        | Channel::Namespace
        | Channel::Older => ChannelState::NotCovered,
    }
}

/// The kernel's name of its boot: a UUID.
fn machine(boot: &str) -> Option<Id> {
    let digits: String = boot.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(Id(number.to_be_bytes()))
}

fn arrived(led: &Led) -> Arrived {
    let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
    // Each is counted as known before it is counted as attributed.
    let attributed = read(&led.attributed);
    let refused = read(&led.by_nobody).saturating_add(read(&led.to_itself));
    Arrived { attributed, known: read(&led.by_kernel), refused }
}

fn connections(counted: &Counted) -> Connections {
    Connections {
        allowed: counted.allowed,
        bypass_denied: counted.bypass_denied,
        bypass_passed: counted.bypass_passed,
        events_lost: counted.events_lost,
        events_read: counted.events_read,
        loopback: counted.loopback,
        seen: counted.seen,
        unparsable: counted.unparsable,
        via_gateway: counted.via_gateway,
    }
}

/// Whether each program is where it was attached, by its own link.
fn held(before: &[ProgramAt], now: &[ProgramAt]) -> bool {
    !before.is_empty() && before == now && now.iter().all(|at| at.cgroup != 0 && at.held == at.id)
}
