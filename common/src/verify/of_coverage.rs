//! What the leaves of one coverage say of connections and of ways around, held against its statements.

use std::collections::BTreeMap;

use super::around::{Around, MORE_THAN_COUNTED};
use super::connections::Joined;
use super::history::{Broken, broken};
use super::numbers::Numbers;
use super::states::LET_AROUND;
use super::{Place, Report, What};
use crate::encoding::Id;
use crate::leaf::{
    Arrived, Attribution, Bypass, BypassVerdict, Canary, Connection, ConnectionEnd, Counts,
};

/// What there is of one coverage so far.
#[derive(Debug)]
pub(super) struct OfCoverage {
    pub(super) boot: Id,
    /// Whether what is not led to the gateway is denied.
    pub(super) enforces: bool,
    /// What had come by each statement.
    pub(super) stated: Vec<Arrived>,
    via_gateway: u64,
    /// Numbers of connections that have a leaf, and of those refused.
    pub(super) numbers: Numbers,
    refused: Numbers,
    /// Refused ones that the kernel had led here: by the last statement, and by the first one that is to
    /// count them.
    led_refused: u64,
    led_later: BTreeMap<u64, u64>,
    /// Connections that wait for their first statement: leaf and number of each, by that statement.
    early: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Connections of canaries that were led to these: as of the last statement, and since.
    canary: (u64, u64),
    /// Whether it was said that it is over.
    pub(super) closed: bool,
    /// Leaves about ways around.
    told: u64,
    /// What these count.
    around: Around,
    /// Events that were read by the last statement: of connections, and of packets.
    read: (u64, u64),
    pub(super) joined: Joined,
}

impl OfCoverage {
    pub(super) fn new(coverage: Id, boot: Id) -> Self {
        Self {
            boot,
            enforces: false,
            stated: Vec::new(),
            via_gateway: 0,
            canary: (0, 0),
            closed: false,
            numbers: Numbers::default(),
            refused: Numbers::default(),
            led_refused: 0,
            led_later: BTreeMap::new(),
            early: BTreeMap::new(),
            told: 0,
            around: Around::default(),
            read: (0, 0),
            joined: Joined { coverage, ..Joined::default() },
        }
    }

    /// What had come by the statement before the one with this number.
    pub(super) fn before(&self, number: u64) -> Option<Arrived> {
        let Some(before) = number.checked_sub(2) else { return Some(Arrived::default()) };
        self.stated.get(usize::try_from(before).ok()?).copied()
    }

    pub(super) fn statement(
        &mut self,
        counts: Option<&Counts>,
        arrived: Arrived,
        number: u64,
        (index, report): (u64, &mut Report),
    ) -> Result<(), Broken> {
        let before = self.stated.last().copied().unwrap_or_default();
        self.stated.push(arrived);
        // Each waits once, however many statements come before its own.
        while let Some((first, waiting)) = next_up_to(&mut self.early, number) {
            for (at, own) in waiting {
                if !arrived.is_first_to_count(own, &before) {
                    report.find(What::Coverage, Place::Leaf(at), elsewhere(own, first));
                }
            }
        }
        while let Some((_, led)) = next_up_to(&mut self.led_later, number) {
            self.led_refused = self.led_refused.saturating_add(led);
        }
        if !arrived.goes_on_from(&before) {
            return broken(What::Coverage, "fewer connections had come than before".to_owned());
        }
        let Some(counts) = counts else { return self.refusals() };
        let connections = &counts.connections;
        self.via_gateway = connections.via_gateway;
        let (counted, since) = self.canary;
        self.canary = (counted.saturating_add(since), 0);
        let (connects_read, packets_read) = &mut self.read;
        let units = [
            (&mut self.around.connects, connects_read, connections.events_read),
            (&mut self.around.packets, packets_read, counts.packets.events_read),
        ];
        // Each is settled, whatever is wrong with the one before it.
        let mut untold = None;
        for (told, before, now) in units {
            let read = now.saturating_sub(std::mem::replace(before, now));
            untold = untold.or(told.settle(read).map(|told| (read, told)));
        }
        if let Some((read, told)) = untold {
            let detail = format!(
                "{read} ways around were read since the statement before leaf {index}, {told} are told of"
            );
            return broken(What::Coverage, detail);
        }
        let Around { connects, packets } = &self.around;
        if connects.is_more_than(connections) || packets.is_more_than(&counts.packets) {
            return broken(What::Coverage, MORE_THAN_COUNTED.to_owned());
        }
        self.refusals()?;
        if arrived.led().saturating_add(self.canary.0) > connections.via_gateway {
            let detail = "more connections came, were refused, or were a canary's, than were led to \
                          the gateway";
            return broken(What::Coverage, detail.to_owned());
        }
        Ok(())
    }

