//! The seal thread: batches in, what happened out.
//!
//! Live, it digests the very buffers that the journal wrote. When exchanges wait for a log or a
//! store that fails, it stops digesting once they take too much memory: batches are then dropped as
//! they come, since the journal's files hold them, and read back from there when there is room. It
//! never holds the journal up, and never runs ahead of what is on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use sealtap_common::leaf::Ranges;

use super::super::backlog::Backlog;
use super::super::digest::{Digest, Event};
use super::super::ledger::Happening;
use super::super::pins::Pins;
use super::super::progress::Progress;
use super::storing::LastWord;
use super::{GATHER, Pace, RETRY};
use crate::capture::journal::{Batch, Journal, JournalError, Reader};

/// How often a thread that is behind looks whether there is room again.
const LOOK: Duration = Duration::from_millis(20);

/// The thread after this one has gone.
pub(super) struct Gone;

pub(super) struct Digesting {
    pub(super) batches: Receiver<Batch>,
    pub(super) happenings: Sender<Happening>,
    pub(super) last_word: LastWord,
    pub(super) journal: Journal,
    /// Where the journal's files are.
    pub(super) directory: PathBuf,
    pub(super) pins: Arc<Pins>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) pace: Pace,
    pub(super) progress: Arc<Progress>,
    pub(super) digest: Digest,
    pub(super) place: Place,
}

/// How far the records are digested.
#[derive(Default)]
pub(super) struct Place {
    /// The batch digested last.
    done: u64,
    /// The file to read on from.
    file: u64,
    /// The batch that was handed over last.
    newest: u64,
    /// Where batches are read back, while behind.
    behind: Option<Option<Reader>>,
}

impl Digesting {
    /// Works until the journal is closed, or until nobody takes what is made here. Then the batches
    /// have no reader any more and the journal refuses: nothing is captured that nobody will seal.
    pub(super) fn run(mut self) {
        if matches!(self.digest_all(), Err(Gone)) {
            tracing::error!("what is captured cannot be sealed any more: the gateway stops");
            return;
        }
        if let Err(error) = self.journal.ended_well() {
            // The next start reads what is on disk, which may be more than was handed over here.
            tracing::error!(%error, "open exchanges are sealed at the next start");
            return;
        }
        let _ = self.say_goodbye();
    }

    fn digest_all(&mut self) -> Result<(), Gone> {
        let mut heartbeat = Instant::now() + self.pace.heartbeat;
        let mut progress = Instant::now() + self.pace.progress;
        let mut ended = false;
        loop {
            if ended && self.place.behind.is_none() {
                return Ok(());
            }
            let mut wait = heartbeat.min(progress).saturating_duration_since(Instant::now());
            if self.place.behind.is_some() {
                wait = wait.min(LOOK);
            }
            if ended {
                std::thread::sleep(wait);
            } else {
                match self.batches.recv_timeout(wait) {
                    Ok(batch) => {
                        self.handed_over(batch)?;
                        while let Ok(batch) = self.batches.try_recv() {
                            self.handed_over(batch)?;
                        }
                        std::thread::sleep(GATHER);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => ended = true,
                }
            }
            self.catch_up()?;
            if Instant::now() >= heartbeat {
                let (highest, open) = (self.digest.highest(), self.digest.open());
                self.send(Happening::Heartbeat { highest, open, closing: false })?;
                heartbeat = Instant::now() + self.pace.heartbeat;
            }
            if Instant::now() >= progress {
                self.tell_progress()?;
                progress = Instant::now() + self.pace.progress;
            }
        }
    }

    /// Only what was handed over, and so is on disk, is told: what the leaf of the exchange says in
    /// the end begins with it, also after a crash.
    fn tell_progress(&mut self) -> Result<(), Gone> {
        // While the log fails, nothing may pile up: the next time says it all.
        if self.place.behind.is_some() || !self.backlog.may_tell() {
            return Ok(());
        }
        let (entries, unchanged) = self.digest.progress(self.pace.progress);
        if entries.is_empty() && unchanged.is_empty() {
            self.backlog.has_told();
            return Ok(());
        }
        self.send(Happening::Progress { entries, unchanged })
    }

    fn handed_over(&mut self, batch: Batch) -> Result<(), Gone> {
        self.place.newest = batch.sequence;
        if self.place.file == 0 {
            self.place.file = batch.file;
        }
        if self.place.behind.is_none() && self.backlog.is_full() {
            tracing::warn!("sealing and storing are behind: what follows waits in the journal");
            self.place.behind = Some(None);
        }
        if self.place.behind.is_some() {
            return Ok(());
        }
        self.take(&batch)
    }

    /// Reads back what was dropped, as long as there is room for what it makes.
    fn catch_up(&mut self) -> Result<(), Gone> {
        while self.place.behind.is_some() && !self.backlog.is_full() {
            if self.place.done >= self.place.newest {
                tracing::info!("sealing has caught up with the journal");
                self.place.behind = None;
                break;
            }
            match self.read_back() {
                Ok(Some(batch)) => self.take(&batch)?,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot read the journal back; trying again");
                    self.place.behind = Some(None);
                    std::thread::sleep(RETRY);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next batch that is not digested yet. It was handed over before, so it is on disk.
    fn read_back(&mut self) -> Result<Option<Batch>, JournalError> {
        let reader = match self.place.behind.take().flatten() {
            Some(reader) => reader,
            None => Reader::follow(&self.directory, self.place.file),
        };
        let reader = self.place.behind.insert(Some(reader)).as_mut();
        let Some(reader) = reader else { return Ok(None) };
        while let Some(batch) = reader.next()? {
            if batch.sequence > self.place.done {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn take(&mut self, batch: &Batch) -> Result<(), Gone> {
        let mut events = Vec::new();
        self.digest.batch(batch, |event| events.push(event));
        // Held before anybody hears of them, or they could be let go of first.
        self.pins.hold_all(self.digest.begun());
        self.place.done = batch.sequence;
        self.place.file = batch.file;
        self.tell(events)?;
        self.pins.reading(batch.file, self.digest.under_way());
        Ok(())
    }

    /// What is still open is over, and so is the boot.
    fn say_goodbye(&mut self) -> Result<(), Gone> {
        let mut events = Vec::new();
        self.digest.forget_unheard();
        self.digest.interrupt(|event| events.push(event));
        self.tell(events)?;
        self.last_word.take();
        let highest = self.digest.highest();
        self.send(Happening::Heartbeat { highest, open: Ranges::default(), closing: true })
    }

    fn tell(&self, mut events: Vec<Event>) -> Result<(), Gone> {
        // Counted before the log can count them off again.
        let (exchanges, bytes) = Event::weigh(&mut events);
        self.backlog.add(bytes);
        self.progress.digested(exchanges);
        for event in events {
            self.send(match event {
                Event::Exchange(digested) => Happening::Exchange(digested),
                Event::RunOpened { run, previous } => Happening::RunOpened { run, previous },
                Event::RunEnded(run, reason) => Happening::RunEnded(run, reason),
                Event::Coverage(said) => Happening::Coverage(said),
                Event::Connection(connection) => Happening::Connection(connection),
                Event::Bypass(bypass) => Happening::Bypass(bypass),
                Event::DnsQueries(queries) => Happening::DnsQueries(queries),
                Event::Gap(gap) => {
                    self.progress.gap(gap.count);
                    Happening::Gap(gap)
                }
            })?;
        }
        Ok(())
    }

    fn send(&self, happening: Happening) -> Result<(), Gone> {
        self.happenings.send(happening).map_err(|_| Gone)
    }
}
