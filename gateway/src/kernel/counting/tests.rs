//! Programs that count and tell at random, while statements are made of what they counted.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sealtap_common::kernel::{Bank, Counters, Flow, flag};

use super::super::banks::Source;
use super::{Counting, bank_of};

/// Numbers that look random, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A ring with little room, whose records may be reserved and come later, as on another processor.
#[derive(Clone, Default)]
struct Events(Rc<RefCell<VecDeque<(Flow, bool)>>>);

const ROOM: usize = 12;

impl Source for Events {
    fn take<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut all = self.0.borrow_mut();
        let (_, written) = all.front_mut()?;
        if !*written {
            // Next time it is: whoever reserved it goes on.
            *written = true;
            return None;
        }
        let (flow, _) = all.pop_front()?;
        Some(read(&bytes(&flow)))
    }
}

/// A record as the ring has it; what is not looked at here is nothing.
fn bytes(flow: &Flow) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<Flow>()];
    let at = std::mem::offset_of!(Flow, flags);
    bytes[at..at + 4].copy_from_slice(&flow.flags.to_ne_bytes());
    bytes
}

fn place_of(event: &Flow) -> usize {
    usize::try_from(bank_of(event)).unwrap()
}

/// What the kernel has.
#[derive(Default)]
struct Kernel {
    banks: [Bank; 2],
    counts_in: usize,
    events: Events,
    /// What happened in all, in each unit.
    seen: (u64, u64),
}

impl Kernel {
    /// One program runs to its end.
    fn one(&mut self, chance: &mut Chance) {
        let bank = self.counts_in;
        let packet = chance.below(2) == 1;
        let counters: &mut Counters = match packet {
            true => &mut self.banks[bank].packets,
            false => &mut self.banks[bank].connections,
        };
        counters.seen += 1;
        *(if packet { &mut self.seen.1 } else { &mut self.seen.0 }) += 1;
        match chance.below(6) {
            0 => counters.via_gateway += 1,
            1 => counters.loopback += 1,
            2 => counters.allowed += 1,
            3 => counters.unparsable += 1,
            around => {
                let denied = around == 4;
                *(if denied {
                    &mut counters.bypass_denied
                } else {
                    &mut counters.bypass_passed
                }) += 1;
                let mut events = self.events.0.borrow_mut();
                if events.len() >= ROOM {
                    counters.events_lost += 1;
                    return;
                }
                let odd = if bank == 1 { flag::ODD_BANK } else { 0 };
                let flags = odd | if packet { flag::PACKET } else { 0 };
                events.push_back((Flow { flags, ..Flow::default() }, chance.below(10) > 0));
            }
        }
    }
}

/// At each statement, and with whatever went on around it: all that was seen until the bank was turned is in
/// it, once, and nothing that was seen later.
#[test]
fn each_statement_has_exactly_what_was_seen_before_it() {
    for seed in 1_u64..=60 {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut kernel = Kernel::default();
        let mut counting = Counting::new(kernel.events.clone());
        let mut told = [0_u64; 2];
        for statement in 0..30 {
            for _ in 0..chance.below(40) {
                kernel.one(&mut chance);
                if chance.below(8) == 0 {
                    counting.read(&mut |event| told[place_of(event)] += 1);
                }
            }
            // As `Programs::count` does it.
            let closing = kernel.counts_in;
            let before = kernel.banks[1 - closing];
            // What still runs now counts into the bank that nobody reads yet.
            kernel.counts_in = 1 - closing;
            let (seen, closed) = (kernel.seen, kernel.banks[closing]);
            for _ in 0..chance.below(20) {
                kernel.one(&mut chance);
            }
            let number = u32::try_from(closing).unwrap();
            counting.settle(number, &closed, &mut |event| told[place_of(event)] += 1);
            let (connections, packets) = counting.together(&before, &closed);
            let place = format!("seed {seed}, statement {statement}: {connections:?} {packets:?}");
            assert!(connections.add_up() && packets.add_up(), "{place}");
            assert_eq!((connections.seen, packets.seen), seen, "{place}");
            // Whoever is told of an event is told of it once.
            let read = connections.events_read + packets.events_read;
            assert!(told.iter().sum::<u64>() >= read, "{place}");
        }
    }
}
