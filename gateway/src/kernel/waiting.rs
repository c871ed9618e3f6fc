//! Waiting: an answer that is not whole.
//!
//! In: what was read of a process and what it did, before and after. Out: who it was when it connected, with
//! what holds for that moment; what does not, or is not known in time, is left out and said.

use std::time::{Duration, Instant};

use super::contents::{Read, What};
use super::execs::{Holds, Settling, holds};
use super::message::{Process, Told};
use super::process::Found;
use super::readings::{Executable, Now, Readings};
use super::unread::{BECAME, COMMAND, DIGEST, EXECUTABLE, UNNOTED, UNTOLD, Unread};

/// How long an answer waits for what a thread reads.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// For how long a reading of what a process may write to (its command line) is that of who connects next, in
/// nanoseconds.
pub(super) const FRESH: u64 = 100_000_000;

/// A reading of command line and executable.
pub(super) struct Content {
    pub(super) number: u64,
    /// Before it was read, and what the process did since; none until then.
    pub(super) around: Option<(u64, Settling)>,
    command: Option<Vec<u8>>,
    digest: Digest,
    unread: Vec<Unread>,
}

/// What is known of an executable's content.
#[derive(Clone, Copy)]
pub(super) enum Digest {
    /// It is still to come.
    ToCome,
    /// It is known, or will not be.
    Known(Option<[u8; 32]>),
}

/// An answer that is not whole.
pub(super) struct Waiting {
    /// The question's number, and for which scope it is.
    pub(super) number: u64,
    pub(super) scope: u64,
    pub(super) process: Process,
    pub(super) connected: u64,
    pub(super) unread: Vec<Unread>,
    /// Whether the path of its executable is still to come.
    pub(super) path_due: bool,
    pub(super) content: Reading,
    pub(super) since: Instant,
}

/// Whether command line and executable are of the program that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// To be read.
    Wanted,
    /// Not known yet, of the reading of that number.
    Asked(u64),
    /// They are, of that reading.
    Good(u64),
    /// They are not, or it is not known.
    Other,
}

impl Content {
    /// One that was asked for by that number.
    pub(super) fn new(number: u64) -> Self {
        let (around, command, digest, unread) = (None, None, Digest::ToCome, Vec::new());
        Self { number, around, command, digest, unread }
    }

    /// Takes what a thread has read.
    pub(super) fn take(&mut self, read: Read) {
        self.unread.extend(read.unread);
        match read.what {
            What::First { command, around, digest } => {
                (self.command, self.around) = (command, Some(around));
                if !digest {
                    self.digest = Digest::Known(None);
                }
            }
            What::Digest(digest) => self.digest = Digest::Known(digest),
        }
    }

    pub(super) fn is_read(&self) -> bool {
        self.around.is_some()
    }

    /// Whether it is of who connects then, as far as that is known: it is young enough, and nothing was noted since.
    pub(super) fn serves(&self, connected: u64, noted: Option<u64>) -> bool {
        match &self.around {
            // It is still to be read, and whether that is of who connected is told then.
            None => true,
            Some((before, _)) => {
                self.is_fresh(connected) && noted.is_some_and(|noted| noted < *before)
            }
        }
    }

    /// Whether it is young enough at that time. A thread may hang where it is not read: then no second one is to.
    pub(super) fn is_fresh(&self, at: u64) -> bool {
        self.around.as_ref().is_none_or(|(before, _)| at < before.saturating_add(FRESH))
    }
}

impl Waiting {
    pub(super) fn new(
        (number, scope): (u64, u64),
        process: Process,
        connected: u64,
        unread: Vec<Unread>,
    ) -> Self {
        let (path_due, content, since) = (true, Reading::Wanted, Instant::now());
        Self { number, scope, process, connected, unread, path_due, content, since }
    }

    /// Asks for the path of the executable, as it was.
    pub(super) fn ask_path(&mut self, of: u32, readings: &mut Readings, now: &mut Now) {
        self.path_due = false;
        let why = match readings.of(of, self.connected, now) {
            Executable::Is(path) => {
                self.process.executable = Some(path);
                return;
            }
            Executable::Unknown => return,
            // What else could be read says so by itself.
            Executable::Unread(why) => return self.lack(EXECUTABLE, &why),
            Executable::NotYet => {
                self.path_due = true;
                return;
            }
            Executable::Became => BECAME,
            Executable::Unnoted => UNNOTED,
        };
        self.lack(EXECUTABLE, why);
        // What else could be read is of another program as well.
        self.is_other(Some(why));
    }

