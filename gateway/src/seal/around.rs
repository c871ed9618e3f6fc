//! Ways around on their way from the journal to their leaf.

use std::borrow::Cow;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Bypass, BypassUnit, BypassVerdict, BypassWay, Extensions};
use sealtap_common::unit::{Maker, NotedBy, ProcessSeen};

use super::aside::DigestedAside;
use super::connections::KeptUnit;
use super::pins::Held;
use crate::capture::connection::WentAround;
use crate::capture::record::kind;

/// A way around, but for the time of its leaf.
pub(super) type DigestedBypass = DigestedAside<Bypass>;

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
    let held = Held::Aside(kind::WENT_AROUND, around.coverage, around.number);
    Some(Box::new(DigestedAside::new(leaf, unit, held, first_file)))
}
