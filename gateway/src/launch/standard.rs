//! Standard: input, output and error of a command behind the fence, where the caller's are unix sockets.
//!
//! In: this process's own three. Out: pipes in the place of those, and threads that carry bytes between the two:
//! by a unix socket whoever is at its other end could hand the command a connection of their own. A service
//! manager's journal is such a socket, and so are the three that Node.js starts a program with. Fails where
//! one of the three is nothing that a command may have at all.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

use crate::kernel::{Standard, standard};

/// What is carried at once: as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// How long nothing may be taken, or come, before the rest is given up; how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// What the command gets in the place of what is not for it.
#[derive(Debug, Default)]
pub(super) struct Given([Option<OwnedFd>; 3]);

/// Carries what the command writes.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    threads: Vec<JoinHandle<()>>,
    /// Bytes so far.
    carried: Arc<AtomicU64>,
}

/// Looks at the three, and has pipes in the place of sockets.
pub(super) fn begin() -> Result<(Given, Carriers), String> {
    let (mut given, mut carriers) = (Given::default(), Carriers::default());
    let own: [&dyn AsFd; 3] = [&io::stdin(), &io::stdout(), &io::stderr()];
    for ((number, own), given) in (0..).zip(own).zip(&mut given.0) {
        if standard(number).map_err(|unfit| unfit.to_string())? == Standard::Piped {
            let made = carriers.between(number, own.as_fd());
            *given =
                Some(made.map_err(|error| format!("no pipe for descriptor {number}: {error}"))?);
        }
    }
    Ok((given, carriers))
}

impl Given {
    /// Has the command begin with them.
    pub(super) fn to(self, command: &mut Command) {
        let [input, output, error] = self.0;
        input.map(|pipe| command.stdin(Stdio::from(pipe)));
        output.map(|pipe| command.stdout(Stdio::from(pipe)));
        error.map(|pipe| command.stderr(Stdio::from(pipe)));
    }
}

impl Carriers {
    /// The command's end of a pipe to or from this socket.
    fn between(&mut self, number: RawFd, socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let socket = File::from(socket.try_clone_to_owned()?);
        let (from, into) = io::pipe()?;
        let (from, into) = (OwnedFd::from(from), OwnedFd::from(into));
        let carrier = thread::Builder::new().name("standard".to_owned());
        if number == 0 {
            // It waits for the caller, and so is not waited for.
            let alone = AtomicU64::default();
            carrier.spawn(move || drop(carry(socket, File::from(into), &alone)))?;
            return Ok(from);
        }
        let carried = Arc::clone(&self.carried);
        let carrier = carrier.spawn(move || drop(carry(File::from(from), socket, &carried)))?;
        self.threads.push(carrier);
        Ok(into)
    }

    /// Waits until all is where it was to go, as the command itself would have; false where it is not: nobody takes it,
    /// or somebody whom the command handed its end holds that open.
    pub(super) fn finish(self) -> bool {
        self.within(PATIENCE)
    }

    fn within(self, patience: Duration) -> bool {
        let (mut carried, mut since) = (self.carried.load(Ordering::Acquire), Instant::now());
        while self.threads.iter().any(|carrier| !carrier.is_finished()) {
            let now = self.carried.load(Ordering::Acquire);
            if now != carried {
                (carried, since) = (now, Instant::now());
            }
            if since.elapsed() >= patience {
                return false;
            }
            thread::park_timeout(PAUSE);
        }
        true
    }
}

/// Until there is no more, or nobody to take it. The caller may have left its end such that nothing waits.
fn carry(mut from: File, mut into: File, carried: &AtomicU64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) => {
                wait(&error, &from, PollFlags::IN)?;
                continue;
            }
        };
        let mut left = piece.get(..length).unwrap_or_default();
        while !left.is_empty() {
            match into.write(left) {
                Ok(written) => {
                    left = left.get(written..).unwrap_or_default();
                    let written = u64::try_from(written).unwrap_or_default();
                    carried.fetch_add(written, Ordering::AcqRel);
                }
                Err(error) => wait(&error, &into, PollFlags::OUT)?,
            }
        }
    }
}

/// Until it goes on, where it only did not wait.
fn wait(error: &io::Error, file: &File, until: PollFlags) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            let mut ready = [PollFd::new(file, until)];
            retry_on_intr(|| poll(&mut ready, None))?;
            Ok(())
        }
        kind => Err(kind.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// More than either holds, to an end that does not wait.
    #[test]
    fn all_that_is_written_comes_out() {
        let (own, mut other) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let mut carriers = Carriers::default();
        let mut into = File::from(carriers.between(1, own.as_fd()).unwrap());
        drop(own);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let writes = {
            let sent = sent.clone();
            thread::spawn(move || into.write_all(&sent).unwrap())
        };
        let mut came = vec![0; sent.len()];
        other.read_exact(&mut came).unwrap();
        writes.join().unwrap();
        assert!(carriers.finish());
        assert!(came == sent);
        assert_eq!(other.read(&mut came).unwrap(), 0, "nobody holds it any more");
    }

    /// Nobody is kept waiting by whoever holds an end open, or takes nothing; as long as something is taken, all is.
    #[test]
    fn what_does_not_end_is_not_waited_for() {
        let begun = || {
            let (own, other) = UnixStream::pair().unwrap();
            let mut carriers = Carriers::default();
            let into = File::from(carriers.between(1, own.as_fd()).unwrap());
            (carriers, into, other)
        };
        let short = Duration::from_millis(50);
        let (carriers, _held, _other) = begun();
        assert!(!carriers.within(short), "it is held open");
        let (carriers, into, _deaf) = begun();
        thread::spawn(move || { &into }.write_all(&vec![0; 8 << 20]));
        assert!(!carriers.within(short), "nobody takes it");

        let (carriers, mut into, mut other) = begun();
        let taken = thread::spawn(move || {
            let (mut piece, mut all) = (vec![0; PIECE], 0);
            loop {
                match other.read(&mut piece).unwrap() {
                    0 => return all,
                    length => all += length,
                }
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        thread::spawn(move || into.write_all(&vec![0; 4 << 20]).unwrap());
        assert!(carriers.within(PATIENCE));
        assert_eq!(taken.join().unwrap(), 4 << 20);
    }
}
