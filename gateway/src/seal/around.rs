//! Ways around on their way from the journal to their leaf.

use std::borrow::Cow;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Bypass, BypassUnit, BypassVerdict, BypassWay, Extensions};
use sealtap_common::unit::{Maker, NotedBy, ProcessSeen};

use super::connections::{KeptUnit, LEAF};
use super::pins::Held;
use crate::capture::connection::WentAround;
use crate::capture::record::kind;

/// A way around, but for the time of its leaf.
#[derive(Debug)]
pub struct DigestedBypass {
    /// Its leaf.
    pub leaf: Bypass,
    /// The unit that the leaf binds.
    pub unit: Option<KeptUnit>,
    /// The journal file that its record is in.
    pub first_file: u64,
    /// What is counted of it on its way to the store, in bytes; 0 where nothing is.
    pub weight: u64,
}

impl DigestedBypass {
    /// What the journal keeps for it.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let Bypass { coverage, number, .. } = &self.leaf;
        self.unit.is_some().then_some(Held::Aside(kind::WENT_AROUND, coverage.0, *number))
    }

    /// Counts it from now on; about how much memory it takes, its leaf included, in bytes.
    pub fn weigh(&mut self) -> u64 {
        let unit = self.unit.as_ref().map_or(0, KeptUnit::taken);
        self.weight = u64::try_from(size_of::<Self>() + unit + LEAF).unwrap_or(u64::MAX);
        self.weight
    }
}

/// Something went around.
pub(super) fn went_around(
    boot: [u8; 16],
    payload: &[u8],
    first_file: u64,
) -> Option<Box<DigestedBypass>> {
    let around = postcard::from_bytes::<WentAround<'_>>(payload).ok()?;
    let octets = |text: &str| Cow::Owned(text.as_bytes().to_vec());
    let kept = around.who.map(|(key, who)| {
        let maker = Maker {
            client: None,
            destination: Some(octets(&who.destination.to_string())),
            noted: Some(NotedBy { process: u64::from(who.process), user: None }),
            process: who.executable.as_deref().map(|executable| ProcessSeen {
                executable: Some(octets(executable)),
                ..ProcessSeen::default()
            }),
        };
        KeptUnit::new(key, &maker)
    });
    let (unit, bound) = kept.unzip();
    let leaf = Bypass {
        boot: Id(boot),
        count: around.count,
        coverage: Id(around.coverage),
        ext: Extensions::new(),
        number: around.number,
        sealed: 0,
        statement: around.statement,
        unit: BypassUnit::parse(&around.unit)?,
        verdict: BypassVerdict::parse(&around.verdict)?,
        way: BypassWay::parse(&around.way)?,
        who: bound,
    };
    Some(Box::new(DigestedBypass { leaf, unit, first_file, weight: 0 }))
}
