//! The observer: the gateway's end of the loader.
//!
//! In: questions from any task. Out: answers, in the order of the questions, and word of what went
//! around; who made a connection comes when it is known. Nobody who moves traffic waits for the loader to
//! read: a thread writes the questions, and where too many wait, who connected is not asked for. Fails with what the loader said; once it is gone every question fails, and what it watched
//! is watched no more, except what is pinned. Dropping this ends the loader.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sealtap_common::kernel::Flow;
use sealtap_common::leaf::CoverageMode;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::around::Around;
use super::hearing::{Waiting, ask_all, follow, lock};
use super::message::{Answer, Armed, Bypass, Counted, Process, Question};
use super::names::Asked as Names;
use super::unobserved::ObserverError;
use super::unread::Unread;
use super::{Found, Instance, Loader, OwnCgroup};

/// How long it may take to answer, and between two looks whether it has.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(1);

/// Questions that wait for the loader to read them.
const QUEUE: usize = 1024;

/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// A loader with its programs attached.
pub struct Observer {
    socket: UnixStream,
    /// What the thread writes that talks to the loader; none at the end.
    questions: Option<SyncSender<Question>>,
    asked: Waiting,
    armed: Armed,
    process: Child,
    /// Names the process also when it has been waited for by whoever waits for all children.
    descriptor: Option<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Observer {
    /// Starts the loader and waits until it is armed; with a ring of so many bytes for its events, or
    /// of its own choice.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn start(ring: Option<u32>) -> Result<Self, ObserverError> {
        Self::of(Loader::start(ring)?)
    }