    /// Holds the refused connections that were led here against the last statement.
    fn refusals(&self) -> Result<(), Broken> {
        let counted = self.stated.last().map_or(0, |arrived| arrived.refused_led);
        if self.led_refused > counted {
            let detail = "more connections that were led here were refused than its numbers say";
            return broken(What::Coverage, detail.to_owned());
        }
        Ok(())
    }

    /// A canary's connections are the coverage's, and are led to the canary itself.
    pub(super) fn canary(&mut self, canary: &Canary) -> Result<(), Broken> {
        canary_led(canary, &mut self.canary.1).or_else(|detail| broken(What::Coverage, detail))
    }

    pub(super) fn connection(&mut self, leaf: &Connection, index: u64) -> Result<(), Broken> {
        let (number, first) = (leaf.number, leaf.first);
        let is_refused = leaf.end == ConnectionEnd::Refused;
        let numbers = if is_refused { &mut self.refused } else { &mut self.numbers };
        if !numbers.insert(number) {
            let detail = format!("connection {number} of {} has a second leaf", leaf.coverage);
            return broken(What::Coverage, detail);
        }
        let count = |counter: &mut u64, counts: bool| {
            *counter = counter.saturating_add(u64::from(counts));
        };
        count(&mut self.joined.refused, is_refused);
        count(&mut self.joined.carried, !is_refused);
        let is_unknown = !is_refused && leaf.attribution == Attribution::Unknown;
        count(&mut self.joined.unknown, is_unknown);
        count(&mut self.joined.interrupted, leaf.end == ConnectionEnd::Interrupted);
        if is_refused {
            if leaf.cookie.is_some() {
                let is_stated = u64::try_from(self.stated.len()).is_ok_and(|now| first <= now);
                let led = match is_stated {
                    true => &mut self.led_refused,
                    false => self.led_later.entry(first).or_default(),
                };
                count(led, true);
                if is_stated {
                    // No statement that counts it may follow.
                    return self.refusals();
                }
            }
            return Ok(());
        }
        let stated = usize::try_from(first.saturating_sub(1)).ok();
        match stated.and_then(|at| self.stated.get(at)) {
            None => self.early.entry(first).or_default().push((index, number)),
            Some(by_then) => {
                let before = self.before(first).unwrap_or_default();
                if !by_then.is_first_to_count(number, &before) {
                    return broken(What::Coverage, elsewhere(number, first));
                }
            }
        }
        Ok(())
    }

    pub(super) fn bypass(&mut self, leaf: &Bypass) -> Result<(), Broken> {
        let (told, next) = (self.told.saturating_add(1), self.stated.len().saturating_add(1));
        self.told = leaf.number;
        self.around.take(leaf);
        if leaf.verdict == BypassVerdict::Denied {
            self.joined.denied = self.joined.denied.saturating_add(leaf.count);
        }
        self.joined.around = self.joined.around.saturating_add(leaf.count);
        if self.enforces && leaf.verdict == BypassVerdict::Passed {
            return broken(What::Coverage, LET_AROUND.to_owned());
        }
        if self.closed {
            return broken(What::Coverage, "stands behind the end of its coverage".to_owned());
        }
        if leaf.number != told {
            let detail = format!("way around {} follows {}", leaf.number, told.saturating_sub(1));
            return broken(What::Coverage, detail);
        }
        if u64::try_from(next) != Ok(leaf.statement) {
            let detail = format!("is counted by statement {}, and {next} follows", leaf.statement);
            return broken(What::Coverage, detail);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, known: u64) -> Joined {
        let refused = self.stated.last().map_or(0, |arrived| arrived.refused_led);
        self.joined.open = known.saturating_sub(self.joined.carried);
        let came = known.saturating_add(refused);
        self.joined.missed = self.via_gateway.saturating_sub(came.saturating_add(self.canary.0));
        self.joined
    }
}

/// Takes out what belongs to the first statement of those up to this one.
pub(crate) fn next_up_to<T>(by_statement: &mut BTreeMap<u64, T>, number: u64) -> Option<(u64, T)> {
    let first = by_statement.first_entry().filter(|first| *first.key() <= number)?;
    Some(first.remove_entry())
}

/// Adds what a canary says was led to it, as far as it made that many: what it could not make hides
/// nothing.
pub(crate) fn canary_led(canary: &Canary, led: &mut u64) -> Result<(), String> {
    let (said, most) = (canary.led, canary.most_led());
    *led = led.saturating_add(said.min(most));
    match said <= most {
        true => Ok(()),
        false => Err(format!("{said} connections of a canary were led here, it made {most}")),
    }
}

/// What is wrong with a connection that another statement is the first to count.
fn elsewhere(number: u64, first: u64) -> String {
    format!("connection {number} is not among those that statement {first} is the first to count")
}
