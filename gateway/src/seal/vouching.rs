//! Vouching: how those fare who are asked to vouch for the log, for whoever watches.
//!
//! In: a word from the threads that ask, after each answer. Out: an [`Account`] of each. One short
//! lock, taken by one thread and a reader; no thread of traffic comes here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What one of them has done.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Leaves of the last checkpoint that it vouched for.
    pub size: u64,
    /// How often it did, since the gateway started.
    pub answers: u64,
    /// How often it was asked in vain.
    pub failures: u64,
    /// When it did last; before it ever did, when the gateway started.
    pub last: SystemTime,
}

impl Account {
    /// How long ago it vouched for anything.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.last.elapsed().unwrap_or_default()
    }
}

/// A witness, or the timestamp authority.
#[derive(Debug)]
pub struct Voucher {
    /// Its name in the configuration.
    pub name: String,
    account: Mutex<Account>,
}

impl Voucher {
    /// One that has not been asked yet.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        let account = Account { size: 0, answers: 0, failures: 0, last: SystemTime::now() };
        Arc::new(Self { name: name.to_owned(), account: Mutex::new(account) })
    }

    /// What it has done so far.
    #[must_use]
    pub fn account(&self) -> Account {
        *self.lock()
    }

    /// It vouched for `size` leaves before this gateway started.
    pub(super) fn found(&self, size: u64, last: SystemTime) {
        let mut account = self.lock();
        (account.size, account.last) = (size, last);
    }

    /// It vouches for `size` leaves.
    pub(super) fn vouched(&self, size: u64) {
        let mut account = self.lock();
        account.size = account.size.max(size);
        account.answers = account.answers.saturating_add(1);
        account.last = SystemTime::now();
    }

    /// It was asked in vain.
    pub(super) fn failed(&self) {
        let mut account = self.lock();
        account.failures = account.failures.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All who are asked.
#[derive(Clone, Debug, Default)]
pub struct Vouching {
    /// The witnesses of the policy, in its order.
    pub witnesses: Vec<Arc<Voucher>>,
    /// The timestamp authority.
    pub authority: Option<Arc<Voucher>>,
}
