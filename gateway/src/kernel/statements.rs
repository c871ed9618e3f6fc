//! Statements: what the kernel counted, sealed every few seconds while somebody is watched.
//!
//! In: the observer and what came to the listener. Out: leaves about one coverage, and at the end the last
//! numbers. A program that was detached or replaced, a loader that is gone, and numbers that do not add
//! up each end the coverage at that moment, and the leaf says so.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Armed, Arrived, At, Attached, Channel, ChannelState, Counts, CoverageEnd, CoverageMode,
    CoverageSaid, Foreign, KernelProgram, Statement, Sums,
};

use super::around::Telling;
use super::{Counted, Observer, ProgramAt};
use crate::accept::Led;
use crate::capture::connection::Notes;
use crate::gateway::CoverageTeller;

/// Between two statements, where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(5);

/// Before the programs' names in the kernel.
const PREFIX: &str = "sealtap_";

/// What cannot be stated.
const NO_NAME: &str = "a program of the kernel has no registered name";

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

/// What the statements are made under.
pub struct Terms {
    /// What is done with what cannot be redirected.
    pub mode: CoverageMode,
    /// Whether what is watched began behind a [`super::Fence`].
    pub launched: bool,
    /// Between two statements.
    pub interval: Duration,
    /// Called once where a program was detached or replaced, so that not all is closed any more.
    pub opened: Option<Box<dyn FnOnce() + Send>>,
}

