//! Statements: what the kernel counted, sealed every few seconds while somebody is watched.
//!
//! In: the observer and what came to the listener. Out: leaves about one coverage, and at the end the last
//! numbers. A program that was detached or replaced, or is told something else, a loader that is gone, numbers that
//! do not add up, and a cgroup that should be watched and is not, each end the coverage at that moment, and the leaf
//! says so.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use sealtap_common::leaf::{Arrived, CoverageEnd, CoverageMode, CoverageSaid, Statement};

use super::around::Telling;
use super::message::NamesCounted;
use super::names::{self, Told};
use super::stated::{CHANGED, REWRITTEN, all_known, armed, count_all, counts, kept};
use super::{Counted, Observer};
use crate::accept::Led;
use crate::capture::connection::Notes;
use crate::gateway::CoverageTeller;

/// Between two statements, where nothing else is said.
const INTERVAL: Duration = Duration::from_secs(5);

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
    /// What was asked of the resolver.
    pub names: Told,
}

/// What hears why a coverage is over.
type Ended = Box<dyn FnOnce(&str) + Send>;

/// What the statements are made under.
pub struct Terms {
    /// What is done with what cannot be redirected.
    pub mode: CoverageMode,
    /// Whether what is watched began behind a [`super::Fence`].
    pub launched: bool,
    /// Between two statements.
    pub interval: Duration,
    /// Whether cgroups may come that are watched only once they are seen.
    pub late: bool,
    /// Why one that should be watched is not, once there was one.
    pub unwatched: Arc<OnceLock<String>>,
    /// Called once where a program was detached or replaced, or is told something else, so that not all is closed any
    /// more.
    pub opened: Option<Box<dyn FnOnce() + Send>>,
    /// Called once with the reason where the coverage is over before its time.
    pub ended: Option<Ended>,
}

