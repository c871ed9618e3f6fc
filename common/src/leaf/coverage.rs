//! The leaves of the kinds `coverage-armed`, `coverage-heartbeat` and `coverage-closed`: what the kernel
//! can say about traffic that did not come to the gateway.

mod decode;

use super::canary::Canary;
use super::encode::{EncodeError, Writer};
use super::listed::{Entry, Listed};
use super::words::{Channel, ChannelState, CoverageEnd, CoverageMode, KernelProgram};
use super::{Extensions, Kind};
use crate::encoding::Id;
use crate::json::{FieldError, Members};
use crate::tree::Hash;

/// One statement about one coverage, which is what one attachment of the kernel programs sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The boot that speaks.
    pub boot: Id,
    /// The coverage's own random id.
    pub coverage: Id,
    /// Extensions.
    pub ext: Extensions,
    /// What is said of it.
    pub said: CoverageSaid,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// What is said of a coverage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoverageSaid {
    /// It begins.
    Armed(Armed),
    /// It goes on.
    Heartbeat(Statement),
    /// It is over, and why; without numbers where they were lost.
    Closed(Option<Counts>, Arrived, u64, CoverageEnd),
    /// A probe within it tried each way out.
    Canary(Canary),
}

/// What a coverage rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// The state of every registered channel, in their order.
    pub channels: Vec<ChannelState>,
    /// Programs of others on the same hooks, in ascending order.
    pub foreign: Listed<Foreign>,
    /// The machine's boot, as its kernel names it.
    pub machine: Id,
    /// What is done with what cannot be redirected.
    pub mode: CoverageMode,
    /// SHA-256 of the object that the programs were loaded from.
    pub object: Hash,
    /// Connected sockets that watched processes had before.
    pub older: u64,
    /// The programs that are attached.
    pub programs: Listed<Attached>,
}

/// A program and where it is attached, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Where.
    pub at: At,
    /// The program's id.
    pub id: u64,
    /// The link's id; none where the kernel has no links for this hook.
    pub link: Option<u64>,
    /// Which program.
    pub program: KernelProgram,
    /// The kernel's digest of its instructions.
    pub tag: u64,
}

/// Where a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A cgroup, by its id.
    Cgroup(u64),
    /// A network device, by its index.
    Device(u64),
    /// The machine as a whole: [`KernelProgram::Exec`] alone, and always.
    Machine,
}

/// A program of somebody else at the hook of one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// Which of these is at that hook.
    pub beside: KernelProgram,
    /// The other program's id.
    pub id: u64,
}

/// What was counted since a coverage was armed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What came to the gateway.
    pub arrived: Arrived,
    /// What the kernel counted.
    pub counts: Counts,
    /// Consecutive within the coverage, from 1.
    pub number: u64,
}

/// Connections that came to the gateway's listener for redirected ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Those among `known` whose process was found.
    pub attributed: u64,
    /// Those of which the kernel had noted where they were meant to go.
    pub known: u64,
    /// Those that were turned away: nobody had led them there, they were meant for that listener, or the
    /// journal took nothing.
    pub refused: u64,
    /// Those among `refused` that the kernel had led there.
    pub refused_led: u64,
}

/// What the kernel counted, and who else was on its hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections, and sends without one.
    pub connections: Sums,
    /// Programs of others on the same hooks, in ascending order.
    pub foreign: Listed<Foreign>,
    /// Cgroups that began to be watched since the coverage was armed: what ran there before was not seen.
    pub late: u64,
    /// Connected sockets that processes held when their cgroup began to be watched.
    pub older: u64,
    /// Packets as they left sockets, and frames that were none.
    pub packets: Sums,
}

/// Everything of one unit, of all that is watched. Each is exactly one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Allowed by name.
    pub allowed: u64,
    /// Went around and were stopped.
    pub bypass_denied: u64,
    /// Went around and were let go.
    pub bypass_passed: u64,
    /// Events of those that found no room.
    pub events_lost: u64,
    /// Events of those that were read.
    pub events_read: u64,
    /// Stayed on the machine, as a list allows.
    pub loopback: u64,
    /// All of them.
    pub seen: u64,
    /// Could not be told.
    pub unparsable: u64,
    /// Led to the gateway.
    pub via_gateway: u64,
}

