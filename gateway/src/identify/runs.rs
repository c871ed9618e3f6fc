//! The ids of named runs, and when such a run is over.
//!
//! A name is the app's; the id that records carry is random and the gateway's. A run is over when
//! no exchange of its name has been open for a while; a later exchange of that name starts a new
//! run, which remembers the one before. Nothing here is kept of a name that is not in use but that
//! memory, which is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealtap_common::leaf::ClosedReason;

use super::Launch;

/// Names in use at once; beyond that every run without an open exchange is over.
const CROWD: usize = 100_000;

/// Names of runs that are over, before the older half is forgotten.
const GENERATION: usize = 10_000;

/// Which id each named run has.
#[derive(Debug, Default)]
pub struct Runs {
    names: Mutex<Names>,
    /// The one run of everything, where there is one.
    all: Option<[u8; 16]>,
}

#[derive(Debug, Default)]
struct Names {
    live: HashMap<String, Live>,
    /// The last run of each name that is over, by age.
    young: HashMap<String, [u8; 16]>,
    old: HashMap<String, [u8; 16]>,
}

#[derive(Debug)]
struct Live {
    id: [u8; 16],
    /// Exchanges under way.
    open: u64,
    /// When the last one ended.
    left: Instant,
}

/// What the rest of the gateway is told of runs, in this order for one name.
pub trait Told {
    /// The run `id` took over a name from `previous`, which is over.
    fn run_opened(&self, id: [u8; 16], previous: [u8; 16]);

    /// The run `id` is over; whether that could be noted, else it is said again later.
    fn run_ended(&self, id: [u8; 16], reason: ClosedReason) -> bool;
}

/// An exchange's hold on its run.
#[derive(Debug)]
pub struct Held<'r> {
    runs: &'r Runs,
    name: String,
    id: [u8; 16],
}

impl Held<'_> {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.runs.names().live.get_mut(&self.name)
            && live.id == self.id
        {
            live.open = live.open.saturating_sub(1);
            live.left = Instant::now();
        }
    }
}

impl Runs {
    /// The runs of a gateway that runs for one command: every name is one of that `launch`.
    #[must_use]
    pub fn of(launch: Option<&Launch>) -> Self {
        Self { names: Mutex::default(), all: launch.map(|launch| launch.id) }
    }

    /// The run called `name`, made by `new` where there is none, held open until what is returned
    /// is dropped.
    pub fn enter(&self, name: &str, told: &impl Told, new: impl FnOnce() -> [u8; 16]) -> Held<'_> {
        if let Some(id) = self.all {
            // It ends with the gateway.
            return Held { runs: self, name: String::new(), id };
        }
        let mut names = self.names();
        let id = match names.live.get_mut(name) {
            Some(live) => {
                live.open = live.open.saturating_add(1);
                live.id
            }
            None => {
                if names.live.len() >= CROWD {
                    names.close(told, ClosedReason::Crowded, |_| true);
                }
                let id = new();
                let previous = names.young.remove(name);
                let previous = previous.or_else(|| names.old.remove(name));
                if let Some(previous) = previous {
                    told.run_opened(id, previous);
                }
                let live = Live { id, open: 1, left: Instant::now() };
                names.live.insert(name.to_owned(), live);
                id
            }
        };
        drop(names);
        Held { runs: self, name: name.to_owned(), id }
    }

    /// Ends the runs that had no open exchange for `idle`; gives how many.
    pub fn sweep(&self, told: &impl Told, idle: Duration) -> usize {
        self.names().close(told, ClosedReason::Idle, |live| live.left.elapsed() >= idle)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Ends the runs without an open exchange that `over` picks. The lock is held meanwhile, so that
    /// nobody notes a successor of a run before its end.
    fn close(
        &mut self,
        told: &impl Told,
        reason: ClosedReason,
        over: impl Fn(&Live) -> bool,
    ) -> usize {
        let closed: Vec<_> = self
            .live
            .extract_if(|_, live| live.open == 0 && over(live) && told.run_ended(live.id, reason))
            .collect();
        let count = closed.len();
        for (name, live) in closed {
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(name, live.id);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Said {
        Opened(u8, u8),
        Ended(u8, ClosedReason),
    }

    #[derive(Default)]
    struct Journal {
        said: RefCell<Vec<Said>>,
        down: Cell<bool>,
    }

    impl Told for Journal {
        fn run_opened(&self, id: [u8; 16], previous: [u8; 16]) {
            self.said.borrow_mut().push(Said::Opened(id[0], previous[0]));
        }

        fn run_ended(&self, id: [u8; 16], reason: ClosedReason) -> bool {
            if !self.down.get() {
                self.said.borrow_mut().push(Said::Ended(id[0], reason));
            }
            !self.down.get()
        }
    }

    #[test]
    fn a_run_is_over_when_nobody_holds_it() {
        let (runs, told) = (Runs::default(), Journal::default());
        let first = runs.enter("a", &told, || [1; 16]);
        let second = runs.enter("a", &told, || [2; 16]);
        assert_eq!((first.id(), second.id()), ([1; 16], [1; 16]));
        drop(first);
        assert_eq!(runs.sweep(&told, Duration::ZERO), 0, "one exchange is under way");
        drop(second);
        assert_eq!(runs.sweep(&told, Duration::from_secs(60)), 0, "it is not idle yet");
        assert_eq!(runs.sweep(&told, Duration::ZERO), 1);
        drop(runs.enter("a", &told, || [3; 16]));
        assert_eq!(runs.sweep(&told, Duration::ZERO), 1);
        let idle = ClosedReason::Idle;
        let said = [Said::Ended(1, idle), Said::Opened(3, 1), Said::Ended(3, idle)];
        assert_eq!(*told.said.borrow(), said);
    }

    #[test]
    fn a_launch_is_the_run_of_every_name() {
        let launch = Launch::new([7; 16], "nightly").unwrap();
        let (runs, told) = (Runs::of(Some(&launch)), Journal::default());
        assert_eq!(runs.enter("a", &told, || [1; 16]).id(), [7; 16]);
        assert_eq!(runs.enter("b", &told, || [1; 16]).id(), [7; 16]);
        assert_eq!(runs.sweep(&told, Duration::ZERO), 0);
        assert_eq!(*told.said.borrow(), []);
    }

    #[test]
    fn an_end_that_could_not_be_noted_is_said_again() {
        let (runs, told) = (Runs::default(), Journal::default());
        drop(runs.enter("a", &told, || [1; 16]));
        told.down.set(true);
        assert_eq!(runs.sweep(&told, Duration::ZERO), 0);
        assert_eq!(runs.enter("a", &told, || [2; 16]).id(), [1; 16], "it goes on meanwhile");
        told.down.set(false);
        assert_eq!(runs.sweep(&told, Duration::ZERO), 1);
    }

    #[test]
    fn a_crowd_of_names_is_bounded() {
        let (runs, told) = (Runs::default(), Journal::default());
        let held = runs.enter("held", &told, || [9; 16]);
        for n in 0..CROWD {
            drop(runs.enter(&n.to_string(), &told, || [1; 16]));
        }
        let names = runs.names();
        assert!(names.live.len() <= CROWD && names.live.contains_key("held"));
        assert!(names.young.len() + names.old.len() <= 2 * GENERATION);
        drop(names);
        assert!(told.said.borrow().contains(&Said::Ended(1, ClosedReason::Crowded)));
        drop(held);
    }
}
