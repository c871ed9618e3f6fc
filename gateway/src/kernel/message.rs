//! What gateway and loader say to each other.
//!
//! Each message is its length in four bytes, little-endian, and its content as postcard writes it. The
//! loader says first whether it is armed, then answers each question once, in order, and in between
//! tells of what went around; who a process is it says when it knows.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) use sealtap_common::leaf::Sums;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::unread::Unread;

/// The longest message, in bytes: a command line may be long, and is cut.
const LONGEST: u32 = 64 << 10;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Redirect what a cgroup sends to the listener at `port`, and watch the rest.
    Watch {
        /// Its id.
        cgroup: u64,
        /// At which depths it may lie, by bits.
        levels: u32,
        /// The transparent listener's port.
        port: u16,
        /// Whether what cannot be redirected is denied.
        deny: bool,
        /// Where names are asked for; other UDP goes around.
        resolver: Option<SocketAddr>,
        /// Whether sealtap made it, and nobody is in it yet.
        own: bool,
    },
    /// Watch a cgroup no more.
    Unwatch {
        /// Its id.
        cgroup: u64,
    },
    /// Leave these addresses on the machine alone, and no others; a port of zero for all of one.
    LeaveAlone(Vec<SocketAddr>),
    /// Pin all links in this folder, which is not there yet.
    Pin {
        /// Its path.
        folder: PathBuf,
    },
    /// Take the pins away again.
    Unpin,
    /// Take the pins away that a gateway left in this folder and that is gone.
    TakeAway {
        /// Its path.
        folder: PathBuf,
    },
    /// What was counted so far.
    Count,
    /// Who a process is that connected then (`CLOCK_BOOTTIME`, nanoseconds). Alone of all questions it is
    /// answered by its number, and when that is known.
    Look {
        /// The question's number.
        number: u64,
        /// The process.
        process: u32,
        /// When.
        connected: u64,
        /// The id of the watched cgroup that the connection belongs to.
        scope: u64,
    },
}

/// What the loader says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It is armed, or why not.
    Armed(Result<Armed, String>),
    /// The answer to the oldest question that has none.
    Answer(Answer),
    /// Who it is; none where that process is gone.
    Looked {
        /// The question's number.
        number: u64,
        /// Who.
        process: Box<Option<Process>>,
        /// What of it could not be read though it was there.
        unread: Vec<Unread>,
    },
    /// Something went around.
    Bypass(Bypass),
    /// Something was asked of the resolver.
    Asked(Vec<Packet>),
    /// The sockets that a cgroup had before it was watched will not be counted.
    Uncounted(Uncounted),
}

/// A cgroup whose sockets could not be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uncounted {
    /// Its folder.
    pub(super) folder: String,
    /// Why not.
    pub(super) why: String,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// What was counted.
    Counted(Box<Counted>),
    /// It cannot be done.
    Failed(String),
}

/// What is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Each program.
    pub programs: Vec<ProgramAt>,
    /// SHA-256 of the object that they were loaded from.
    pub object: [u8; 32],
    /// The machine's boot, as the kernel names it.
    pub boot: String,
    /// Capabilities that the loader still has, as the kernel's mask.
    pub capabilities: u64,
}

/// A program and where it is attached, as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramAt {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// The kernel's digest of its instructions.
    pub tag: u64,
    /// The link's id; 0 where the kernel has no links for its hook.
    pub link: u32,
    /// The cgroup that the link holds it at; 0 once it is detached, or where it is elsewhere.
    pub cgroup: u64,
    /// The device that it is at, by its index; 0 once it is detached, or where it is elsewhere.
    pub device: u32,
    /// The program that the link holds; another one once it was replaced.
    pub held: u32,
}

