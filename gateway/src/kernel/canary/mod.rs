//! The canary: a probe of one's own that tries each way out, to see what becomes of it.
//!
//! ```text
//!   gateway ── socket pair ──▶ canary (started while there are privileges)
//!   [`Canary`]                 holds a target, a listener to be led to, and a cgroup of its own
//!                              ├── probe, outside: the control, which must reach the target
//!                              └── probe, in the cgroup: led, denied, or around
//! ```
//!
//! In: an observer that watches, of a loader that was started after the canary. Out: what became of every
//! registered way. Its target is on the loopback, and at the other end of a device of its own for frames, which
//! the loader finds among the others: nothing leaves the machine. Where there is no such device, or no filter
//! stands there, frames are not tried, and that is said. Fails without a word about coverage: a canary that could not be sent says
//! nothing.

mod probe;
mod process;
mod ways;

pub use self::probe::run as run_probe;
pub use self::process::run as run_canary;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sealtap_common::leaf::{Canary as Tried, CanaryOutcome, CoverageMode, Trial};
use serde::{Deserialize, Serialize};

use self::ways::Answer;
use super::message::{is_late, read, write};
use super::observer::Observer;
use super::scope::Found;
use super::unobserved::ObserverError;
use super::uplinks::UPLINK;

/// How long the canary may take for one step.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to end, and between two looks whether it has.
const ENDING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no canary.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The process could not be started or talked to.
    #[error("the canary cannot be had: {0}")]
    Process(#[from] io::Error),
    /// It does not begin.
    #[error(
        "the canary was not ready within {PATIENCE:?}, and is not waited for: start again when the machine \
         is less busy"
    )]
    Slow,
    /// It said why not.
    #[error("the canary cannot be sent: {0}")]
    Refused(String),
    /// It was sent and has not answered.
    #[error("the canary has not answered for {PATIENCE:?}: it is waited for on")]
    Late,
    /// The kernel does not watch it.
    #[error(transparent)]
    Observer(#[from] ObserverError),
}

/// What the canary's process says.
#[derive(Debug, Serialize, Deserialize)]
enum Says {
    /// Where it is, and the port that it is to be led to.
    Ready { id: u64, levels: u32, port: u16, device: Result<u32, String> },
    /// What became of it: the control, then the watched one; and how many connections were led to it.
    Tried { control: Vec<Answer>, watched: Vec<Answer>, led: u64 },
    /// It cannot.
    Failed(String),
}

/// What it is told: to try once, and whether frames are to be tried too.
#[derive(Debug, Serialize, Deserialize)]
struct Go {
    frames: bool,
}

/// A canary that can be sent.
pub struct Canary {
    running: Running,
    place: Found,
    port: u16,
    /// Whether it was told to try and has not answered: its cgroup is watched.
    out: bool,
    /// The device by which frames reach it, or why there is none.
    device: Result<u32, String>,
}

/// Its process, which is waited for.
struct Running {
    socket: UnixStream,
    process: Child,
}

impl Canary {
    /// Starts its process, which keeps of the privileges that this one has now what it needs. Before the
    /// loader: that puts its filter at the devices that are there.
    ///
    /// # Errors
    ///
    /// [`CanaryError`].
    pub fn start() -> Result<Self, CanaryError> {
        let (own, other) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.args(["kernel", "canary"]).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(other)).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0);
        let process = command.spawn()?;
        drop(command);
        let mut running = Running { socket: own, process };
        running.socket.set_read_timeout(Some(PATIENCE))?;
        let says = read(&mut running.socket).map_err(|error| match is_late(&error) {
            true => CanaryError::Slow,
            false => error.into(),
        });
        match says? {
            Says::Ready { id, levels, port, device } => {
                let place = Found { id, levels, path: "the canary's own".to_owned() };
                Ok(Self { running, place, port, out: false, device })
            }
            other => Err(unexpected(other)),
        }
    }

    /// What ends it from elsewhere, in the middle of whatever it does.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ending(&self) -> io::Result<Ending> {
        Ok(Ending(self.running.socket.try_clone()?))
    }

    /// The cgroup that its probes are watched in.
    #[must_use]
    pub fn cgroup(&self) -> u64 {
        self.place.id
    }

    /// Whether frames can be tried: by a device at whose end the filter stands that all others have too.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn frames(&self, observer: &Observer) -> Result<(), String> {
        let device = self.device.clone()?;
        let mut programs = observer.armed().programs.iter();
        match programs.any(|at| at.name == UPLINK && at.device == device) {
            true => Ok(()),
            false => Err("no filter stands at the device that leads to the canary".to_owned()),
        }
    }

    /// Has every way out tried. Its cgroup is watched while that takes place and no longer, so that where one other
    /// is watched, the programs need not look for it among two. What was counted stays counted.
    ///
    /// # Errors
    ///
    /// [`CanaryError`].
    pub fn send(
        &mut self,
        observer: &Observer,
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<Tried, CanaryError> {
        if !self.out {
            observer.watch_canary(&self.place, self.port, resolver, mode)?;
            self.out = true;
            let frames = self.frames(observer).is_ok();
            if let Err(error) = write(&mut self.running.socket, &Go { frames }) {
                self.back(observer);
                return Err(error.into());
            }
        }
        let says = read(&mut self.running.socket);
        if says.as_ref().is_err_and(is_late) {
            // It may still be there: what it tried would go around if it were not watched, and be taken for
            // what went around while it was.
            return Err(CanaryError::Late);
        }
        self.back(observer);
        match says? {
            Says::Tried { control, watched, led } => Ok(tried(&control, &watched, led)),
            other => Err(unexpected(other)),
        }
    }

    /// Nobody is in its cgroup any more. It is watched anew for the next one even where the loader did not say that
    /// it has heard this: it may have.
    fn back(&mut self, observer: &Observer) {
        self.out = false;
        if let Err(error) = observer.unwatch(self.place.id) {
            tracing::warn!(%error, "the canary's cgroup may still be watched");
        }
    }
}

