//! One coverage in a bundle: the statements of some time, one behind the other, and what was counted
//! between them.

use std::collections::BTreeMap;

use crate::encoding::Id;
use crate::leaf::{
    Armed, Arrived, Bypass, BypassVerdict, Canary, Connection, Counts, CoverageMode, Sums,
};
use crate::verify::{
    Around, Covered, LET_AROUND, MORE_THAN_COUNTED, canary_led, is_let_around, next_up_to,
};

/// A stretch of one coverage.
pub(super) struct Window {
    /// What it says, in the end.
    pub(super) covered: Covered,
    /// What had come by each statement that is here; by number 0 nothing had.
    stated: BTreeMap<u64, Arrived>,
    /// What was counted by the first statement here, which the others are held against.
    base: Option<Counts>,
    counts: Counts,
    /// The number of the last way around.
    told: Option<u64>,
    around: Around,
    /// Connections of the canaries that are here.
    led: u64,
    /// Numbers of connections by the first statement that is to count them.
    early: BTreeMap<u64, Vec<u64>>,
    /// The first statement that counts any connection here.
    needs: Option<u64>,
}

impl Window {
    pub(super) fn new(coverage: Id, boot: Id, armed: &Armed, at: (u64, u64)) -> Self {
        Self {
            // Canaries may be left out, and later ones are: none that is here tests a channel.
            covered: Covered { whole: false, ..Covered::begun(coverage, boot, armed, at) },
            stated: BTreeMap::new(),
            base: None,
            counts: Counts::default(),
            told: None,
            around: Around::default(),
            led: 0,
            early: BTreeMap::new(),
            needs: None,
        }
    }

    fn is_open(&self) -> Result<(), String> {
        match self.covered.end {
            None => Ok(()),
            Some(_) => Err("stands behind the end of its coverage".to_owned()),
        }
    }

    pub(super) fn canary(&mut self, canary: &Canary, at: (u64, u64)) -> Result<(), String> {
        self.is_open()?;
        self.covered.tried(canary, at);
        canary_led(canary, &mut self.led)
    }

    pub(super) fn bypass(&mut self, leaf: &Bypass) -> Result<(), String> {
        self.is_open()?;
        let next = self.stated.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
        if leaf.statement != next {
            return Err(format!("is counted by statement {}, and {next} follows", leaf.statement));
        }
        let first = (leaf.statement == 1).then_some(0);
        if let Some(before) = self.told.or(first)
            && leaf.number != before.saturating_add(1)
        {
            return Err(format!("is way around {}, and follows {before}", leaf.number));
        }
        self.told = Some(leaf.number);
        self.around.take(leaf);
        if self.covered.mode == CoverageMode::Enforce && leaf.verdict == BypassVerdict::Passed {
            return Err(LET_AROUND.to_owned());
        }
        Ok(())
    }

    /// The next statement; the first one here may be any, and the others are held against it.
    pub(super) fn statement(
        &mut self,
        counts: Option<&Counts>,
        arrived: Arrived,
        number: u64,
        at: (u64, u64),
    ) -> Result<(), String> {
        self.is_open()?;
        let before = self.stated.last_key_value().map(|(number, arrived)| (*number, *arrived));
        match before {
            Some((before, _)) if before.checked_add(1) != Some(number) => {
                return Err(format!("statement {number} follows statement {before}"));
            }
            Some((_, before)) if !arrived.goes_on_from(&before) => {
                return Err("fewer connections had come than before".to_owned());
            }
            None if number != 1 && !self.around.is_settled() => {
                return Err("tells nothing of the ways around in front of it".to_owned());
            }
            _ => {}
        }
        if !arrived.holds() {
            return Err(
                "more connections have a process than came, or were led and refused than refused"
                    .to_owned(),
            );
        }
        self.stated.insert(number, arrived);
        let since = before.map_or_else(Arrived::default, |(_, before)| before);
        while let Some((_, waiting)) = next_up_to(&mut self.early, number) {
            let is_elsewhere = |own: &&u64| !arrived.is_first_to_count(**own, &since);
            if let Some(own) = waiting.iter().find(is_elsewhere) {
                return Err(format!("connection {own} is not among those that it is to count"));
            }
        }
        if before.is_none() && number != 1 {
            self.covered.from = at;
        }
        self.covered.to = at;
        let Some(counts) = counts else { return Ok(()) };
        if is_let_around(self.covered.mode, counts) {
            return Err(LET_AROUND.to_owned());
        }
        if !self.covered.goes_on_beside(counts) {
            return Err("fewer sockets or cgroups came late than before".to_owned());
        }
        self.counted(counts, arrived, before.is_none() && number != 1)
    }