impl Terms {
    /// Counted, told of and let go.
    #[must_use]
    pub fn observe() -> Self {
        Self {
            mode: CoverageMode::Observe,
            launched: false,
            interval: INTERVAL,
            late: false,
            unwatched: Arc::default(),
            opened: None,
            ended: None,
        }
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
        let (armed, watched) = armed(&observer, &terms)?;
        let Terms { interval, unwatched, opened, ended, .. } = terms;
        // Nothing may be said of a coverage that the log never heard of.
        if !teller.say_for_good(CoverageSaid::Armed(armed)) {
            return Err("the journal takes nothing".to_owned());
        }
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("coverage".to_owned());
        let thread = thread.spawn(move || {
            let (notes, telling) = (teller.notes(), Telling::new(teller.coverage()));
            let names = names::Telling::new(teller.coverage());
            let mut stating = Stating {
                teller,
                observer,
                led,
                watched,
                unwatched,
                over: None,
                due: None,
                opened,
                ended,
                notes,
                telling,
                names,
                unsaid: None,
            };
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
    /// Cgroups that were watched when it was armed.
    watched: u64,
    unwatched: Arc<OnceLock<String>>,
    /// Why it was over before its end.
    over: Option<String>,
    /// As what it is to be closed, once the journal takes that.
    due: Option<CoverageEnd>,
    opened: Option<Box<dyn FnOnce() + Send>>,
    ended: Option<Ended>,
    notes: Notes,
    telling: Telling,
    names: names::Telling,
    /// What the journal has not taken: nothing else is said before it.
    unsaid: Option<CoverageSaid>,
}

impl Stating {
    fn state(&mut self, last: bool) -> Result<Last, String> {
        if let Some(why) = self.over.clone() {
            // The journal may not have taken that it is over.
            if self.is_all_said()
                && self.teller.say_tried()
                && let Some(end) = self.due.take()
            {
                self.close(end);
            }
            return Err(why);
        }
        // Canaries too: the numbers that are read below have what they sent.
        if !self.is_all_said() || !self.teller.say_tried() {
            return self.look();
        }
        if last && let Err(error) = count_all(&self.observer) {
            let (number, arrived) = self.led.cut();
            return self.broken(number, arrived, CoverageEnd::LoaderGone, error.to_string());
        }
        // Before the kernel's numbers: whatever came was counted there before.
        let (number, arrived) = self.led.cut();
        let counted = match self.observer.count() {
            Ok(counted) => counted,
            Err(error) => {
                let end = CoverageEnd::LoaderGone;
                return self.broken(number, arrived, end, error.to_string());
            }
        };
        // First, since what is open now is dealt with whatever the numbers say.
        let kept = kept(&self.observer.armed().programs, &counted);
        let wrong = |why| (CoverageEnd::NumbersWrong, why);
        let counts =
            self.all_watched().and_then(|()| counts(&counted, self.watched).map_err(wrong));
        let counts = match counts {
            Ok(counts) => counts,
            Err((end, why)) => {
                let why = kept.map_or_else(ToOwned::to_owned, |()| why);
                return self.broken(number, arrived, end, why);
            }
        };
        self.teller.counts().counted(&counts, &arrived);
        if kept.is_ok()
            && last
            && let Err(why) = all_known(&counted)
        {
            let said = Statement { arrived, counts, number };
            return self.not_all_known(said, counted.names, why);
        }
        let said = match (kept, last) {
            (Ok(()), false) => CoverageSaid::Heartbeat(Statement { arrived, counts, number }),
            (Ok(()), true) => {
                CoverageSaid::Closed(Some(counts), arrived, number, CoverageEnd::Ended)
            }
            (Err(_), _) => {
                let end = CoverageEnd::LinksChanged;
                CoverageSaid::Closed(Some(counts), arrived, number, end)
            }
        };
        self.say(number, said, Some(counted.names));
        match kept {
            Ok(()) => Ok(Last { counted, arrived, names: self.names.told() }),
            Err(why) => Err(self.over(why)),
        }
    }

    /// At the end, where sockets that were there before are not all counted: the numbers that are known, as any
    /// statement says them, which leaves out what is still to be counted; and then that the last are not known.
    fn not_all_known(
        &mut self,
        said: Statement,
        names: NamesCounted,
        why: String,
    ) -> Result<Last, String> {
        self.say(said.number, CoverageSaid::Heartbeat(said), Some(names));
        if self.unsaid.is_some() {
            // Nothing may follow what the journal has not taken.
            return Err(self.over(&why));
        }
        let (number, arrived) = self.led.cut();
        self.broken(number, arrived, CoverageEnd::NumbersWrong, why)
    }

    /// Whether all is watched that should be, so that the numbers are those of all; why not.
    fn all_watched(&self) -> Result<(), (CoverageEnd, String)> {
        self.unwatched.get().map_or(Ok(()), |why| Err((CoverageEnd::Unwatched, why.clone())))
    }

    /// While the journal takes nothing, no statement is made; what the coverage rests on is looked at all the
    /// same, since nobody may go on without it for as long as a disk is full.
    fn look(&mut self) -> Result<Last, String> {
        let (end, why) = match self.observer.count() {
            Err(error) => (CoverageEnd::LoaderGone, error.to_string()),
            Ok(counted) => match kept(&self.observer.armed().programs, &counted) {
                Ok(()) => {
                    if let Err((end, why)) = self.all_watched() {
                        self.due = Some(end);
                        return Err(self.over(&why));
                    }
                    let (arrived, names) = (self.led.arrived(), self.names.told());
                    return Ok(Last { counted, arrived, names });
                }
                Err(why) => (CoverageEnd::LinksChanged, why.to_owned()),
            },
        };
        self.due = Some(end);
        Err(self.over(&why))
    }

    /// It is over, and why; where not all is closed any more, that is dealt with first.
    fn over(&mut self, why: &str) -> String {
        if [CHANGED, REWRITTEN].contains(&why)
            && let Some(opened) = self.opened.take()
        {
            opened();
        }
        self.teller.ended_early(why);
        tracing::error!(%why, "coverage is over");
        if let Some(ended) = self.ended.take() {
            ended(why);
        }
        self.over = Some(why.to_owned());
        why.to_owned()
    }

    /// Closes it with the numbers of now, where the reason for it has any.
    fn close(&mut self, end: CoverageEnd) {
        let (number, arrived) = self.led.cut();
        let counted = end.has_numbers().then(|| self.observer.count());
        let (end, counts, names) = match counted {
            None => (end, None, None),
            Some(Err(_)) => (CoverageEnd::LoaderGone, None, None),
            Some(Ok(counted)) => match counts(&counted, self.watched) {
                Ok(counts) => (end, Some(counts), Some(counted.names)),
                Err(_) => (CoverageEnd::NumbersWrong, None, None),
            },
        };
        self.say(number, CoverageSaid::Closed(counts, arrived, number, end), names);
    }

    /// Says it, behind what went around and is counted by it; keeps what the journal does not take.
    fn say(&mut self, number: u64, said: CoverageSaid, names: Option<NamesCounted>) {
        let around = self.observer.went_around();
        around.count(self.teller.counts());
        self.teller.counts().stated(self.led.arrived(), self.led.unknown());
        self.telling.add(around, number);
        let asked = self.observer.asked(names.is_none());
        let lost = self.names.add(&asked, names, (number, self.notes.record_limit()));
        self.teller.counts().asked(asked.parsed, asked.unparsable, lost);
        self.unsaid = Some(said);
        // Once more at the next one, where the journal takes nothing now.
        if !self.is_all_said() {
            tracing::warn!("the journal takes nothing: coverage is stated once it does");
        }
    }

    fn is_all_said(&mut self) -> bool {
        if !self.telling.tell(&self.notes) || !self.names.tell(&self.notes) {
            return false;
        }
        let Some(said) = self.unsaid.take() else { return true };
        if self.teller.say(said.clone()) {
            return true;
        }
        self.unsaid = Some(said);
        false
    }

    fn broken(
        &mut self,
        number: u64,
        arrived: Arrived,
        end: CoverageEnd,
        why: String,
    ) -> Result<Last, String> {
        self.say(number, CoverageSaid::Closed(None, arrived, number, end), None);
        Err(self.over(&why))
    }
}
