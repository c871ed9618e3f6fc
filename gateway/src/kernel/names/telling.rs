//! Telling: what was asked, on its way into the log: one leaf with the statement that counts it.

use super::super::message::NamesCounted;
use super::Asked;
use crate::capture::connection::{NamesAsked, Notes};

/// What was told of so far, in packets to the resolver and in questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Packets.
    pub seen: u64,
    /// Those whose questions were all read.
    pub parsed: u64,
    /// Those of which not all could be.
    pub unparsable: u64,
    /// Those that found no room.
    pub lost: u64,
    /// Those of which only the beginning was there.
    pub cut: u64,
    /// Questions that were read.
    pub questions: u64,
}

/// Has leaves made about it.
pub(in super::super) struct Telling {
    coverage: [u8; 16],
    told: u64,
    sums: Told,
    untold: Option<NamesAsked>,
}

impl Telling {
    pub(in super::super) fn new(coverage: [u8; 16]) -> Self {
        Self { coverage, told: 0, sums: Told::default(), untold: None }
    }

    /// What this statement counts, in a record of at most so many bytes; gives how many found no room since
    /// the one before. Where the numbers are not
    /// known any more, what was read is told of all the same.
    pub(in super::super) fn add(
        &mut self,
        asked: &Asked,
        counted: Option<NamesCounted>,
        (statement, most): (u64, usize),
    ) -> u64 {
        let lost = counted.map_or(0, |counted| counted.lost.saturating_sub(self.sums.lost));
        let seen = asked.read().saturating_add(lost);
        if seen == 0 {
            return lost;
        }
        self.told = self.told.saturating_add(1);
        let sums = [
            (&mut self.sums.seen, seen),
            (&mut self.sums.parsed, asked.parsed),
            (&mut self.sums.unparsable, asked.unparsable),
            (&mut self.sums.lost, lost),
            (&mut self.sums.cut, asked.cut),
            (&mut self.sums.questions, asked.questions),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        // Beside it stand ten numbers and a key.
        let (unit, omitted) = asked.unit(most.saturating_sub(256));
        self.untold = Some(NamesAsked {
            coverage: self.coverage,
            number: self.told,
            statement,
            seen,
            parsed: asked.parsed,
            unparsable: asked.unparsable,
            lost,
            cut: asked.cut,
            questions: asked.questions,
            omitted,
            names: unit.map(|unit| ([0; 32], unit)),
        });
        lost
    }

    /// What was told of so far.
    pub(in super::super) fn told(&self) -> Told {
        self.sums
    }

    /// Notes what is not noted; whether the journal took it.
    pub(in super::super) fn tell(&mut self, notes: &Notes) -> bool {
        let Some(asked) = &mut self.untold else { return true };
        if let Some((key, _)) = &mut asked.names {
            *key = notes.key();
        }
        if !notes.names_asked(asked) {
            return false;
        }
        self.untold = None;
        true
    }
}
