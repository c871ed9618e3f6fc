//! What gateway and loader say to each other.
//!
//! Each message is its length in four bytes, little-endian, and its content as postcard writes it. The
//! loader says first whether it is armed, then answers each question once, in order, and in between
//! tells of what went around.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message, in bytes: a command line may be long, and is cut.
const LONGEST: u32 = 64 << 10;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
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
    /// What was counted so far.
    Count,
    /// Who a process is that connected then (`CLOCK_BOOTTIME`, nanoseconds).
    Look {
        /// The process.
        process: u32,
        /// When.
        connected: u64,
    },
}

/// What the loader says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It is armed, or why not.
    Armed(Result<Armed, String>),
    /// The answer to the oldest question that has none.
    Answer(Answer),
    /// Something went around.
    Bypass(Bypass),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// What was counted.
    Counted(Box<Counted>),
    /// Who it is; none where that process is gone.
    Process(Box<Option<Process>>),
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
    /// The cgroup that the link holds it at; 0 once it is detached, or where it is at a device.
    pub cgroup: u64,
    /// The device that it is at, by its index; 0 once it is detached, or where it is at a cgroup.
    pub device: u32,
    /// The program that the link holds; another one once it was replaced.
    pub held: u32,
}

/// What was counted since the programs were attached, all processors and both banks together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Connections, and sends without one.
    pub connections: Sums,
    /// Packets, and frames that were none.
    pub packets: Sums,
    /// The links as they are now.
    pub programs: Vec<ProgramAt>,
    /// Programs of others on the same hooks.
    pub foreign: Vec<Foreign>,
    /// Sockets of watched processes that were connected before they were watched.
    pub older: u64,
}

/// Numbers in one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// All in scope.
    pub seen: u64,
    /// Sent to the gateway.
    pub via_gateway: u64,
    /// Stayed on the machine, as a list allows.
    pub loopback: u64,
    /// Allowed by name: the resolver.
    pub allowed: u64,
    /// Went around and were stopped.
    pub bypass_denied: u64,
    /// Went around and were let go.
    pub bypass_passed: u64,
    /// Could not be told.
    pub unparsable: u64,
    /// Events that found no room.
    pub events_lost: u64,
    /// Events that were read.
    pub events_read: u64,
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
    /// Whether the sums hold in both units.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.connections.hold() && self.packets.hold()
    }
}

impl Sums {
    /// Whether each thing seen is exactly one of the others, and each that went around was told of
    /// or counted as lost.
    #[must_use]
    pub fn hold(&self) -> bool {
        let parts = [
            self.via_gateway,
            self.loopback,
            self.allowed,
            self.bypass_denied,
            self.bypass_passed,
            self.unparsable,
        ];
        let sum = |parts: &[u64]| parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part));
        let around = sum(&[self.bypass_denied, self.bypass_passed]);
        sum(&parts) == Some(self.seen) && around == sum(&[self.events_read, self.events_lost])
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
    /// SHA-256 of that file.
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
