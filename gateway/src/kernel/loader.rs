//! The loader: the small process that may do what the gateway may not.
//!
//! In: questions on standard input, a socket to the gateway. Out: answers there, and word of what
//! went around. It loads and attaches the programs, keeps of its capabilities what it needs for that
//! and for looking at processes, and ends when the gateway is gone, and with it the programs
//! that are not pinned. It parses no traffic, opens no connection and inherits no other descriptor.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use sealtap_common::kernel::{Endpoint, Flow, Watch, flag, mode};
use sha2::{Digest as _, Sha256};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXCPU, SIGXFSZ};

use super::around;
use super::depth::is_first_of_processes;
use super::held::Held;
use super::looking::{Asks, Looking};
use super::message::{Answer, Armed, Bypass, Packet, Question, Told, read, write};
use super::names::{Copies, together};
use super::pins;
use super::programs::{Programs, Sizes};
use super::readings::Readings;
use super::{OBJECT, address_of};
use crate::command::{Exit, Failure, Outcome};
use crate::rights::{LOADER, lacking};

/// Between two looks for events: packets wake nobody.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at processes that are begun before events have a turn: connections wait for these.
const LOOKS: usize = 1024;

/// The same, in time: a look at a process with many threads is long.
const LOOKING: Duration = Duration::from_millis(20);

/// Serves the gateway at the other end of standard input until that is gone.
///
/// # Errors
///
/// Standard input is no socket: nobody but the gateway starts this.
pub fn run(ring: Option<u32>) -> Outcome {
    // Whatever the gateway's caller left open is none of the loader's.
    super::raw::close_inherited().map_err(|error| Failure::of(&error))?;
    let sizes = ring.map_or_else(Sizes::default, |ring| Sizes { ring, queries: ring });
    let input = rustix::io::dup(io::stdin()).map_err(|error| Failure::of(&error))?;
    let mut socket = UnixStream::from(input);
    if socket.peer_addr().is_err() {
        return Err(Failure::new("the loader is started by the gateway, on a socket to it")
            .fix("use `sealtap run` or `sealtap serve`")
            .exit_with(Exit::Usage));
    }
    stay_with_the_gateway().map_err(|error| Failure::of(&error))?;
    let armed = arm(sizes);
    let (first, programs) = match armed {
        Ok((armed, programs)) => (Ok(armed), Some(programs)),
        Err(error) => (Err(error), None),
    };
    let told = write(&mut socket, &Told::Armed(first));
    let Some(mut programs) = programs else { return Ok(Exit::Failed) };
    if told.is_ok() {
        // However it ends, the gateway is gone, and nobody is there to be told.
        let _ = serve(&mut socket, &mut programs);
    }
    Ok(Exit::Done)
}

