//! Resolver: a small name server for real stub resolvers, beside whose network a command runs.
//!
//! In: queries by UDP and TCP at port 53 of several addresses. Out: an answer for each question that can
//! be read, and a line about each, so that a test knows what arrived where. What is no message gets no
//! answer, as with others.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::base::Message;

use crate::gate::{OF_A_GATEWAY, poll_for};

/// What every name stands for.
pub const ANSWER_4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// The same over IPv6.
pub const ANSWER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

/// QTYPEs that have answers.
const A: u16 = 1;
const AAAA: u16 = 28;

/// What came: server, protocol, name and type, or that it was no message.
type Heard = Arc<Mutex<String>>;

/// Answers at port 53 of these addresses for as long as a command runs, then writes what was heard, a line
/// for each message: `ADDRESS udp|tcp NAME TYPE`, or `ADDRESS udp none BYTES`.
///
/// # Panics
/// If a port is taken, or the command cannot be run.
#[must_use]
pub fn around(addresses: &[IpAddr], mut command: Command, heard_in: &Path) -> ExitStatus {
    let heard = Heard::default();
    let mut idle = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, 53);
        let udp = UdpSocket::bind(at).expect("port 53 of UDP");
        let tcp = TcpListener::bind(at).expect("port 53 of TCP");
        let (by_udp, by_tcp) = (Arc::clone(&heard), Arc::clone(&heard));
        let turns = Arc::new(AtomicU64::new(0));
        idle.push(Arc::clone(&turns));
        std::thread::spawn(move || datagrams(&udp, at, &by_udp, &turns));
        std::thread::spawn(move || {
            tcp.incoming().flatten().for_each(|stream| connection(stream, at, &by_tcp));
        });
    }
    let status = command.status().expect("the command can be run");
    // A datagram that was sent last may still be on its way to its thread: one that finds nothing has heard all
    // before. Whoever asks by TCP waits for the answer.
    for turns in idle {
        let before = turns.load(Ordering::Acquire);
        let later = || (turns.load(Ordering::Acquire) > before + 1).then_some(());
        poll_for(OF_A_GATEWAY, "a server without a message", later);
    }
    let lines = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    std::fs::write(heard_in, lines).expect("what was heard is written");
    status
}

/// Answers; `idle` counts how often there was no message.
fn datagrams(socket: &UdpSocket, at: SocketAddr, heard: &Heard, idle: &AtomicU64) {
    let mut bytes = [0; 65_535];
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket has a timeout");
    loop {
        let (length, from) = match socket.recv_from(&mut bytes) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                idle.fetch_add(1, Ordering::AcqRel);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("what comes to {at} cannot be read: {error}"),
        };
        if let Some(answer) = answer(&bytes[..length], at, "udp", heard) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn connection(mut stream: TcpStream, at: SocketAddr, heard: &Heard) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut bytes).is_err() {
            return;
        }
        let Some(answer) = answer(&bytes, at, "tcp", heard) else { return };
        let length = u16::try_from(answer.len()).expect("an answer is short").to_be_bytes();
        let _ = stream.write_all(&[&length[..], &answer].concat());
    }
}

fn answer(query: &[u8], at: SocketAddr, by: &str, heard: &Heard) -> Option<Vec<u8>> {
    let read = Message::from_octets(query).ok();
    let question = read.and_then(|message| message.question().next()?.ok());
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(question) = question else {
        let _ = writeln!(heard, "{} {by} none {}", at.ip(), query.len());
        return None;
    };
    let kind = question.qtype().to_int();
    let _ = writeln!(heard, "{} {by} {} {kind}", at.ip(), question.qname());
    drop(heard);
    let data = match kind {
        A => ANSWER_4.octets().to_vec(),
        AAAA => ANSWER_6.octets().to_vec(),
        _ => Vec::new(),
    };
    // A response without an error, recursion available, to the one question.
    let mut answer =
        [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]].concat();
    for label in question.qname().iter() {
        answer.push(u8::try_from(label.len()).expect("at most 63"));
        answer.extend_from_slice(label.as_slice());
    }
    answer.extend_from_slice(&kind.to_be_bytes());
    answer.extend_from_slice(&question.qclass().to_int().to_be_bytes());
    if !data.is_empty() {
        // The name by a pointer to the question, the type, the class, a minute.
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(data.len()).expect("16 at most").to_be_bytes());
        answer.extend_from_slice(&data);
    }
    Some(answer)
}