impl Sums {
    /// These numbers, in the order of [`Self::all`].
    #[must_use]
    pub const fn of(numbers: [u64; 9]) -> Self {
        Self {
            allowed: numbers[0],
            bypass_denied: numbers[1],
            bypass_passed: numbers[2],
            events_lost: numbers[3],
            events_read: numbers[4],
            loopback: numbers[5],
            seen: numbers[6],
            unparsable: numbers[7],
            via_gateway: numbers[8],
        }
    }

    /// The numbers in the order of their names.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("allowed", self.allowed),
            ("bypass_denied", self.bypass_denied),
            ("bypass_passed", self.bypass_passed),
            ("events_lost", self.events_lost),
            ("events_read", self.events_read),
            ("loopback", self.loopback),
            ("seen", self.seen),
            ("unparsable", self.unparsable),
            ("via_gateway", self.via_gateway),
        ]
    }

    /// What went around, whether it was let go or not.
    #[must_use]
    pub fn around(&self) -> u64 {
        self.bypass_denied.saturating_add(self.bypass_passed)
    }

    /// Whether everything seen is exactly one thing, and each way around an event that was read or
    /// lost.
    #[must_use]
    pub fn add_up(&self) -> bool {
        let parts = [self.via_gateway, self.loopback, self.allowed, self.around(), self.unparsable];
        let sum = |parts: &[u64]| parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part));
        sum(&parts) == Some(self.seen)
            && sum(&[self.events_read, self.events_lost]) == Some(self.around())
    }

    /// By how much each number grew since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            allowed: self.allowed.saturating_sub(earlier.allowed),
            bypass_denied: self.bypass_denied.saturating_sub(earlier.bypass_denied),
            bypass_passed: self.bypass_passed.saturating_sub(earlier.bypass_passed),
            events_lost: self.events_lost.saturating_sub(earlier.events_lost),
            events_read: self.events_read.saturating_sub(earlier.events_read),
            loopback: self.loopback.saturating_sub(earlier.loopback),
            seen: self.seen.saturating_sub(earlier.seen),
            unparsable: self.unparsable.saturating_sub(earlier.unparsable),
            via_gateway: self.via_gateway.saturating_sub(earlier.via_gateway),
        }
    }

    /// Whether no number is smaller than in `earlier`.
    #[must_use]
    pub fn goes_on_from(&self, earlier: &Self) -> bool {
        self.all().iter().zip(earlier.all()).all(|((_, now), (_, before))| *now >= before)
    }
}

impl Arrived {
    /// Those that the kernel had led there, taken or turned away.
    #[must_use]
    pub const fn led(&self) -> u64 {
        self.known.saturating_add(self.refused_led)
    }

    /// Whether each part is no more than what it is among.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.attributed <= self.known && self.refused_led <= self.refused
    }

    /// Whether the numbers can be, beside what the kernel counted.
    #[must_use]
    pub const fn fits(&self, connections: &Sums) -> bool {
        self.holds() && self.led() <= connections.via_gateway
    }

    /// Whether no connection is missing that had come by `earlier`.
    #[must_use]
    pub const fn goes_on_from(&self, earlier: &Self) -> bool {
        self.known >= earlier.known
            && self.refused >= earlier.refused
            && self.refused_led >= earlier.refused_led
    }

    /// Whether the connection with this number came after `earlier`, and by now.
    #[must_use]
    pub const fn is_first_to_count(&self, number: u64, earlier: &Self) -> bool {
        number > earlier.known && number <= self.known
    }
}