/// What was counted since the programs were attached, all processors and both banks together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Connections, and sends without one.
    #[serde(with = "sums")]
    pub connections: Sums,
    /// Packets, and frames that were none.
    #[serde(with = "sums")]
    pub packets: Sums,
    /// What asked the resolver: each packet that was allowed.
    pub names: NamesCounted,
    /// The links as they are now.
    pub programs: Vec<ProgramAt>,
    /// Whether what the programs were told, which cgroups they watch and what they leave alone, is not what they were
    /// told any more.
    pub rewritten: bool,
    /// Programs of others on the same hooks.
    pub foreign: Vec<Foreign>,
    /// Sockets of watched processes that were connected before they were watched.
    pub older: u64,
    /// Cgroups that began to be watched, other than sealtap's own.
    pub watched: u64,
    /// Cgroups that are in neither of these two yet, since their sockets are still being counted.
    pub due: u64,
    /// Cgroups that are in neither of them and will not be, since their sockets could not be counted.
    pub unknown: u64,
    /// Why those of the first of them could not.
    pub why_unknown: Option<String>,
}

/// Packets to the resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesCounted {
    /// Those that were read.
    pub read: u64,
    /// Those that found no room.
    pub lost: u64,
}

/// A packet to the resolver, of which the loader has looked at nothing.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packet {
    /// The process that connected its socket, or sent by it first; 0 where that is not known.
    pub(super) process: u32,
    /// Its executable, where it was still there.
    pub(super) executable: Option<String>,
    /// When it passed: `CLOCK_BOOTTIME`, nanoseconds.
    pub(super) passed: u64,
    /// How many bytes it has behind the header of UDP.
    pub(super) length: u32,
    /// Where it is cut into datagrams of so many bytes each; 0 where it is one.
    pub(super) each: u32,
    /// The first of its bytes.
    #[serde(with = "serde_bytes")]
    pub(super) bytes: Vec<u8>,
}

// Its bytes hold names, which reach no log.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Packet");
        shown.field("process", &self.process).field("length", &self.length);
        shown.finish_non_exhaustive()
    }
}

/// A program of somebody else, at a hook where one of ours is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Foreign {
    /// The name of ours.
    pub beside: String,
    /// The kernel's number of the other.
    pub id: u32,
}

impl Counted {
    /// Whether the sums hold in both units, and each packet to the resolver was read or is known to be lost.
    #[must_use]
    pub fn holds(&self) -> bool {
        let names = self.names.read.checked_add(self.names.lost);
        self.connections.add_up() && self.packets.add_up() && names == Some(self.packets.allowed)
    }
}

/// Sums as they pass the socket: the numbers alone, in the order of [`Sums::all`].
mod sums {
    use sealtap_common::leaf::Sums;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(sums: &Sums, to: S) -> Result<S::Ok, S::Error> {
        sums.all().map(|(_, number)| number).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sums, D::Error> {
        <[u64; 9]>::deserialize(from).map(Sums::of)
    }
}

/// Something in scope that did not pass the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// Where to.
    pub destination: SocketAddr,
    /// The process.
    pub process: u32,
    /// Its executable, where it was still there.
    pub executable: Option<String>,
    /// The socket's cookie.
    pub cookie: u64,
    /// The watched cgroup that it belongs to.
    pub scope: u64,
    /// By what way, by its registered word.
    pub way: String,
    /// Whether it was stopped.
    pub denied: bool,
    /// Whether a packet was counted, and no connection.
    pub packet: bool,
    /// How many events say the same.
    pub times: u64,
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// When it started, in clock ticks (1/100 s) since the machine did.
    pub started: u64,
    /// The path of its executable.
    pub executable: Option<String>,
    /// SHA-256 of that file, where it was known in time.
    pub digest: Option<[u8; 32]>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// The inode of its network namespace.
    pub namespace: Option<u64>,
    /// Its command line, arguments apart by NUL, cut to 4096 bytes.
    pub command: Option<Vec<u8>>,
}

/// Writes one message.
///
/// # Errors
///
/// The other end is gone.
pub(super) fn write(socket: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let content = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(content.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("a message of the loader is too long"))?;
    let mut whole = length.to_le_bytes().to_vec();
    whole.extend_from_slice(&content);
    socket.write_all(&whole)
}

/// Whether a message is still to come: whoever reads it waits for so long and no longer.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads one message.
///
/// # Errors
///
/// The other end is gone, or it is no message.
pub(super) fn read<T: DeserializeOwned>(socket: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other("a message of the loader is too long"));
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or_default()];
    socket.read_exact(&mut content)?;
    postcard::from_bytes(&content).map_err(io::Error::other)
}
