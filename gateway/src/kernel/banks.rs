//! Banks: records that the programs wrote into a ring, each counted in one of two banks.
//!
//! In: a ring of the programs. Out: its records in their order, and how many were read of each bank, so that a
//! bank that is closed can be waited for. A ring's records of both banks lie behind one another.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use sealtap_common::kernel::flag;

/// How long a record may be on its way that was counted, and between two looks for it.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(200);

/// What a ring holds.
pub(super) trait Record: Sized {
    /// How many were read.
    type Read: Copy + Default + AddAssign;

    /// Those that are read before somebody else has a turn.
    const AT_ONCE: usize;

    /// The one in these bytes; none where they have another length.
    fn within(bytes: &[u8]) -> Option<Self>;

    /// What the programs noted of it ([`flag`]).
    fn flags(&self) -> u32;

    /// This one alone.
    fn counted(&self) -> Self::Read;

    /// The bank that it was counted in.
    fn bank(&self) -> u32 {
        u32::from(self.flags() & flag::ODD_BANK != 0)
    }
}

/// Where records come from, one behind the other.
pub(super) trait Source {
    /// Does something with the bytes of the next one, if it is there.
    fn take<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T>;
}

impl Source for RingBuf<MapData> {
    fn take<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.next().map(|bytes| read(&bytes))
    }
}

/// A ring, and how many of its records were read.
pub(super) struct Ring<R: Record, S = RingBuf<MapData>> {
    ring: S,
    read: Banks<R::Read>,
    /// The same when each bank was closed last.
    closed: Banks<R::Read>,
}

/// One for each bank.
#[derive(Clone, Copy, Default)]
struct Banks<T> {
    even: T,
    odd: T,
}

impl<T> Banks<T> {
    const fn of(&mut self, bank: u32) -> &mut T {
        match bank {
            0 => &mut self.even,
            _ => &mut self.odd,
        }
    }
}

impl<R: Record, S: Source> Ring<R, S> {
    /// With nothing read so far.
    pub(super) fn new(ring: S) -> Self {
        Self { ring, read: Banks::default(), closed: Banks::default() }
    }

    /// What becomes readable when a record comes.
    pub(super) const fn readable(&self) -> &S {
        &self.ring
    }

    /// Hands on what came since the last look, as much as is read at once.
    pub(super) fn read(&mut self, told: &mut impl FnMut(&R)) {
        for _ in 0..R::AT_ONCE {
            if !self.next(told) {
                return;
            }
        }
    }

    fn next(&mut self, told: &mut impl FnMut(&R)) -> bool {
        let Some(record) = self.ring.take(R::within) else { return false };
        let Some(record) = record else { return true };
        *self.read.of(record.bank()) += record.counted();
        told(&record);
        true
    }

    /// Reads on until `all` of a closed bank were read, or those that are missing had their time.
    pub(super) fn settle(
        &mut self,
        bank: u32,
        all: impl Fn(R::Read) -> bool,
        told: &mut impl FnMut(&R),
    ) {
        let deadline = Instant::now() + ON_ITS_WAY;
        while !all(*self.read.of(bank)) {
            // A record in front of it may still be on its way, of the bank that counts now.
            if !self.next(told) {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
        // What was read already of the bank that counts now is for the next statement.
        *self.closed.of(bank) = *self.read.of(bank);
    }

    /// How many of both banks together were read when each was closed last.
    pub(super) fn together(&self) -> R::Read {
        let mut sum = self.closed.even;
        sum += self.closed.odd;
        sum
    }
}