impl Coverage {
    /// The kind of its leaf.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.said {
            CoverageSaid::Armed(_) => Kind::CoverageArmed,
            CoverageSaid::Heartbeat(_) => Kind::CoverageHeartbeat,
            CoverageSaid::Closed(..) => Kind::CoverageClosed,
            CoverageSaid::Canary(_) => Kind::CoverageCanary,
        }
    }

    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(1024);
        w.fixed("{");
        match &self.said {
            CoverageSaid::Armed(armed) => {
                w.fixed("\"boot\":").id(&self.boot).fixed(",\"channels\":[");
                for (place, (channel, state)) in
                    Channel::ALL.iter().zip(&armed.channels).enumerate()
                {
                    w.fixed(if place == 0 { "" } else { "," });
                    w.fixed("{\"channel\":").word(channel.as_str());
                    w.fixed(",\"state\":").word(state.as_str()).fixed("}");
                }
                w.fixed("],\"coverage\":").id(&self.coverage).fixed(",\"ext\":").ext(&self.ext);
                armed.foreign.write(&mut w, ",\"foreign\":", ",\"foreign_more\":");
                w.fixed(",\"kind\":").word(self.kind().as_str());
                w.fixed(",\"machine\":").id(&armed.machine);
                w.fixed(",\"mode\":").word(armed.mode.as_str());
                w.fixed(",\"object\":").hash(&armed.object);
                w.fixed(",\"older\":").number(armed.older);
                armed.programs.write(&mut w, ",\"programs\":", ",\"programs_more\":");
            }
            CoverageSaid::Heartbeat(statement) => {
                let Statement { arrived, counts, number } = statement;
                self.counted(&mut w, arrived, Some(counts), *number);
            }
            CoverageSaid::Closed(counts, arrived, number, reason) => {
                self.counted(&mut w, arrived, counts.as_ref(), *number);
                w.fixed(",\"reason\":").word(reason.as_str());
            }
            CoverageSaid::Canary(canary) => canary.encode(self, &mut w),
        }
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }

    fn counted(&self, w: &mut Writer, arrived: &Arrived, counts: Option<&Counts>, stated: u64) {
        w.fixed("\"arrived\":{\"attributed\":").number(arrived.attributed);
        w.fixed(",\"known\":").number(arrived.known);
        w.fixed(",\"refused\":").number(arrived.refused);
        w.fixed(",\"refused_led\":").number(arrived.refused_led);
        w.fixed("},\"boot\":").id(&self.boot).fixed(",\"connections\":");
        w.optional(counts.map(|counts| &counts.connections), sums);
        w.fixed(",\"coverage\":").id(&self.coverage).fixed(",\"ext\":").ext(&self.ext);
        match counts {
            Some(counts) => counts.foreign.write(w, ",\"foreign\":", ",\"foreign_more\":"),
            None => drop(w.fixed(",\"foreign\":null,\"foreign_more\":null")),
        }
        w.fixed(",\"kind\":").word(self.kind().as_str()).fixed(",\"late\":");
        w.optional(counts.map(|counts| &counts.late), number);
        w.fixed(",\"number\":").number(stated).fixed(",\"older\":");
        w.optional(counts.map(|counts| &counts.older), number).fixed(",\"packets\":");
        w.optional(counts.map(|counts| &counts.packets), sums);
    }

    pub(super) fn decode(kind: Kind, m: Members<'_, '_>) -> Result<Self, FieldError> {
        match kind {
            Kind::CoverageArmed => decode::armed(m),
            Kind::CoverageCanary => Canary::decode(m),
            kind => decode::counted(m, kind == Kind::CoverageClosed),
        }
    }
}

fn number(w: &mut Writer, value: &u64) {
    w.number(*value);
}

fn sums(w: &mut Writer, sums: &Sums) {
    for (place, (name, count)) in sums.all().iter().enumerate() {
        w.fixed(if place == 0 { "{\"" } else { ",\"" }).fixed(name).fixed("\":");
        w.number(*count);
    }
    w.fixed("}");
}

impl Entry for Foreign {
    fn write(&self, w: &mut Writer) {
        w.fixed("{\"beside\":").word(self.beside.as_str());
        w.fixed(",\"id\":").number(self.id).fixed("}");
    }
}

impl Entry for Attached {
    fn write(&self, w: &mut Writer) {
        let (cgroup, device) = match self.at {
            At::Cgroup(id) => (Some(id), None),
            At::Device(index) => (None, Some(index)),
            At::Machine => (None, None),
        };
        w.fixed("{\"cgroup\":").optional(cgroup.as_ref(), number);
        w.fixed(",\"device\":").optional(device.as_ref(), number);
        w.fixed(",\"id\":").number(self.id);
        w.fixed(",\"link\":").optional(self.link.as_ref(), number);
        w.fixed(",\"program\":").word(self.program.as_str());
        w.fixed(",\"tag\":").word(&format!("{:016x}", self.tag)).fixed("}");
    }
}
