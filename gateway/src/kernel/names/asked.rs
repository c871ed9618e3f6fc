//! Asked: which names were asked for in a time, by whom, and how often.

use std::collections::BTreeMap;
use std::fmt;

use sealtap_common::unit::{Asker, Questions};

use super::super::message::Packet;
use super::question::{self, Question};
use crate::clock::Reading;

/// Names of one asker that are told of one by one between two statements, and the bytes of all of them.
const EACH: usize = 4096;
const BYTES: usize = 256 << 10;

/// What is the same of several questions: what was asked, and who did.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OfAKind {
    question: Question,
    process: u32,
    executable: Option<String>,
}

/// How often, and when first and last, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    count: u64,
    first: u64,
    last: u64,
}

/// What was asked in a time.
#[derive(Clone, Default)]
pub struct Asked {
    /// Packets whose questions were all read.
    pub parsed: u64,
    /// Packets of which not all could be.
    pub unparsable: u64,
    /// Packets, of either, of which only the beginning was there.
    pub cut: u64,
    /// Questions that were read.
    pub questions: u64,
    /// Questions that are not told of one by one.
    pub omitted: u64,
    each: BTreeMap<OfAKind, Times>,
    bytes: usize,
}

// Names are sealed as a committed unit, and reach no log.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Asked");
        shown.field("parsed", &self.parsed).field("unparsable", &self.unparsable);
        shown.field("questions", &self.questions).finish_non_exhaustive()
    }
}

impl Asked {
    /// Takes a packet to the resolver.
    pub(in super::super) fn add(&mut self, packet: Packet, now: &Reading) {
        let read = question::read(&packet);
        let count = |counter: &mut u64, counts: bool| {
            *counter = counter.saturating_add(u64::from(counts));
        };
        count(&mut self.parsed, read.whole);
        count(&mut self.unparsable, !read.whole);
        count(&mut self.cut, !question::is_whole(&packet));
        // It passed before it was read.
        let ago = now.boottime_us.saturating_sub(packet.passed / 1_000);
        let at = now.wall_us.saturating_sub(ago);
        for question in read.questions {
            let (process, executable) = (packet.process, packet.executable.clone());
            let times = Times { count: 1, first: at, last: at };
            self.questions = self.questions.saturating_add(1);
            self.put(OfAKind { question, process, executable }, times);
        }
    }

    /// Takes what came later.
    pub(in super::super) fn append(&mut self, later: Self) {
        let sums = [
            (&mut self.parsed, later.parsed),
            (&mut self.unparsable, later.unparsable),
            (&mut self.cut, later.cut),
            (&mut self.questions, later.questions),
            (&mut self.omitted, later.omitted),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        for (kind, times) in later.each {
            self.put(kind, times);
        }
    }

    fn put(&mut self, kind: OfAKind, times: Times) {
        if let Some(known) = self.each.get_mut(&kind) {
            known.count = known.count.saturating_add(times.count);
            known.first = known.first.min(times.first);
            known.last = known.last.max(times.last);
            return;
        }
        let path = kind.executable.as_ref().map_or(0, String::len);
        let bytes = self.bytes.saturating_add(kind.question.name.len()).saturating_add(path + 128);
        if self.each.len() >= EACH || bytes > BYTES {
            self.omitted = self.omitted.saturating_add(times.count);
            return;
        }
        self.bytes = bytes;
        self.each.insert(kind, times);
    }

    /// Packets that were read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.parsed.saturating_add(self.unparsable)
    }

    /// What is committed to, in at most so many bytes, and how many questions it leaves out; none where
    /// nothing is told of one by one.
    pub(super) fn unit(&self, most: usize) -> (Option<Vec<u8>>, u64) {
        let octets = |text: &str| text.as_bytes().to_vec().into();
        let asker = |(kind, times): (&OfAKind, &Times)| Asker {
            class: kind.question.class,
            count: times.count,
            executable: kind.executable.as_deref().map(octets),
            first: times.first,
            last: times.last,
            name: octets(&kind.question.name),
            process: (kind.process != 0).then(|| kind.process.into()),
            kind: kind.question.kind,
        };
        let mut listed = self.each.len();
        while listed > 0 {
            let questions = self.each.iter().take(listed).map(asker).collect();
            let unit = Questions { questions }.encode();
            if unit.len() <= most {
                let left = self.each.values().skip(listed).map(|times| times.count);
                return (Some(unit), self.omitted.saturating_add(left.sum()));
            }
            listed /= 2;
        }
        (None, self.questions)
    }
}