    /// Listens to a loader that is armed.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn of(loader: Loader) -> Result<Self, ObserverError> {
        let Loader { socket, process, armed } = loader;
        let mut reader = socket.try_clone()?;
        let asked = Waiting::default();
        let heard = Arc::clone(&asked);
        let descriptor = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).ok();
        let (questions, to_ask) = sync_channel(QUEUE);
        let questions = Some(questions);
        let mut writer = socket.try_clone()?;
        let threads = Vec::new();
        // From here on whatever fails ends the loader.
        let mut observer = Self { socket, questions, asked, armed, process, descriptor, threads };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        observer.threads.push(thread("loader").spawn(move || follow(&mut reader, &heard))?);
        observer.threads.push(thread("questions").spawn(move || ask_all(&mut writer, &to_ask))?);
        Ok(observer)
    }

    /// Has `hears` told of each way around from now on; it must not wait for anything.
    pub fn tell(&self, hears: impl Fn(&Bypass) + Send + 'static) {
        lock(&self.asked).told = Some(Box::new(hears));
    }

    /// What is attached.
    #[must_use]
    pub fn armed(&self) -> &Armed {
        &self.armed
    }

    /// The loader's process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Redirects what `cgroup` sends to the listener at `port`; what cannot be redirected is counted, and
    /// denied where the mode is to enforce.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn watch(
        &self,
        cgroup: &OwnCgroup,
        port: u16,
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<(), ObserverError> {
        let (id, levels, path) = (cgroup.id(), cgroup.levels(), String::new());
        self.watch_by_id(&Found { id, path, levels }, (port, true), resolver, mode)
    }

    /// The same for a cgroup that somebody else made.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn watch_cgroup(
        &self,
        cgroup: &Found,
        port: u16,
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<(), ObserverError> {
        self.watch_by_id(cgroup, (port, false), resolver, mode)
    }

    /// The same for one that nobody is in before the canary is sent.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn watch_canary(
        &self,
        cgroup: &Found,
        port: u16,
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<(), ObserverError> {
        // Before anything of it is told.
        lock(&self.asked).canaries.insert(cgroup.id);
        self.watch_by_id(cgroup, (port, true), resolver, mode)
    }

    fn watch_by_id(
        &self,
        cgroup: &Found,
        (port, own): (u16, bool),
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<(), ObserverError> {
        let Found { id: cgroup, levels, .. } = *cgroup;
        let deny = mode == CoverageMode::Enforce;
        self.done(Question::Watch { cgroup, levels, port, deny, resolver, own })
    }

    /// Leaves a cgroup alone.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn unwatch(&self, cgroup: u64) -> Result<(), ObserverError> {
        self.done(Question::Unwatch { cgroup })
    }

    /// Has the programs stay when loader and gateway are gone, until the pins of `instance` are taken away.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn pin(&self, instance: &Instance) -> Result<(), ObserverError> {
        self.done(Question::Pin { folder: instance.folder() })
    }

    /// Takes the pins away; the programs stay as long as the loader.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn unpin(&self) -> Result<(), ObserverError> {
        self.done(Question::Unpin)
    }

    /// Takes the pins away of a gateway that is gone.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn take_away(&self, instance: &Instance) -> Result<(), ObserverError> {
        self.done(Question::TakeAway { folder: instance.folder() })
    }

    fn done(&self, question: Question) -> Result<(), ObserverError> {
        match self.ask_blocking(question)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Leaves these addresses on the machine alone, and no others; a port of zero for all of one.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn leave_alone(&self, places: Vec<SocketAddr>) -> Result<(), ObserverError> {
        match self.ask_blocking(Question::LeaveAlone(places))? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// What was counted up to now; not from an asynchronous task.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn count(&self) -> Result<Counted, ObserverError> {
        match self.ask_blocking(Question::Count)? {
            Answer::Counted(counted) => Ok(*counted),
            other => Err(unexpected(other)),
        }
    }

    /// Who made a connection; none where the process is gone.
    ///
    /// # Errors
    ///
    /// [`ObserverError`]; nobody waits for a loader that is busy.
    pub async fn look(&self, flow: &Flow) -> Result<Option<Process>, ObserverError> {
        let Flow { process, connected, scope, .. } = *flow;
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut asked = lock(&self.asked);
            if asked.gone {
                return Err(ObserverError::Gone);
            }
            asked.looked = asked.looked.saturating_add(1);
            let number = asked.looked;
            self.send(Question::Look { number, process, connected, scope })?;
            asked.looks.insert(number, answer);
            number
        };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(answer) => answer.map(|process| *process).map_err(|_| ObserverError::Gone),
            Err(_) => {
                lock(&self.asked).looks.remove(&number);
                Err(ObserverError::Silent(PATIENCE))
            }
        }
    }

    /// What of processes could not be read though they were there, and how often.
    #[must_use]
    pub fn unread(&self) -> Vec<(Unread, u64)> {
        lock(&self.asked).unread.all()
    }

    /// What went around so far, the first of it.
    #[must_use]
    pub fn bypasses(&self) -> Vec<Bypass> {
        lock(&self.asked).around.clone()
    }

    /// What went around and was counted by the numbers that were given last, since this was asked last.
    #[must_use]
    pub fn went_around(&self) -> Around {
        std::mem::take(&mut lock(&self.asked).counted)
    }

    /// What was asked of the resolver and was counted by the numbers that were given last, since this was
    /// asked last; `all` where no numbers are to come.
    #[must_use]
    pub fn asked(&self, all: bool) -> Names {
        let mut asked = lock(&self.asked);
        let mut names = std::mem::take(&mut asked.names);
        if all {
            names.append(std::mem::take(&mut asked.fresh_names));
        }
        names
    }

    fn ask_blocking(&self, question: Question) -> Result<Answer, ObserverError> {
        let deadline = Instant::now() + PATIENCE;
        let mut answer = loop {
            match self.ask(question.clone()) {
                Err(ObserverError::Busy) if Instant::now() >= deadline => {
                    return Err(ObserverError::Silent(PATIENCE));
                }
                Err(ObserverError::Busy) => std::thread::sleep(PAUSE),
                asked => break asked?,
            }
        };
        loop {
            match answer.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(TryRecvError::Closed) => return Err(ObserverError::Gone),
                Err(TryRecvError::Empty) if Instant::now() >= deadline => {
                    return Err(ObserverError::Silent(PATIENCE));
                }
                Err(TryRecvError::Empty) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn ask(&self, question: Question) -> Result<oneshot::Receiver<Answer>, ObserverError> {
        let (answer, answered) = oneshot::channel();
        // Held for both: answers come in the order of the questions.
        let mut asked = lock(&self.asked);
        if asked.gone {
            return Err(ObserverError::Gone);
        }
        self.send(question)?;
        asked.waiting.push_back(answer);
        Ok(answered)
    }

    /// Has a question written, without waiting for it.
    fn send(&self, question: Question) -> Result<(), ObserverError> {
        let questions = self.questions.as_ref().ok_or(ObserverError::Gone)?;
        questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => ObserverError::Busy,
            TrySendError::Disconnected(_) => ObserverError::Gone,
        })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // The loader reads the end of it, detaches and ends; the threads find it as well.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        drop(self.questions.take());
        if let Some(descriptor) = &self.descriptor {
            end(descriptor);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // It may have been waited for by whoever waits for all children; and not even SIGKILL ends each.
        let deadline = Instant::now() + ENDING;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                return tracing::error!("the loader does not end although it was killed");
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Waits for the end of a process that has been told to; one that does not hear it is killed.
fn end(process: &OwnedFd) {
    let patience = Timespec { tv_sec: ENDING.as_secs().cast_signed(), tv_nsec: 0 };
    // Readable once it has ended.
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience));
    if !matches!(ended, Ok(1..)) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

fn unexpected(answer: Answer) -> ObserverError {
    match answer {
        Answer::Failed(why) => ObserverError::Refused(why),
        _ => ObserverError::Gone,
    }
}
