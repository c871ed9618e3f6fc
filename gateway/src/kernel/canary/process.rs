//! The canary's process: a target that answers, a listener to be led to, a cgroup, and probes.
//!
//! In: a socket to the gateway as standard input. Out: what became of each way, as often as it is asked.
//! It inherits no other descriptor, keeps what raw sockets take and what joining its cgroup does, parses
//! nothing but its own probes' words and frames, and ends when the gateway does, and its cgroup and its
//! device with it.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use super::super::cgroup::OwnCgroup;
use super::super::device::{self, Device};
use super::super::loader::stay_with_the_gateway;
use super::super::message::{read, write};
use super::super::raw::{Joining, close_inherited, flow_of};
use super::super::system::vsock_listener;
use super::ways::{Answer, DIRECT, LED, Targets, sender};
use super::{Go, Says};
use crate::command::{Exit, Failure, Outcome};
use crate::privileges::keep_only;

/// How often a port is looked for that both families have free.
const TRIES: u32 = 32;

/// What there is to reach, and to be led to.
struct Held {
    targets: Targets,
    port: u16,
    led: Arc<AtomicU64>,
}

/// Serves the gateway at the other end of standard input until that is gone.
///
/// # Errors
///
/// Standard input is no socket: nobody but the gateway starts this.
pub fn run() -> Outcome {
    // Whatever the gateway's caller left open is none of the canary's.
    close_inherited().map_err(|error| Failure::of(&error))?;
    // Not for probes: by the end of it the gateway finds that this process is gone.
    let input =
        rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).map_err(|error| Failure::of(&error))?;
    let mut socket = UnixStream::from(input);
    if socket.peer_addr().is_err() {
        return Err(Failure::new("the canary is started by the gateway, on a socket to it")
            .fix("use `sealtap doctor --canary`")
            .exit_with(Exit::Usage));
    }
    stay_with_the_gateway().map_err(|error| Failure::of(&error))?;
    let name = format!("sealtap-canary-{}", std::process::id());
    let ready = OwnCgroup::new(&name).map_err(|error| error.to_string());
    let ready = ready.and_then(|cgroup| {
        // With a right that is given up next; it stays as long as it is held.
        let device = device::make().map_err(|error| {
            format!("no device can be had that leads to the canary alone: {error}")
        });
        // Before there are other threads.
        keep_only(needed()).map_err(|error| error.to_string())?;
        let (device, end) = match device {
            Ok(Device { index, end }) => (Ok(index), Some(end)),
            Err(why) => (Err(why), None),
        };
        Ok((cgroup, hold(end).map_err(|error| error.to_string())?, device))
    });
    let (cgroup, held, device) = match ready {
        Ok(ready) => ready,
        Err(why) => {
            // However that ends, the gateway is gone.
            let _ = write(&mut socket, &Says::Failed(why));
            return Ok(Exit::Failed);
        }
    };
    let (id, levels, port) = (cgroup.id(), cgroup.levels(), held.port);
    let index = device.clone().ok();
    let _ = write(&mut socket, &Says::Ready { id, levels, port, device })
        .and_then(|()| serve(&mut socket, &cgroup, &held, index));
    Ok(Exit::Done)
}

/// Raw sockets are among the ways; and cgroups are files of root, to which others need a right to write.
fn needed() -> CapabilitySet {
    match geteuid().is_root() {
        true => CapabilitySet::NET_RAW,
        false => CapabilitySet::NET_RAW | CapabilitySet::DAC_OVERRIDE,
    }
}

fn serve(
    socket: &mut UnixStream,
    cgroup: &OwnCgroup,
    held: &Held,
    device: Option<u32>,
) -> io::Result<()> {
    loop {
        let Go { frames } = read(socket)?;
        let targets = Targets { device: device.filter(|_| frames), ..held.targets };
        let tried = try_both(&targets, cgroup, &held.led, socket);
        write(socket, &tried.unwrap_or_else(|error| Says::Failed(error.to_string())))?;
    }
}

/// The control, then the watched one.
fn try_both(
    targets: &Targets,
    cgroup: &OwnCgroup,
    led: &AtomicU64,
    gateway: &UnixStream,
) -> io::Result<Says> {
    let before = led.load(Ordering::Acquire);
    let control = probe(targets, None, gateway)?;
    let joining = cgroup.joining().map_err(io::Error::other)?;
    let watched = probe(targets, Some(joining), gateway)?;
    let led = led.load(Ordering::Acquire).saturating_sub(before);
    Ok(Says::Tried { control, watched, led })
}

/// One process that tries every way.
fn probe(
    targets: &Targets,
    joining: Option<Joining>,
    gateway: &UnixStream,
) -> io::Result<Vec<Answer>> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["kernel", "probe"]).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(joining) = joining {
        joining.before(&mut command);
    }
    answers(command.spawn()?, targets, gateway)
}

