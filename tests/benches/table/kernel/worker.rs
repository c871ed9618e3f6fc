//! Worker: a process that connects and sends as it is told, in scope or out of it.
//!
//! It reads a line with what to do and answers with one, until its input ends.

use std::io::{BufRead as _, BufReader, Error, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};

use super::Scope;

/// Such a process.
pub(crate) struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// What it does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Connects so often, one after another; says how long one took, in the middle.
    Connect(SocketAddr),
    /// Sends a byte and waits for it to come back, so often; says how long all took.
    Echo(SocketAddr),
    /// Sends so many datagrams; says how long one took.
    Send(SocketAddr),
    /// Makes so many connections to places that differ, with some at a time; each is ended by the other side.
    /// Says which port it had for which place.
    Reach(u16),
    /// The same, and says where it meant to go as it connects, and waits for as much to come back.
    Tell(u16),
}

impl Work {
    fn words(self) -> (&'static str, SocketAddr) {
        let any = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self {
            Self::Connect(to) => ("connect", to),
            Self::Echo(to) => ("echo", to),
            Self::Send(to) => ("send", to),
            Self::Reach(port) => ("reach", any(port)),
            Self::Tell(port) => ("tell", any(port)),
        }
    }
}

impl Worker {
    /// Starts one, in `scope` where there is one.
    pub(crate) fn start(scope: Option<&Scope>) -> Result<Self> {
        let worker = Self::of(Command::new(std::env::current_exe()?).arg("work"))?;
        if let Some(scope) = scope {
            scope.take(worker.child.id())?;
        }
        Ok(worker)
    }

    /// One that this command begins.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().ok_or_else(|| Error::other("no standard output"))?;
        Ok(Self { child, lines: BufReader::new(said) })
    }

    /// Tells it to begin.
    pub(crate) fn begin(&mut self, work: Work, count: u64) -> Result<()> {
        let (what, to) = work.words();
        let input = self.child.stdin.as_mut().ok_or_else(|| Error::other("no standard input"))?;
        writeln!(input, "{what} {to} {count}")
    }

    /// Waits until it is done.
    pub(crate) fn said(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).map_err(Error::other)?;
        match said["failed"].as_str() {
            Some(why) => Err(Error::other(why.to_owned())),
            None => Ok(said),
        }
    }

    /// Does something, and waits for it.
    pub(crate) fn does(&mut self, work: Work, count: u64) -> Result<f64> {
        self.begin(work, count)?;
        let said = self.said()?;
        said["ns"].as_f64().ok_or_else(|| Error::other("it says nothing"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The process itself.
pub(crate) fn work() -> Result<()> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let to = words.next().unwrap_or_default().parse().map_err(Error::other)?;
        let count = words.next().unwrap_or_default().parse().map_err(Error::other)?;
        let done = match what {
            "connect" => connect(to, count),
            "echo" => echo(to, count),
            "send" => send(to, count),
            "reach" => reach(to.port(), count, false),
            "tell" => reach(to.port(), count, true),
            _ => Err(Error::other("no such work")),
        };
        let said = done.unwrap_or_else(|error| json!({ "failed": format!("{what}: {error}") }));
        println!("{said}");
    }
    Ok(())
}

fn connect(to: SocketAddr, count: usize) -> Result<Value> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let stream = TcpStream::connect(to)?;
        times.push(began.elapsed().as_nanos() as u64);
        // No port stays taken.
        set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    times.sort_unstable();
    Ok(json!({ "ns": times[count / 2], "p99": times[count * 99 / 100] }))
}

fn echo(to: SocketAddr, count: usize) -> Result<Value> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    let began = Instant::now();
    let mut byte = [7];
    for _ in 0..count {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
    }
    Ok(json!({ "ns": began.elapsed().as_nanos() as u64 }))
}

fn send(to: SocketAddr, count: usize) -> Result<Value> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let began = Instant::now();
    for _ in 0..count {
        socket.send_to(b"x", to)?;
    }
    Ok(json!({ "ns": began.elapsed().as_nanos() as u64 / count.max(1) as u64 }))
}

/// Connections that stand at a time.
const TOGETHER: usize = 64;

fn reach(port: u16, count: usize, tells: bool) -> Result<Value> {
    let mut standing = std::collections::VecDeque::with_capacity(TOGETHER);
    let mut made = Vec::with_capacity(count);
    let began = Instant::now();
    for number in 0..count {
        // 127.1.0.0 and what follows: nobody is sent there by anybody else.
        let place = (127 << 24 | 1 << 16) + u32::try_from(number % 60_000).unwrap_or_default();
        let place = SocketAddrV4::new(Ipv4Addr::from_bits(place), port);
        let mut stream = TcpStream::connect(place)?;
        if tells {
            stream.write_all(&place.ip().octets())?;
        }
        made.push((stream.local_addr()?.port(), place.ip().to_bits()));
        standing.push_back((stream, place));
        if standing.len() == TOGETHER {
            over(standing.pop_front(), tells)?;
        }
    }
    while !standing.is_empty() {
        over(standing.pop_front(), tells)?;
    }
    Ok(json!({ "ns": began.elapsed().as_nanos() as u64, "made": made }))
}

/// Waits until the other side has ended it, so that what was noted of it is not gone too early.
fn over(one: Option<(TcpStream, SocketAddrV4)>, tells: bool) -> Result<()> {
    let Some((mut stream, place)) = one else { return Ok(()) };
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    if tells && answer != place.ip().octets() {
        return Err(Error::other(format!("{place} was meant and {answer:?} reached")));
    }
    Ok(())
}