/// Signals that are sent to all processes of a service are for the gateway, which has last numbers to
/// ask for: whoever it starts ends when it does. Limits that somebody set are errors, and no end.
pub(super) fn stay_with_the_gateway() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGXCPU, SIGXFSZ] {
        // Noted, and not looked at.
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn arm(sizes: Sizes) -> Result<(Armed, Programs), String> {
    // First of all: what is loaded is loaded with no more than is said.
    let lacking = lacking(LOADER);
    let capabilities = drop_capabilities().map_err(|error| match lacking {
        Some(lacking) => format!("the loader lacks {lacking}: run sealtap as root, who has them"),
        None => format!("the loader cannot give up what it does not need ({error})"),
    })?;
    // Flows name processes as the first namespace counts them; another one's numbers are others.
    if !is_first_of_processes() {
        return Err(
            "sealtap is in a namespace of processes of its own, where the kernel's numbers \
                    of processes stand for others: run it outside"
                .to_owned(),
        );
    }
    let programs = Programs::attach(OBJECT, sizes).map_err(|error| error.to_string())?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let armed = Armed {
        programs: programs.links(),
        object: Sha256::digest(OBJECT).into(),
        boot: boot.trim().to_owned(),
        capabilities: capabilities.bits(),
    };
    Ok((armed, programs))
}

/// Keeps what is needed, for good.
pub(super) fn drop_capabilities() -> rustix::io::Result<CapabilitySet> {
    let kept = LOADER;
    set_no_new_privs(true)?;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    Ok(kept)
}

fn serve(socket: &mut UnixStream, programs: &mut Programs) -> io::Result<()> {
    let mut looking = Looking::begin()?;
    let execs = programs.take_execs().ok_or_else(|| io::Error::other("they were taken before"))?;
    let mut readings = Readings::new(Box::new(execs));
    // What waits for the executable of who did it.
    let (mut bypasses, mut packets) = (Held::default(), Held::default());
    loop {
        // Or until a process is looked at again that is waited for.
        let waits = [bypasses.pause(), packets.pause(), looking.pause()];
        let pause = waits.into_iter().flatten().fold(LOOK, Duration::min);
        {
            let mut ready = [
                PollFd::new(&*socket, PollFlags::IN),
                PollFd::from_borrowed_fd(programs.events().as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(programs.queries().as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(looking.waker(), PollFlags::IN),
            ];
            let pause = Timespec::try_from(pause).unwrap_or_default();
            rustix::io::retry_on_intr(|| poll(&mut ready, Some(&pause)))?;
        }
        // What the answer counts is told of before it, what the next one will behind it.
        let (mut around, mut later) = (Around::default(), Around::default());
        programs.read_events(|flow| around.add(flow));
        let (mut names, mut later_names) = (Copies::default(), Copies::default());
        programs.read_queries(|query| names.add(query));
        let (mut looked, mut other) = (Vec::new(), None);
        let began = Instant::now();
        for _ in 0..LOOKS {
            if began.elapsed() >= LOOKING || !is_asked(socket)? {
                break;
            }
            match read(socket)? {
                Question::Look { number, process, connected, scope } => {
                    let asks = Asks { number, process, connected, scope };
                    looked.extend(looking.ask(asks, &mut readings));
                }
                question => {
                    other = Some(question);
                    break;
                }
            }
        }
        looked.extend(looking.told(&mut readings));
        let answer = other.map(|question| {
            let (now, later) = ((&mut around, &mut names), (&mut later, &mut later_names));
            answer(question, programs, now, later)
        });
        hold((&mut bypasses, &mut packets), around, names);
        for looked in looked {
            write(socket, &looked)?;
        }
        // What is counted now was told of before.
        let all = matches!(answer, Some(Answer::Counted(_)));
        for ((flow, times), executable) in bypasses.release(&mut readings, all) {
            if let Some(bypass) = bypass(&flow, executable, times) {
                write(socket, &Told::Bypass(bypass))?;
            }
        }
        let known = packets.release(&mut readings, all);
        let named = |(packet, executable): (Packet, _)| Packet { executable, ..packet };
        for packets in together(known.into_iter().map(named).collect()) {
            write(socket, &Told::Asked(packets))?;
        }
        // When it happens, not only when the last numbers lack them.
        for uncounted in programs.uncounted() {
            write(socket, &Told::Uncounted(uncounted))?;
        }
        if let Some(answer) = answer {
            write(socket, &Told::Answer(answer))?;
        }
        hold((&mut bypasses, &mut packets), later, later_names);
    }
}

/// Has what was read wait.
fn hold(
    (bypasses, packets): (&mut Held<(Flow, u64)>, &mut Held<Packet>),
    around: Around,
    names: Copies,
) {
    for (flow, times) in around.order {
        bypasses.push((flow, times), flow.process, flow.connected);
    }
    for copied in names.all() {
        let process = copied.packet.process;
        packets.push(copied.packet, process, copied.connected);
    }
}

/// Whether a question is there, or nobody to ask any.
fn is_asked(socket: &UnixStream) -> io::Result<bool> {
    let mut ready = [PollFd::new(socket, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ready, Some(&Timespec::default())))?;
    let [asked] = ready;
    Ok(!asked.revents().is_empty())
}

/// Does what is asked; what is counted by the answer is added to `now`, what is not to `later`.
fn answer(
    question: Question,
    programs: &mut Programs,
    now: (&mut Around, &mut Copies),
    later: (&mut Around, &mut Copies),
) -> Answer {
    match question {
        Question::Watch { cgroup, levels, port, deny, resolver, own } => {
            let resolver = resolver.map(|address| endpoint(&address));
            let mode = if deny { mode::ENFORCE } else { mode::OBSERVE };
            done(programs.watch(cgroup, levels, Watch { mode, port: port.into() }, (resolver, own)))
        }
        Question::Unwatch { cgroup } => done(programs.unwatch(cgroup)),
        Question::Pin { folder } => done(programs.pin(folder)),
        Question::Unpin => done(programs.unpin()),
        Question::TakeAway { folder } => done(pins::take_away(&folder)),
        Question::LeaveAlone(places) => {
            let places: Vec<Endpoint> = places.iter().map(endpoint).collect();
            done(programs.leave_alone(&places))
        }
        Question::Count => match programs.count(
            |flow, closed| match closed {
                true => now.0.add(flow),
                false => later.0.add(flow),
            },
            |query, closed| match closed {
                true => now.1.add(query),
                false => later.1.add(query),
            },
        ) {
            Ok(counted) => Answer::Counted(Box::new(counted)),
            Err(error) => Answer::Failed(error.to_string()),
        },
        // Begun before this, and answered when that is known.
        Question::Look { .. } => Answer::Done,
    }
}

fn done<E: std::error::Error>(result: Result<(), E>) -> Answer {
    result.map_or_else(|error| Answer::Failed(error.to_string()), |()| Answer::Done)
}

/// What went around since it was last told of; packets of one socket to one place are one line, or a
/// flood of them would be a flood of words.
#[derive(Default)]
struct Around {
    order: Vec<(Flow, u64)>,
    packets: HashMap<(u64, Endpoint, u16), usize>,
}

impl Around {
    fn add(&mut self, flow: &Flow) {
        if flow.flags & flag::PACKET != 0 {
            let known = self.packets.entry((flow.cookie, flow.destination, flow.way));
            let place = *known.or_insert(self.order.len());
            if let Some((_, times)) = self.order.get_mut(place) {
                *times = times.saturating_add(1);
                return;
            }
        }
        self.order.push((*flow, 1));
    }
}

fn bypass(flow: &Flow, executable: Option<String>, times: u64) -> Option<Bypass> {
    Some(Bypass {
        destination: address_of(&flow.destination)?,
        process: flow.process,
        executable,
        cookie: flow.cookie,
        scope: flow.scope,
        way: around::way(flow).as_str().to_owned(),
        denied: around::is_denied(flow),
        packet: around::is_packet(flow),
        times,
    })
}

fn endpoint(address: &SocketAddr) -> Endpoint {
    let ip = match address {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
        SocketAddr::V6(v6) => *SocketAddrV6::ip(v6),
    };
    Endpoint { address: ip.octets(), port: u32::from(address.port()) }
}