/// What a probe says. It ends with this: whether it has said it, or the gateway has gone meanwhile.
fn answers(mut child: Child, targets: &Targets, gateway: &UnixStream) -> io::Result<Vec<Answer>> {
    // Open until then: by its end the probe finds that this process is gone.
    let mut input = child.stdin.take();
    let said = (|| {
        write(input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?, targets)?;
        let output = child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        read(&mut WhileAsked { output, gateway })
    })();
    // It has said what it had to say, or never will.
    let _ = child.kill();
    child.wait()?;
    said
}

/// A probe's output, for as long as the gateway is there to be told of it: where answers are dropped, a probe
/// takes most of a minute.
struct WhileAsked<'a> {
    output: &'a mut ChildStdout,
    gateway: &'a UnixStream,
}

impl io::Read for WhileAsked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready = [
            // Its end alone: it asks for nothing while the canary is out.
            PollFd::new(self.gateway, PollFlags::empty()),
            PollFd::new(&*self.output, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
        let [gateway, _] = ready;
        match gateway.revents().is_empty() {
            true => io::Read::read(self.output, buffer),
            false => Err(io::Error::other("the gateway is gone")),
        }
    }
}

/// Opens it all; whoever comes is answered for as long as the process lives, by a device's `end` as well.
fn hold(end: Option<File>) -> io::Result<Held> {
    let led = Arc::new(AtomicU64::new(0));
    let target4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let target6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok();
    let udp4 = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).ok();
    let (door4, door6) = door(target6.is_some())?;
    // Most machines have none, and then there is no such way.
    let vsock = vsock_listener().ok();
    let v6 = |address: io::Result<SocketAddr>| address.map(|address| address.port());
    let targets = Targets {
        tcp4: target4.local_addr()?.port(),
        tcp6: target6.as_ref().map(|socket| v6(socket.local_addr())).transpose()?,
        udp4: udp4.local_addr()?.port(),
        udp6: udp6.as_ref().map(|socket| v6(socket.local_addr())).transpose()?,
        vsock: vsock.as_ref().map(|(_, port)| *port),
        device: None,
    };
    if let Some(end) = end {
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        spawn(move || came_out(end, &back, targets.udp4))?;
    }
    if let Some((listener, _)) = vsock {
        spawn(move || {
            while let Ok(stream) = rustix::net::accept(&listener) {
                let _ = rustix::io::write(&stream, &[DIRECT]);
            }
        })?;
    }
    let port = door4.local_addr()?.port();
    for listener in [Some(target4), target6].into_iter().flatten() {
        spawn(move || answer(&listener, |_| DIRECT))?;
    }
    for listener in [Some(door4), door6].into_iter().flatten() {
        let led = Arc::clone(&led);
        spawn(move || {
            answer(&listener, |stream| match flow_of(stream) {
                Some(_) => {
                    led.fetch_add(1, Ordering::AcqRel);
                    LED
                }
                None => b'?',
            });
        })?;
    }
    for socket in [Some(udp4), udp6].into_iter().flatten() {
        spawn(move || echo(&socket))?;
    }
    Ok(Held { targets, port, led })
}

/// A port that both families have free, or one of IPv4 where there is no other.
fn door(has_v6: bool) -> io::Result<(TcpListener, Option<TcpListener>)> {
    for _ in 0..TRIES {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        if !has_v6 {
            return Ok((v4, None));
        }
        if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr()?.port())) {
            return Ok((v4, Some(v6)));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn spawn(task: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().spawn(task).map(drop)
}

/// Says one byte to whoever connects.
fn answer(listener: &TcpListener, word: impl Fn(&TcpStream) -> u8) {
    for mut stream in listener.incoming().flatten() {
        let word = word(&stream);
        // Who went away needs no answer.
        let _ = io::Write::write_all(&mut stream, &[word]);
    }
}

/// Answers what comes out of the device for the port `to`, by the loopback.
fn came_out(mut end: File, back: &UdpSocket, to: u16) {
    let mut packet = [0; 2048];
    while let Ok(length) = io::Read::read(&mut end, &mut packet) {
        if let Some(from) = packet.get(..length).and_then(|packet| sender(packet, to)) {
            let _ = back.send_to(&[DIRECT], (Ipv4Addr::LOCALHOST, from));
        }
    }
}

fn echo(socket: &UdpSocket) {
    let mut byte = [0];
    loop {
        if let Ok((_, from)) = socket.recv_from(&mut byte) {
            let _ = socket.send_to(&[DIRECT], from);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    /// One that says nothing is not waited for when nobody wants to know any more, and does not stay.
    #[test]
    fn a_probe_ends_when_the_gateway_goes() {
        let (own, gateway) = UnixStream::pair().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let place = format!("/proc/{}", child.id());
        let targets =
            Targets { tcp4: 1, tcp6: None, udp4: 2, udp6: None, vsock: None, device: None };
        let began = Instant::now();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            gateway.shutdown(Shutdown::Both).unwrap();
        });
        let said = answers(child, &targets, &own);
        assert!(said.unwrap_err().to_string().contains("gone"));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(!Path::new(&place).exists(), "it is waited for");
        ends.join().unwrap();
    }
}
