//! The loader's start: a process that is armed, and that nobody talks to yet.
//!
//! In: this process's rights, which the loader begins with. Out: its end of the socket and what it says
//! is attached. To have one starts no thread, so that a process with one thread still has one. Fails with
//! what the loader said.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::message::{Armed, Told, is_late, read};
use super::unobserved::ObserverError;

/// How long the loader may take until it is armed.
const ARMING: Duration = Duration::from_secs(20);

/// How long one that is not is waited for, and how often it is looked whether it ended.
const ENDING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// A loader that is armed, and that nobody talks to yet. To have one starts no thread.
pub struct Loader {
    pub(super) socket: UnixStream,
    pub(super) process: Child,
    pub(super) armed: Armed,
}

impl Loader {
    /// Starts the process and waits until it is armed; with a ring of so many bytes for its events, or of
    /// its own choice.
    ///
    /// # Errors
    ///
    /// [`ObserverError`].
    pub fn start(ring: Option<u32>) -> Result<Self, ObserverError> {
        let (own, other) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.args(["kernel", "loader"]);
        command.args(ring.map(|ring| format!("--ring={ring}")));
        command.env_clear().current_dir("/");
        command.stdin(OwnedFd::from(other)).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C is for the command; the loader ends when the gateway does.
        command.process_group(0);
        let mut process = command.spawn()?;
        drop(command);
        let mut socket = own;
        let armed = hear(&mut socket, ARMING).inspect_err(|_| end(&mut process, &socket))?;
        Ok(Self { socket, process, armed })
    }
}

/// Ends one that is not armed: nothing is pinned yet, so what it attached goes with it. It may be gone, and waited
/// for by whoever waits for all; and where the system keeps it, it ends once that lets go.
fn end(process: &mut Child, socket: &UnixStream) {
    let _ = socket.shutdown(std::net::Shutdown::Both);
    let _ = process.kill();
    let deadline = Instant::now() + ENDING;
    while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
}

/// Waits for so long until it says that it is armed.
fn hear(socket: &mut UnixStream, patience: Duration) -> Result<Armed, ObserverError> {
    socket.set_read_timeout(Some(patience))?;
    let armed = match read(socket) {
        Ok(Told::Armed(Ok(armed))) => armed,
        Ok(Told::Armed(Err(why))) => return Err(ObserverError::Refused(why)),
        Ok(_) => return Err(ObserverError::Gone),
        Err(error) if is_late(&error) => return Err(ObserverError::Slow(patience)),
        Err(error) => return Err(error.into()),
    };
    socket.set_read_timeout(None)?;
    Ok(armed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system's own word for it ("temporarily unavailable") says neither who is waited for nor what to do.
    #[test]
    fn a_loader_that_is_slow_is_said_to_be() {
        let (mut own, loader) = UnixStream::pair().unwrap();
        let error = hear(&mut own, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, ObserverError::Slow(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("within 20ms") && said.contains("start again"), "{said}");
        // One that is gone is not slow.
        drop(loader);
        let error = hear(&mut own, Duration::from_millis(20)).unwrap_err();
        assert!(!matches!(error, ObserverError::Slow(_)), "{error:?}");
    }
}