    /// It is answered without what it would have to wait for.
    pub(super) fn refused(mut self, why: &str) -> Told {
        if self.path_due {
            self.lack(EXECUTABLE, why);
        }
        self.is_other(Some(why));
        self.told(None)
    }

    /// Command line and executable are not those of the program that connected; why, where that is known.
    fn is_other(&mut self, why: Option<&str>) {
        self.content = Reading::Other;
        if let Some(why) = why {
            self.lack(COMMAND, why);
            self.lack(DIGEST, why);
        }
    }

    /// Holds what was read against what the process did.
    pub(super) fn settle(&mut self, content: &Content, now: &Now) {
        let Some((before, settling)) = &content.around else { return };
        match holds(now.noted, self.connected, *before, settling) {
            Holds::Yes => self.content = Reading::Good(content.number),
            Holds::NotYet => match &now.found {
                Found::There(stat) if stat.started == self.process.started => {}
                // It is gone, and nobody will know.
                Found::There(_) | Found::Gone => self.is_other(None),
                Found::Unread(why) => self.is_other(Some(why)),
            },
            // It was read before that, and what connected is what it became: that can be read.
            Holds::No if now.noted.is_some_and(|noted| noted < self.connected) => {
                self.content = Reading::Wanted;
            }
            Holds::No => self.is_other(Some(BECAME)),
            Holds::Unnoted => self.is_other(Some(UNNOTED)),
        }
    }

    pub(super) fn is_whole(&self, content: Option<&Content>) -> bool {
        let digest = content.is_some_and(|content| matches!(content.digest, Digest::Known(_)));
        match self.content {
            Reading::Other => !self.path_due,
            Reading::Good(_) => !self.path_due && digest,
            Reading::Wanted | Reading::Asked(_) => false,
        }
    }

    fn lack(&mut self, what: &str, why: &str) {
        if self.unread.iter().all(|unread| unread.what != what) {
            self.unread.push(Unread { what: what.to_owned(), why: why.to_owned() });
        }
    }

    /// What is known of it by now; `content` is what was read for it.
    pub(super) fn told(mut self, content: Option<&Content>) -> Told {
        if let (Reading::Good(_), Some(content)) = (self.content, content) {
            self.unread.extend(content.unread.iter().cloned());
            self.process.command.clone_from(&content.command);
            if let Digest::Known(digest) = content.digest {
                self.process.digest = digest;
            }
        }
        let Self { number, process, unread, .. } = self;
        Told::Looked { number, process: Box::new(Some(process)), unread }
    }

    /// The same, where it has waited too long.
    pub(super) fn late(mut self, content: Option<&Content>) -> Told {
        let late = "it was not read in time";
        if self.path_due {
            self.lack(EXECUTABLE, UNTOLD);
        }
        match self.content {
            Reading::Good(_) => {
                let is_known = content.is_some_and(|one| matches!(one.digest, Digest::Known(_)));
                if !is_known {
                    self.lack(DIGEST, late);
                }
            }
            Reading::Asked(_) if content.is_some_and(Content::is_read) => {
                self.is_other(Some(UNTOLD));
            }
            Reading::Asked(_) | Reading::Wanted => self.is_other(Some(late)),
            Reading::Other => {}
        }
        self.told(content)
    }
}

#[cfg(test)]
mod tests {
    use super::super::process;
    use super::*;
    use crate::clock::boottime_ns;

    /// A process that cannot be looked at any more is not one that is gone: what was read of it is left out with the
    /// reason.
    #[test]
    fn what_cannot_be_settled_has_its_reason() {
        let told = |found: Found| {
            let (process, _) = process::see(std::process::id(), u64::MAX);
            let mut waiting = Waiting::new((1, 7), process.unwrap(), boottime_ns(), Vec::new());
            let mut content = Content::new(3);
            let before = boottime_ns();
            content.around = Some((before, Settling::after(boottime_ns())));
            waiting.settle(&content, &Now { at: boottime_ns(), found, noted: Some(1) });
            assert_eq!(waiting.content, Reading::Other);
            waiting.unread
        };
        assert_eq!(told(Found::Gone), []);
        let why = "too many open files".to_owned();
        let lacks = |what: &str| Unread { what: what.to_owned(), why: why.clone() };
        assert_eq!(told(Found::Unread(why.clone())), [lacks(COMMAND), lacks(DIGEST)]);
    }
}