    /// Holds the kernel's numbers against those before, and against what leaves tell of.
    fn counted(&mut self, counts: &Counts, arrived: Arrived, begins: bool) -> Result<(), String> {
        let units = [(&counts.connections, "connections"), (&counts.packets, "packets")];
        if let Some((_, unit)) = units.iter().find(|(sums, _)| !sums.add_up()) {
            return Err(format!("the {unit} do not add up"));
        }
        if arrived.led().saturating_add(self.led) > counts.connections.via_gateway {
            return Err("more connections came than were led to the gateway".to_owned());
        }
        if begins {
            (self.base, self.counts) = (Some(counts.clone()), counts.clone());
            return Ok(());
        }
        let base = self.base.get_or_insert_default();
        let now = [
            (
                &counts.connections,
                &self.counts.connections,
                &base.connections,
                &mut self.around.connects,
            ),
            (&counts.packets, &self.counts.packets, &base.packets, &mut self.around.packets),
        ];
        for (now, before, base, told) in now {
            if !now.goes_on_from(before) {
                return Err("a number became smaller".to_owned());
            }
            let read = now.events_read.saturating_sub(before.events_read);
            if let Some(told) = told.settle(read) {
                return Err(format!(
                    "{read} ways around were read since the statement before, {told} are told of"
                ));
            }
            if told.is_more_than(&now.since(base)) {
                return Err(MORE_THAN_COUNTED.to_owned());
            }
        }
        self.counts = counts.clone();
        let since = |now: &Sums, base: &Sums| Some(now.since(base));
        self.covered.connections = since(&counts.connections, &base.connections);
        self.covered.packets = since(&counts.packets, &base.packets);
        Ok(())
    }

    pub(super) fn connection(&mut self, leaf: &Connection) -> Result<(), String> {
        let (first, number) = (leaf.first, leaf.number);
        self.needs = Some(self.needs.map_or(first, |needs| needs.min(first)));
        let Some(by_then) = self.stated.get(&first).copied() else {
            if self.stated.last_key_value().is_none_or(|(last, _)| first > *last) {
                self.early.entry(first).or_default().push(number);
            }
            // Else it is behind the first statement here, which is found in the end.
            return Ok(());
        };
        let before = first.checked_sub(1).filter(|before| *before > 0);
        let before = match before {
            None => Some(Arrived::default()),
            Some(before) => self.stated.get(&before).copied(),
        };
        // Without the one before, that too is found in the end.
        match before {
            Some(before) if !by_then.is_first_to_count(number, &before) => {
                Err(format!("is not among those that statement {first} is the first to count"))
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with all of it: statements from before the first connection on are here.
    pub(super) fn wrong(&self) -> Option<String> {
        let Some(first) = self.needs else {
            return Some("has no connection that carried anything of the run".to_owned());
        };
        let begins = self.stated.first_key_value().map_or(1, |(number, _)| *number);
        let wanted = first.saturating_sub(1).max(1);
        (begins > wanted).then(|| {
            format!(
                "is shown from statement {begins} on, and a connection needs statement {wanted}"
            )
        })
    }

    pub(super) fn finish(mut self) -> Covered {
        self.covered.stated = u64::try_from(self.stated.len()).unwrap_or(u64::MAX);
        if let Some((_, arrived)) = self.stated.last_key_value() {
            self.covered.arrived = *arrived;
        }
        self.covered
    }
}
