//! The canary: a probe of one's own that tries each way out, to see what becomes of it.
//!
//! ```text
//!   gateway ── socket pair ──▶ canary (started while there are privileges)
//!   [`Canary`]                 holds a target, a listener to be led to, and a cgroup of its own
//!                              ├── probe, outside: the control, which must reach the target
//!                              └── probe, in the cgroup: led, denied, or around
//! ```
//!
//! In: an observer that watches. Out: what became of every registered way. Its target is on the loopback:
//! nothing leaves the machine. Fails without a word about coverage: a canary that could not be sent says
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
use std::time::Duration;

use sealtap_common::leaf::{Canary as Tried, CanaryOutcome, CoverageMode, Trial};
use serde::{Deserialize, Serialize};

use self::ways::Answer;
use super::message::{read, write};
use super::observer::{Observer, ObserverError};
use super::scope::Found;

/// How long the canary may take for one step.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no canary.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The process could not be started or talked to.
    #[error("the canary cannot be had: {0}")]
    Process(#[from] io::Error),
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
    Ready { id: u64, levels: u32, port: u16 },
    /// What became of it: the control, then the watched one; and how many connections were led to it.
    Tried { control: Vec<Answer>, watched: Vec<Answer>, led: u64 },
    /// It cannot.
    Failed(String),
}

/// What it is told: to try once.
#[derive(Debug, Serialize, Deserialize)]
struct Go;

/// A canary that can be sent.
pub struct Canary {
    socket: UnixStream,
    process: Child,
    place: Found,
    port: u16,
    /// Whether it was told to try and has not answered: its cgroup is watched.
    out: bool,
}

impl Canary {
    /// Starts its process, which keeps of the privileges that this one has now what it needs.
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
        let mut socket = own;
        socket.set_read_timeout(Some(PATIENCE))?;
        match read(&mut socket)? {
            Says::Ready { id, levels, port } => {
                let place = Found { id, levels, path: "the canary's own".to_owned() };
                Ok(Self { socket, process, place, port, out: false })
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
        Ok(Ending(self.socket.try_clone()?))
    }

    /// The cgroup that its probes are watched in.
    #[must_use]
    pub fn cgroup(&self) -> u64 {
        self.place.id
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
            if let Err(error) = write(&mut self.socket, &Go) {
                self.back(observer);
                return Err(error.into());
            }
        }
        let says = read(&mut self.socket);
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

/// Whether an answer is still to come.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
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

impl Drop for Canary {
    fn drop(&mut self) {
        // It reads the end of it, and takes its cgroup away.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // It may have been waited for by whoever waits for all children.
        let _ = self.process.wait();
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
