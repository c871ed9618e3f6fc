//! The observer: the gateway's end of the loader.
//!
//! In: questions from any task. Out: answers, in the order of the questions, and word of what went
//! around. Fails with what the loader said; once it is gone every question fails, and what it watched
//! is watched no more, except what is pinned. Dropping this ends the loader.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sealtap_common::kernel::Flow;
use sealtap_common::leaf::CoverageMode;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::around::Around;
use super::message::{Answer, Armed, Bypass, Counted, Process, Question, Told, read, write};
use super::{Found, Instance, Loader, OwnCgroup};

/// How long it may take to answer, and between two looks whether it has.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(1);

/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// Ways around that are kept to be told; further ones are counted all the same.
const KEPT: usize = 1024;

/// Why the kernel does not observe.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The process could not be started or talked to.
    #[error("the loader of the kernel programs cannot be had: {0}")]
    Process(#[from] io::Error),
    /// It said why not.
    #[error("the kernel cannot watch: {0}")]
    Refused(String),
    /// It is there and does not answer.
    #[error(
        "the loader of the kernel programs has not answered for {0:?}: what it counted is unknown"
    )]
    Silent(Duration),
    /// It is gone.
    #[error("the loader of the kernel programs has ended: nothing is watched any more")]
    Gone,
}

/// Whoever waits for an answer, oldest first.
type Waiting = Arc<Mutex<Asked>>;

/// What hears of each way around as it is told.
type Hears = Box<dyn Fn(&Bypass) + Send>;

#[derive(Default)]
struct Asked {
    waiting: VecDeque<oneshot::Sender<Answer>>,
    gone: bool,
    around: Vec<Bypass>,
    told: Option<Hears>,
    /// What went around since the last answer with numbers, and what that answer counted.
    fresh: Around,
    counted: Around,
}

/// A loader with its programs attached.
pub struct Observer {
    socket: Mutex<UnixStream>,
    asked: Waiting,
    armed: Armed,
    process: Child,
    /// Names the process also when it has been waited for by whoever waits for all children.
    descriptor: Option<OwnedFd>,
    reading: Option<JoinHandle<()>>,
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
        let reading = std::thread::Builder::new().name("loader".to_owned());
        let reading = reading.spawn(move || follow(&mut reader, &heard))?;
        let socket = Mutex::new(socket);
        let descriptor = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).ok();
        Ok(Self { socket, asked, armed, process, descriptor, reading: Some(reading) })
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
        self.watch_cgroup(&Found { id, path, levels }, port, resolver, mode)
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
        let Found { id: cgroup, levels, .. } = *cgroup;
        let deny = mode == CoverageMode::Enforce;
        self.done(&Question::Watch { cgroup, levels, port, deny, resolver })
    }

    /// Leaves a cgroup alone.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn unwatch(&self, cgroup: u64) -> Result<(), ObserverError> {
        self.done(&Question::Unwatch { cgroup })
    }

    /// Has the programs stay when loader and gateway are gone, until the pins of `instance` are taken away.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn pin(&self, instance: &Instance) -> Result<(), ObserverError> {
        self.done(&Question::Pin { folder: instance.folder() })
    }

    /// Takes the pins away; the programs stay as long as the loader.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn unpin(&self) -> Result<(), ObserverError> {
        self.done(&Question::Unpin)
    }

    fn done(&self, question: &Question) -> Result<(), ObserverError> {
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
        match self.ask_blocking(&Question::LeaveAlone(places))? {
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
        match self.ask_blocking(&Question::Count)? {
            Answer::Counted(counted) => Ok(*counted),
            other => Err(unexpected(other)),
        }
    }

    /// Who made a connection; none where the process is gone.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub async fn look(&self, flow: &Flow) -> Result<Option<Process>, ObserverError> {
        let (process, connected) = (flow.process, flow.connected);
        let answer = self.ask(&Question::Look { process, connected })?;
        match answer.await.map_err(|_| ObserverError::Gone)? {
            Answer::Process(process) => Ok(*process),
            other => Err(unexpected(other)),
        }
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

    fn ask_blocking(&self, question: &Question) -> Result<Answer, ObserverError> {
        let mut answer = self.ask(question)?;
        let deadline = Instant::now() + PATIENCE;
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

    fn ask(&self, question: &Question) -> Result<oneshot::Receiver<Answer>, ObserverError> {
        let (answer, answered) = oneshot::channel();
        // Held for both: answers come in the order of the questions.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut asked = lock(&self.asked);
            if asked.gone {
                return Err(ObserverError::Gone);
            }
            asked.waiting.push_back(answer);
        }
        write(&mut *socket, question).map_err(|_| ObserverError::Gone)?;
        Ok(answered)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let socket = self.socket.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The loader reads the end of it, detaches and ends.
        let _ = socket.shutdown(std::net::Shutdown::Both);
        if let Some(descriptor) = &self.descriptor {
            end(descriptor);
        }
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        // It may have been waited for by whoever waits for all children.
        let _ = self.process.wait();
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

fn follow(socket: &mut UnixStream, asked: &Waiting) {
    while let Ok(told) = read(socket) {
        match told {
            Told::Answer(answer) => {
                let mut asked = lock(asked);
                if let Answer::Counted(_) = answer {
                    // Whatever was told before is in these numbers, and nothing that follows.
                    let fresh = std::mem::take(&mut asked.fresh);
                    asked.counted.append(fresh);
                }
                let waiting = asked.waiting.pop_front();
                drop(asked);
                // Whoever asked may be gone.
                let _ = waiting.map(|waiting| waiting.send(answer));
            }
            Told::Bypass(bypass) => {
                let mut asked = lock(asked);
                if keep(&mut asked.around, &bypass) {
                    let Bypass { destination, process, executable, way, denied, .. } = &bypass;
                    let message = "went around the gateway";
                    tracing::warn!(%destination, process, executable, way, denied, "{message}");
                }
                if let Some(hears) = &asked.told {
                    hears(&bypass);
                }
                asked.fresh.add(bypass);
            }
            Told::Armed(_) => break,
        }
    }
    let mut asked = lock(asked);
    asked.gone = true;
    asked.waiting.clear();
}

/// Keeps one to be told at the end; whether it is news. Packets of a socket that was told of already
/// are none.
fn keep(around: &mut Vec<Bypass>, bypass: &Bypass) -> bool {
    let known = |other: &&mut Bypass| match bypass.packet {
        true => {
            let same = other.destination == bypass.destination && other.way == bypass.way;
            other.cookie == bypass.cookie && (!other.packet || same)
        }
        false => false,
    };
    if let Some(other) = around.iter_mut().find(known) {
        if other.packet {
            other.times = other.times.saturating_add(bypass.times);
        }
        return false;
    }
    if around.len() < KEPT {
        around.push(bypass.clone());
        return true;
    }
    false
}

fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(answer: Answer) -> ObserverError {
    match answer {
        Answer::Failed(why) => ObserverError::Refused(why),
        _ => ObserverError::Gone,
    }
}