impl Terms {
    /// Counted, told of and let go.
    #[must_use]
    pub fn observe() -> Self {
        Self { mode: CoverageMode::Observe, launched: false, interval: INTERVAL, opened: None }
    }
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
        terms: Terms,
    ) -> Result<Self, String> {
        let armed = armed(&observer, &terms)?;
        let (opened, interval) = (terms.opened, terms.interval);
        // Nothing may be said of a coverage that the log never heard of.
        if !teller.say_for_good(CoverageSaid::Armed(armed)) {
            return Err("the journal takes nothing".to_owned());
        }
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("coverage".to_owned());
        let thread = thread.spawn(move || {
            let (notes, telling) = (teller.notes(), Telling::new(teller.coverage()));
            let mut stating =
                Stating { teller, observer, led, over: None, opened, notes, telling, unsaid: None };
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
    /// Why it was over before its end.
    over: Option<String>,
    opened: Option<Box<dyn FnOnce() + Send>>,
    notes: Notes,
    telling: Telling,
    /// What the journal has not taken: nothing else is said before it.
    unsaid: Option<CoverageSaid>,
}

impl Stating {
    fn state(&mut self, last: bool) -> Result<Last, String> {
        if let Some(why) = self.over.clone() {
            // The journal may not have taken that it is over.
            let _ = self.is_all_said();
            return Err(why);
        }
        if !self.is_all_said() {
            return self
                .observer
                .count()
                .map_err(|error| error.to_string())
                .map(|counted| Last { counted, arrived: self.led.arrived() });
        }
        // Before the kernel's numbers: whatever came was counted there before.
        let (number, arrived) = self.led.cut();
        let counted = match self.observer.count() {
            Ok(counted) => counted,
            Err(error) => {
                let end = CoverageEnd::LoaderGone;
                return self.close((number, arrived), end, error.to_string());
            }
        };
        if !counted.holds() {
            let why = "the kernel's numbers do not add up".to_owned();
            return self.close((number, arrived), CoverageEnd::NumbersWrong, why);
        }
        let held = held(&self.observer.armed().programs, &counted.programs);
        let counts = match counts(&counted) {
            Ok(counts) => counts,
            Err(why) => return self.close((number, arrived), CoverageEnd::NumbersWrong, why),
        };
        let said = match (held, last) {
            (true, false) => CoverageSaid::Heartbeat(Statement { arrived, counts, number }),
            (true, true) => CoverageSaid::Closed(Some(counts), arrived, number, CoverageEnd::Ended),
            (false, _) => {
                let end = CoverageEnd::LinksChanged;
                CoverageSaid::Closed(Some(counts), arrived, number, end)
            }
        };
        self.say(number, said);
        if !held {
            let why = "a program of the kernel was detached or replaced".to_owned();
            self.teller.ended_early(&why);
            tracing::error!(%why, "coverage is over");
            self.over = Some(why.clone());
            if let Some(opened) = self.opened.take() {
                opened();
            }
            return Err(why);
        }
        Ok(Last { counted, arrived })
    }

    /// Says it, behind what went around and is counted by it; keeps what the journal does not take.
    fn say(&mut self, number: u64, said: CoverageSaid) {
        let around = self.observer.went_around();
        around.count(self.teller.counts());
        self.teller.counts().stated(self.led.arrived(), self.led.unknown());
        self.telling.add(around, number);
        self.unsaid = Some(said);
        // Once more at the next one, where the journal takes nothing now.
        let _ = self.is_all_said();
    }

    fn is_all_said(&mut self) -> bool {
        if !self.telling.tell(&self.notes) {
            return false;
        }
        let Some(said) = self.unsaid.take() else { return true };
        if self.teller.say(said.clone()) {
            return true;
        }
        self.unsaid = Some(said);
        false
    }

    fn close(
        &mut self,
        (number, arrived): (u64, Arrived),
        end: CoverageEnd,
        why: String,
    ) -> Result<Last, String> {
        self.teller.ended_early(&why);
        tracing::error!(%why, "coverage is over");
        self.say(number, CoverageSaid::Closed(None, arrived, number, end));
        self.over = Some(why.clone());
        Err(why)
    }
}

/// What this coverage rests on, and what it says nothing of.
fn armed(observer: &Observer, terms: &Terms) -> Result<Armed, String> {
    let armed = observer.armed();
    if !held(&armed.programs, &armed.programs) {
        return Err("the kernel does not name the links that were made".to_owned());
    }
    // Who else is there, and what was open before, is known by now.
    let counted = observer.count().map_err(|error| error.to_string())?;
    let attached = |at: &ProgramAt| {
        Some(Attached {
            at: match at.device {
                0 => At::Cgroup(at.cgroup),
                device => At::Device(device.into()),
            },
            id: u64::from(at.id),
            link: (at.link != 0).then(|| at.link.into()),
            program: program(&at.name)?,
            tag: at.tag,
        })
    };
    let programs: Option<Vec<_>> = armed.programs.iter().map(attached).collect();
    let option = armed.programs.iter().any(|at| program(&at.name) == Some(KernelProgram::Option));
    let frames = option && armed.programs.iter().any(|at| at.device != 0);
    Ok(Armed {
        channels: Channel::ALL.iter().map(|channel| state(*channel, terms, frames)).collect(),
        foreign: foreign(&counted)?,
        machine: machine(&armed.boot).ok_or("the kernel does not name its boot")?,
        mode: terms.mode,
        object: armed.object,
        older: counted.older,
        programs: programs.ok_or(NO_NAME)?,
    })
}

fn program(name: &str) -> Option<KernelProgram> {
    KernelProgram::parse(name.strip_prefix(PREFIX)?)
}

/// What is known of a channel where these programs are attached, by what else was done.
fn state(channel: Channel, terms: &Terms, frames: bool) -> ChannelState {
    let denied = terms.mode == CoverageMode::Enforce;
    match channel {
        Channel::Tcp => ChannelState::ClosedByHook,
        Channel::Udp if denied => ChannelState::ClosedByHook,
        // The resolver may be asked, whatever the question says.
        Channel::Udp | Channel::Names => ChannelState::ObservedOnly,
        // No capability to make them, no family; and none was brought along.
        // And it sees no other cgroup to go to.
        Channel::Raw | Channel::Packet | Channel::Vsock | Channel::Older | Channel::Moved
            if terms.launched =>
        {
            ChannelState::DeniedByLaunchPolicy
        }
        // Redirected to a loopback of its own, where nobody of ours listens, and no way in from there.
        Channel::Namespace if denied && terms.launched => ChannelState::ClosedByHook,
        Channel::Raw if denied => ChannelState::ClosedByHook,
        Channel::Raw => ChannelState::ObservedOnly,
        // A packet counts for the cgroup that its socket was made in: one that was brought along from
        // elsewhere, and connected there, is not seen.
        Channel::Older => ChannelState::NotCovered,
        // At devices that were there when the programs came.
        Channel::Packet if frames => ChannelState::ObservedOnly,
        Channel::Packet
        | Channel::Vsock
        | Channel::Helper
        | Channel::Namespace
        | Channel::Moved => ChannelState::NotCovered,
    }
}

/// The kernel's name of its boot: a UUID.
fn machine(boot: &str) -> Option<Id> {
    let digits: String = boot.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(Id(number.to_be_bytes()))
}

fn counts(counted: &Counted) -> Result<Counts, String> {
    Ok(Counts {
        connections: sums(&counted.connections),
        foreign: foreign(counted)?,
        packets: sums(&counted.packets),
    })
}

fn foreign(counted: &Counted) -> Result<Vec<Foreign>, String> {
    let other = |other: &super::Foreign| {
        Some(Foreign { beside: program(&other.beside)?, id: u64::from(other.id) })
    };
    let all: Option<Vec<_>> = counted.foreign.iter().map(other).collect();
    all.ok_or_else(|| NO_NAME.to_owned())
}

fn sums(counted: &super::Sums) -> Sums {
    Sums {
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
    let there = |at: &ProgramAt| (at.cgroup != 0 || at.device != 0) && at.held == at.id;
    !before.is_empty() && before == now && now.iter().all(there)
}