/// What ends a canary.
pub struct Ending(UnixStream);

impl Ending {
    /// Ends it.
    pub fn end(self) {
        // One that is over already needs no end.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It finds the end of it, ends its probe, and takes its cgroup away. To kill it would leave that behind.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + ENDING;
        // It may have been waited for by whoever waits for all children.
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let process = self.process.id();
                return tracing::warn!(
                    process,
                    "the canary does not end by now: its cgroup and its device stay until it does"
                );
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn unexpected(says: Says) -> CanaryError {
    match says {
        Says::Failed(why) => CanaryError::Refused(why),
        _ => CanaryError::Refused("it speaks out of turn".to_owned()),
    }
}

fn tried(control: &[Answer], watched: &[Answer], led: u64) -> Tried {
    let trials = control.iter().zip(watched).map(|(control, watched)| trial(*control, *watched));
    let mut tried = Tried { led, trials: trials.collect() };
    // One of the canary before may have been slow: it is not this one's.
    tried.led = led.min(tried.most_led());
    tried
}

/// What both attempts by one way say together.
fn trial(control: Answer, watched: Answer) -> Trial {
    let reached = matches!(control, Answer::Reached | Answer::Sent);
    let outcome = match (control, watched) {
        _ if !reached => CanaryOutcome::Unavailable,
        (_, Answer::Led) => CanaryOutcome::Led,
        (_, Answer::Reached) | (Answer::Sent, Answer::Sent) => CanaryOutcome::Passed,
        (_, Answer::Denied) => CanaryOutcome::Denied,
        _ => CanaryOutcome::Unseen,
    };
    Trial { control: reached, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_a_way_that_the_control_could_not_go() {
        for watched in [Answer::Led, Answer::Reached, Answer::Sent, Answer::Denied, Answer::Failed]
        {
            for control in [Answer::Denied, Answer::Failed, Answer::Led] {
                assert_eq!(trial(control, watched).outcome, CanaryOutcome::Unavailable);
            }
            for control in [Answer::Reached, Answer::Sent] {
                let trial = trial(control, watched);
                assert!(trial.holds() && trial.control, "{control:?} {watched:?}");
            }
        }
    }

    #[test]
    fn only_what_arrived_or_could_not_answer_went_around() {
        let outcome = |control, watched| trial(control, watched).outcome;
        assert_eq!(outcome(Answer::Reached, Answer::Led), CanaryOutcome::Led);
        assert_eq!(outcome(Answer::Reached, Answer::Reached), CanaryOutcome::Passed);
        assert_eq!(outcome(Answer::Reached, Answer::Denied), CanaryOutcome::Denied);
        assert_eq!(outcome(Answer::Reached, Answer::Sent), CanaryOutcome::Unseen);
        assert_eq!(outcome(Answer::Reached, Answer::Failed), CanaryOutcome::Unseen);
        assert_eq!(outcome(Answer::Sent, Answer::Sent), CanaryOutcome::Passed);
        assert_eq!(outcome(Answer::Sent, Answer::Denied), CanaryOutcome::Denied);
    }
}
