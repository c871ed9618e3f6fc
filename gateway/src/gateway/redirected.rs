//! The gateway and the kernel: a second listener, for what the kernel leads here, and the statements of
//! what it saw.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Canary, Coverage, CoverageSaid, Extensions};

use super::Gateway;
use crate::accept::{Led, Redirected, RedirectedError};
use crate::capture::connection::Notes;
use crate::capture::journal::Position;
use crate::capture::random_id;
use crate::journey::Journey;
use crate::kernel::Observer;
use crate::serve::observe::Kernel;

/// Has statements about one coverage sealed. It must be dropped before [`Gateway::serve`] can end.
#[derive(Clone)]
pub struct CoverageTeller {
    journey: Arc<Journey>,
    coverage: Id,
    /// Whether it was said that the coverage is over: nothing may follow.
    closed: Arc<Mutex<bool>>,
    /// What canaries found, until the next statement is made.
    tried: Arc<Mutex<VecDeque<Canary>>>,
}

/// Canaries that may wait: more come back only while the journal takes nothing.
const TRIED: usize = 16;

impl CoverageTeller {
    /// Says something of the coverage; whether it will be sealed.
    #[must_use]
    pub fn say(&self, said: CoverageSaid) -> bool {
        self.note(said).is_some()
    }

    /// Says it before the next statement is counted: what a canary sent is in the numbers of every
    /// statement behind it, and of none that was read before and is still to be said.
    pub fn tried(&self, canary: Canary) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.len() < TRIED {
            tried.push_back(canary);
        } else {
            tracing::warn!("the journal takes nothing: what a canary found is not sealed");
        }
    }

    /// Says what canaries found by now; whether all of it will be sealed.
    #[must_use]
    pub fn say_tried(&self) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(canary) = tried.front() {
            if !self.say(CoverageSaid::Canary(canary.clone())) {
                return false;
            }
            tried.pop_front();
        }
        true
    }

    /// The same as [`Self::say`], and waits until it is on disk: what begins under a coverage must find it there, however
    /// the gateway ends.
    #[must_use]
    pub fn say_for_good(&self, said: CoverageSaid) -> bool {
        let Some(position) = self.note(said) else { return false };
        // On a thread of its own, since whoever begins a coverage may be within a runtime.
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.is_ok_and(|runtime| runtime.block_on(self.journey.tap.kept(position)))
        };
        std::thread::scope(|scope| scope.spawn(wait).join().unwrap_or(false))
    }

    fn note(&self, said: CoverageSaid) -> Option<Position> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return None;
        }
        let closes = matches!(said, CoverageSaid::Closed(..));
        // Boot and time are those of the leaf's sealing.
        let (boot, coverage, ext) = (Id([0; 16]), self.coverage, Extensions::new());
        let taken = self.journey.tap.coverage(&Coverage { boot, coverage, ext, said, sealed: 0 });
        if taken.is_some() {
            self.counts().armed(!closes);
        }
        *closed = closes && taken.is_some();
        taken
    }

    /// Says where the gateway is asked how it is that the coverage ended before its time.
    pub fn ended_early(&self, why: &str) {
        self.journey.observe.coverage_ended(why);
    }

    /// The coverage.
    #[must_use]
    pub fn coverage(&self) -> [u8; 16] {
        self.coverage.0
    }

    /// What the kernel saw, for whoever looks at the gateway.
    #[must_use]
    pub fn counts(&self) -> &Kernel {
        self.journey.observe.kernel()
    }

    /// What takes notes of what went around.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.journey.tap.notes()
    }
}

impl Gateway {
    /// What has statements about a coverage sealed: that of the listener for redirected connections,
    /// where there is one.
    #[must_use]
    pub fn coverage(&self) -> CoverageTeller {
        let journey = Arc::clone(&self.journey);
        let coverage = self.coverage.unwrap_or_else(|| random_id(journey.random));
        journey.observe.coverage_began();
        let (closed, tried) = (Arc::default(), Arc::default());
        CoverageTeller { journey, coverage: Id(coverage), closed, tried }
    }

    /// Has `last` done at the end, when nobody is connected any more and before the last seal.
    pub fn at_the_end(&mut self, last: impl FnOnce() + Send + 'static) {
        self.last = Some(Box::new(last));
    }

    /// Listens for what the kernel leads here as well; gives the port that it is to be led to, and what
    /// will have become of it.
    ///
    /// # Errors
    ///
    /// [`RedirectedError`].
    pub async fn listen_for_redirected(
        &mut self,
        observer: Arc<Observer>,
    ) -> Result<(u16, Arc<Led>), RedirectedError> {
        let coverage = random_id(self.journey.random);
        let redirected = Redirected::bind(observer, self.report.address, coverage).await?;
        self.coverage = Some(coverage);
        let (port, led) = (redirected.port(), redirected.led());
        self.listener.redirect(redirected);
        Ok((port, led))
    }
}
