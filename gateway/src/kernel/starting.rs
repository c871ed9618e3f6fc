//! The loader's start: a process that is armed, and that nobody talks to yet.
//!
//! In: this process's rights, which the loader begins with. Out: its end of the socket and what it says
//! is attached. To have one starts no thread, so that a process with one thread still has one. Fails with
//! what the loader said.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::message::{Armed, Told, read};
use super::observer::ObserverError;

/// How long the loader may take until it is armed.
const ARMING: Duration = Duration::from_secs(20);

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
        let process = command.spawn()?;
        drop(command);
        let mut socket = own;
        socket.set_read_timeout(Some(ARMING))?;
        let armed = match read(&mut socket) {
            Ok(Told::Armed(Ok(armed))) => armed,
            Ok(Told::Armed(Err(why))) => return Err(ObserverError::Refused(why)),
            Ok(_) => return Err(ObserverError::Gone),
            Err(error) => return Err(error.into()),
        };
        socket.set_read_timeout(None)?;
        Ok(Self { socket, process, armed })
    }
}
