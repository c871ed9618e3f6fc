//! Looked: one process that is looked at, and the answers that wait for what is known of it.
//!
//! In: what was read of it, and what it does now. Out: answers that are whole, or have waited long enough. A
//! reading serves whoever connected a little later as well; each answer is held against what the process
//! became after *it* connected (`execs`), and waits until that is told.

use std::time::{Duration, Instant};

use super::contents::Read;
use super::message::Told;
use super::readings::{Now, Readings};
use super::waiting::{Content, FRESH, LIMIT, Reading, Waiting};

/// Between two looks at a process that is not settled: longer, the longer that lasts. Who is there for a moment
/// only is looked at often in it.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(32);
const PART: u32 = 16;

/// A process, by its number and when it started.
pub(super) type Key = (u32, u64);

/// What is known of it.
pub(super) struct Looked {
    key: Key,
    /// Readings of its command line and executable, the youngest last.
    contents: Vec<Content>,
    waiting: Vec<Waiting>,
    /// When it connected last, of what was asked.
    latest: u64,
    /// Since when it is not settled.
    since: Option<Instant>,
    /// When it is to be looked at again.
    pub(super) due: Option<Instant>,
}

/// What is to become of a process next.
pub(super) struct Next {
    /// Answers, and for which scope.
    pub(super) told: Vec<(u64, Told)>,
    /// For which scope it is to be read.
    pub(super) asks: Option<u64>,
    /// Readings that nobody needs to be told of any more.
    pub(super) forgotten: Vec<u64>,
    /// When it is to be looked at again; none where it need not be before something is read.
    pub(super) again: Option<Duration>,
}

impl Looked {
    pub(super) fn new(key: Key) -> Self {
        let (contents, waiting) = (Vec::new(), Vec::new());
        Self { key, contents, waiting, latest: 0, since: None, due: None }
    }

    /// Takes an answer that waits.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.latest = self.latest.max(waiting.connected);
        self.waiting.push(waiting);
    }

    /// Takes what a thread has read.
    pub(super) fn take(&mut self, read: Read) {
        let number = read.number;
        if let Some(content) = self.contents.iter_mut().find(|content| content.number == number) {
            content.take(read);
            self.since = None;
        }
    }

    /// Looks once more at what is not known yet; what is to be read then is called by `number`.
    pub(super) fn look(&mut self, readings: &mut Readings, number: u64) -> Next {
        let mut now = readings.now(self.key.0);
        for waiting in &mut self.waiting {
            if waiting.path_due {
                waiting.ask_path(self.key.0, readings, &mut now);
            }
        }
        let asks = self.ask(number, &now);
        self.see(&now);
        for waiting in &mut self.waiting {
            if let Reading::Asked(number) = waiting.content
                && let Some(content) = of(&self.contents, number)
            {
                waiting.settle(content, &now);
            }
        }
        let contents = &self.contents;
        let whole = |waiting: &mut Waiting| waiting.is_whole(content_of(contents, waiting));
        let whole = self.waiting.extract_if(.., whole);
        let told = |waiting: Waiting| {
            let content = content_of(contents, &waiting);
            (waiting.scope, waiting.told(content))
        };
        let told = whole.map(told).collect();
        let forgotten = self.forget(now.at);
        Next { told, asks, forgotten, again: self.again() }
    }

    /// Finds a reading for each answer that wants one; for which scope another one is to be read.
    fn ask(&mut self, number: u64, now: &Now) -> Option<u64> {
        let mut asks = None;
        let last = self.contents.last();
        for waiting in &mut self.waiting {
            if waiting.content == Reading::Wanted {
                let last = last.filter(|last| last.serves(waiting.connected, now.noted));
                waiting.content = Reading::Asked(last.map_or(number, |last| last.number));
                asks = asks.or(last.is_none().then_some(waiting.scope));
            }
        }
        self.contents.extend(asks.map(|_| Content::new(number)));
        asks
    }

    /// There was no room to read what was asked for by that number: answers, and for which scope.
    pub(super) fn refuse(&mut self, number: u64, why: &str) -> Vec<(u64, Told)> {
        self.contents.retain(|content| content.number != number);
        let asked = |waiting: &mut Waiting| waiting.content == Reading::Asked(number);
        let refused = self.waiting.extract_if(.., asked);
        refused.map(|waiting| (waiting.scope, waiting.refused(why))).collect()
    }

    /// What the process does now, and did last, says something of all that was read before.
    fn see(&mut self, now: &Now) {
        let stat = now.found.there().filter(|stat| stat.started == self.key.1);
        for (_, settling) in self.contents.iter_mut().filter_map(|one| one.around.as_mut()) {
            if let Some(stat) = stat {
                settling.add(now.at, stat);
            }
            // What was noted is known from behind that.
            if self.latest <= now.at {
                settling.went_on(self.latest);
            }
        }
    }

    /// When it is to be looked at again, if it is.
    fn again(&mut self) -> Option<Duration> {
        let is = |reading| self.waiting.iter().any(|waiting| waiting.content == reading);
        if is(Reading::Wanted) {
            return Some(Duration::ZERO);
        }
        let is_unsettled = |waiting: &Waiting| {
            let content = content_of(&self.contents, waiting);
            let asked = matches!(waiting.content, Reading::Asked(_));
            waiting.path_due || asked && content.is_some_and(Content::is_read)
        };
        if self.waiting.iter().any(is_unsettled) {
            let since = *self.since.get_or_insert_with(Instant::now);
            return Some((since.elapsed() / PART).clamp(SOON, LATER));
        }
        self.since = None;
        // What was read is forgotten some time.
        let is_kept = self.contents.iter().any(Content::is_read);
        (self.waiting.is_empty() && is_kept).then_some(Duration::from_nanos(FRESH))
    }

    /// Forgets readings that nobody waits for and that nobody will; their numbers.
    fn forget(&mut self, at: u64) -> Vec<u64> {
        let waiting = &self.waiting;
        let is_forgotten = |content: &mut Content| {
            let is_its = |waiting: &Waiting| match waiting.content {
                Reading::Asked(number) | Reading::Good(number) => number == content.number,
                Reading::Wanted | Reading::Other => false,
            };
            !content.is_fresh(at) && !waiting.iter().any(is_its)
        };
        let forgotten = self.contents.extract_if(.., is_forgotten);
        forgotten.map(|content| content.number).collect()
    }

    /// Whether nothing of it is known, nor waited for.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.contents.is_empty()
    }

    /// Answers that have waited too long, and for which scope.
    pub(super) fn late(&mut self) -> Vec<(u64, Told)> {
        let is_late = |waiting: &mut Waiting| waiting.since.elapsed() >= LIMIT;
        let late = self.waiting.extract_if(.., is_late);
        let contents = &self.contents;
        let told = |waiting: Waiting| {
            let content = content_of(contents, &waiting);
            (waiting.scope, waiting.late(content))
        };
        late.map(told).collect()
    }
}

fn of(contents: &[Content], number: u64) -> Option<&Content> {
    contents.iter().find(|content| content.number == number)
}

/// What was read for an answer.
fn content_of<'a>(contents: &'a [Content], waiting: &Waiting) -> Option<&'a Content> {
    match waiting.content {
        Reading::Asked(number) | Reading::Good(number) => of(contents, number),
        Reading::Wanted | Reading::Other => None,
    }
}

#[cfg(test)]
mod tests;
