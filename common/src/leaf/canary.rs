//! The leaf of the kind `coverage-canary`: a probe within what is watched tried each way out.

use super::coverage::{Coverage, CoverageSaid};
use super::decode::{extensions, id, version, word};
use super::encode::Writer;
use super::words::Channel;
use crate::json::{FieldError, Members, Problem, Refusal, Value};
use crate::words::words;

words! {
    /// A way out that a canary tries.
    CanaryWay {
        /// TCP over IPv4.
        Tcp4 = "tcp4",
        /// TCP over IPv6.
        Tcp6 = "tcp6",
        /// TCP over IPv4 from a socket of IPv6.
        TcpMapped = "tcp_mapped",
        /// TCP whose first segment has data.
        FastOpen = "fast_open",
        /// TCP over several paths.
        Multipath = "multipath",
        /// UDP over IPv4, connected.
        Udp4Connected = "udp4_connected",
        /// UDP over IPv4, address by address.
        Udp4 = "udp4",
        /// UDP over IPv6, address by address.
        Udp6 = "udp6",
        /// UDP over IPv4 from a socket of IPv6.
        UdpMapped = "udp_mapped",
        /// A raw socket of IPv4 with a header of its own.
        Raw4 = "raw4",
        /// A frame below the network.
        Packet = "packet",
        /// A socket of virtual machines.
        Vsock = "vsock",
    }
}

words! {
    /// What became of a way out.
    CanaryOutcome {
        /// It led to the gateway.
        Led = "led",
        /// The system refused it.
        Denied = "denied",
        /// It went around the gateway.
        Passed = "passed",
        /// Nobody refused it, and it did not arrive.
        Unseen = "unseen",
        /// It cannot be gone on this machine, watched or not.
        Unavailable = "unavailable",
    }
}

impl CanaryWay {
    /// The channel that it is a way of.
    #[must_use]
    pub const fn channel(self) -> Channel {
        match self {
            Self::Tcp4 | Self::Tcp6 | Self::TcpMapped | Self::FastOpen | Self::Multipath => {
                Channel::Tcp
            }
            Self::Udp4Connected | Self::Udp4 | Self::Udp6 | Self::UdpMapped => Channel::Udp,
            Self::Raw4 => Channel::Raw,
            Self::Packet => Channel::Packet,
            Self::Vsock => Channel::Vsock,
        }
    }

    /// Whether it is one that makes a connection of TCP.
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        matches!(self.channel(), Channel::Tcp)
    }
}

/// What became of every registered way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Connections that the kernel led to the canary's own listener; the coverage counted them.
    pub led: u64,
    /// Each way, in the order of the registered ones.
    pub trials: Vec<Trial>,
}

/// One way out, tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Whether the same program reached the same target by this way while it was not watched.
    pub control: bool,
    /// What became of it while it was.
    pub outcome: CanaryOutcome,
}

impl Trial {
    /// Whether the outcome can be, beside what the control showed: a way that cannot be gone at all says
    /// nothing of whoever stops it.
    #[must_use]
    pub fn holds(self) -> bool {
        self.control != (self.outcome == CanaryOutcome::Unavailable)
    }
}

impl Canary {
    /// Each way with what became of it.
    pub fn ways(&self) -> impl Iterator<Item = (CanaryWay, Trial)> {
        CanaryWay::ALL.iter().copied().zip(self.trials.iter().copied())
    }

    /// How many of its connections can have been led to it: one by each way of TCP that was neither
    /// stopped nor went around.
    #[must_use]
    pub fn most_led(&self) -> u64 {
        let stayed = |outcome| !matches!(outcome, CanaryOutcome::Denied | CanaryOutcome::Passed);
        let led = self.ways().filter(|(way, trial)| way.is_tcp() && stayed(trial.outcome));
        u64::try_from(led.count()).unwrap_or(u64::MAX)
    }

    /// The ways with this outcome.
    #[must_use]
    pub fn with(&self, outcome: CanaryOutcome) -> Vec<CanaryWay> {
        let found = self.ways().filter(|(_, trial)| trial.outcome == outcome);
        found.map(|(way, _)| way).collect()
    }

    pub(super) fn encode(&self, coverage: &Coverage, w: &mut Writer) {
        w.fixed("\"boot\":").id(&coverage.boot).fixed(",\"canary\":[");
        for (place, (way, trial)) in self.ways().enumerate() {
            w.fixed(if place == 0 { "" } else { "," });
            w.fixed("{\"control\":").flag(trial.control);
            w.fixed(",\"outcome\":").word(trial.outcome.as_str());
            w.fixed(",\"way\":").word(way.as_str()).fixed("}");
        }
        w.fixed("],\"coverage\":").id(&coverage.coverage).fixed(",\"ext\":").ext(&coverage.ext);
        w.fixed(",\"kind\":").word(coverage.kind().as_str()).fixed(",\"led\":").number(self.led);
    }

    pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Coverage, FieldError> {
        let boot = m.take("boot", id)?;
        let trials = m.take("canary", |v| -> Result<Vec<_>, Refusal> {
            let listed = v.array()?;
            if listed.len() != CanaryWay::ALL.len() {
                return Err(Problem::Value("does not list every way".into()).into());
            }
            listed.iter().zip(CanaryWay::ALL).map(|(listed, way)| trial(listed, *way)).collect()
        })?;
        let coverage = m.take("coverage", id)?;
        let ext = m.take("ext", extensions)?;
        m.take("kind", Value::text)?;
        let led = m.take("led", Value::unsigned)?;
        let sealed = m.take("sealed", Value::unsigned)?;
        version(m)?;
        Ok(Coverage {
            boot,
            coverage,
            ext,
            said: CoverageSaid::Canary(Self { led, trials }),
            sealed,
        })
    }
}

fn trial(value: &Value, wanted: CanaryWay) -> Result<Trial, Refusal> {
    let mut m = value.members()?;
    let control = m.take("control", Value::flag)?;
    let outcome = m.take("outcome", |v| word(v, CanaryOutcome::parse))?;
    m.take("way", |v| match word(v, CanaryWay::parse)? {
        way if way == wanted => Ok(()),
        _ => Err(Problem::Value("is not in the place of its way".into())),
    })?;
    m.end()?;
    let trial = Trial { control, outcome };
    match trial.holds() {
        true => Ok(trial),
        false => Err(Problem::Value("has an outcome against its control".into()).into()),
    }
}
