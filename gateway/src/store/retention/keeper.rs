//! The keeper: decides when retention does its next small step, beside compaction.
//!
//! In: the store, the time, and a way to have a statement sealed. Out: at most one small step each
//! time it is asked, so that compaction, which shares the thread, never waits long. It fails by
//! saying so once, and tries again later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sealtap_common::leaf::{Limit, Ranges};

use super::{Policy, PrunedNow, Tidied};
use crate::store::{Store, StoreError};

/// Exchanges destroyed in one step.
const STEP: u32 = 64;
/// How often the size is looked at.
const SOON: Duration = Duration::from_secs(1);
/// How long somebody who reads may be in the way before that is said.
const LONG: Duration = Duration::from_secs(30);
/// How long to wait for a statement before it is asked for again, and at most after a failure.
const LATER: Duration = Duration::from_secs(60);

/// What a statement is to say: which leaves, and under which limits.
pub type Ask<'a> = dyn FnMut(Ranges, Limit) -> bool + 'a;

/// Retention's next step and when it is due.
#[derive(Debug)]
pub struct Keeper {
    policy: Policy,
    /// Where another policy appears.
    wanted: Arc<ArcSwap<Policy>>,
    /// Not before this.
    next: Instant,
    /// Ages are looked at not before this.
    next_age: Instant,
    /// A statement was asked for that holds what is too old.
    asked_for_age: bool,
    /// Whether what was destroyed has yet to go from the files; none before it was looked whether anything was.
    tidy: Option<bool>,
    /// The files are tidied not before this, where somebody who reads was in the way, and after this pause.
    next_tidy: Instant,
    tidy_pause: Duration,
    /// Since when somebody who reads is in the way, and whether that was said.
    in_the_way: Option<(Instant, bool)>,
    complained: bool,
    /// Before the next try, should this one fail.
    pause: Duration,
    /// It was said that nothing more can be destroyed.
    exhausted: bool,
}

impl Keeper {
    /// A keeper of whatever policy is `wanted`, which first finishes what was stated before.
    #[must_use]
    pub fn following(wanted: Arc<ArcSwap<Policy>>) -> Self {
        let now = Instant::now();
        let policy = **wanted.load();
        Self {
            policy,
            wanted,
            next: now,
            next_age: now,
            asked_for_age: false,
            tidy: None,
            next_tidy: now,
            tidy_pause: SOON,
            in_the_way: None,
            complained: false,
            pause: SOON,
            exhausted: false,
        }
    }

    /// How long until there may be something to do, or another policy to be found.
    #[must_use]
    pub fn wait(&self) -> Duration {
        match self.has_to_do() {
            true => self.next.saturating_duration_since(Instant::now()),
            false => SOON,
        }
    }

    /// Whether there may be something to do although nothing was published.
    pub fn is_on(&mut self) -> bool {
        self.follow();
        self.has_to_do()
    }

    fn has_to_do(&self) -> bool {
        self.policy.is_on() || self.tidy != Some(false)
    }

    /// Takes over the policy that is wanted by now.
    fn follow(&mut self) {
        let wanted = **self.wanted.load();
        if wanted != self.policy {
            let now = Instant::now();
            (self.policy, self.next, self.next_age, self.exhausted) = (wanted, now, now, false);
            self.asked_for_age = false;
        }
    }

    /// Something was stated: it is to be destroyed at once.
    pub fn stated(&mut self) {
        let now = Instant::now();
        (self.tidy, self.next, self.next_tidy, self.tidy_pause) = (Some(true), now, now, SOON);
        if std::mem::take(&mut self.asked_for_age) {
            self.ages_were_looked_at();
        }
    }

    /// Does the next step, if one is due; `ask` has a statement sealed, or gives false where the log
    /// takes no more.
    pub fn step(&mut self, store: &mut Store, now_us: u64, ask: &mut Ask<'_>) -> PrunedNow {
        self.follow();
        if Instant::now() < self.next {
            return PrunedNow::default();
        }
        match self.try_step(store, now_us, ask) {
            Ok(pruned) => {
                self.pause = SOON;
                if std::mem::take(&mut self.complained) {
                    tracing::info!("retention works again");
                }
                pruned
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(%error, "retention fails; trying again");
                }
                self.next = Instant::now() + self.pause;
                self.pause = self.pause.saturating_mul(2).min(LATER);
                PrunedNow::default()
            }
        }
    }

    fn try_step(
        &mut self,
        store: &mut Store,
        now_us: u64,
        ask: &mut Ask<'_>,
    ) -> Result<PrunedNow, StoreError> {
        if !store.to_prune()?.is_empty() {
            self.tidy = Some(true);
            let pruned = store.prune(STEP)?;
            self.next = Instant::now();
            return Ok(pruned);
        }
        let tidy = match self.tidy {
            Some(tidy) => tidy,
            None => store.has_stated()?,
        };
        self.tidy = Some(tidy);
        if tidy && Instant::now() >= self.next_tidy && self.tidied(store)? {
            return Ok(PrunedNow::default());
        }
        self.next = Instant::now() + SOON;
        let policy = self.current();
        let Some((first, last)) = store.due(policy, now_us)? else {
            if policy.max_age.is_some() {
                self.ages_were_looked_at();
            }
            self.mind_the_bound(store)?;
            return Ok(PrunedNow::default());
        };
        let leaves = Ranges::new(vec![(first, last)]).unwrap_or_default();
        if !ask(leaves, self.policy.limit()) {
            self.next = Instant::now() + LATER;
            return Ok(PrunedNow::default());
        }
        tracing::info!(
            first,
            last,
            "retention: bodies and keys of these leaves go once that is sealed"
        );
        // The statement comes back by `stated`; where it does not, it is asked for anew.
        (self.next, self.asked_for_age) = (Instant::now() + LATER, policy.max_age.is_some());
        Ok(PrunedNow::default())
    }

    /// Tidies the files; whether that was this step's work. Where somebody reads who is in the way it is tried again
    /// later, and nothing else waits for it.
    fn tidied(&mut self, store: &mut Store) -> Result<bool, StoreError> {
        let now = Instant::now();
        match store.tidy()? {
            Tidied::PagesAreLeft => self.next = now,
            Tidied::Wholly => {
                (self.tidy, self.next, self.tidy_pause) = (Some(false), now + SOON, SOON);
                if let Some((_, true)) = self.in_the_way.take() {
                    tracing::info!(
                        "nobody reads the store any more who kept retention from its files"
                    );
                }
            }
            Tidied::LogIsLeft => {
                self.next_tidy = now + self.tidy_pause;
                self.tidy_pause = self.tidy_pause.saturating_mul(2).min(LATER);
                self.is_in_the_way(now);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Somebody who reads is in the way: said once, where that takes long. Statements in the meantime do not
    /// make it shorter.
    fn is_in_the_way(&mut self, now: Instant) {
        let (since, was_said) = self.in_the_way.get_or_insert((now, false));
        if !*was_said && now.saturating_duration_since(*since) >= LONG {
            *was_said = true;
            tracing::warn!(
                "somebody has been reading the store for a while: until that ends, its files may keep copies of \
                 what retention destroyed"
            );
        }
    }

    /// The policy for this look.
    fn current(&self) -> Policy {
        let is_time = Instant::now() >= self.next_age;
        Policy { max_age: self.policy.max_age.filter(|_| is_time), ..self.policy }
    }

    /// Ages are looked at 24 times in the longest age, but at least hourly, so that each look states many
    /// exchanges at once.
    fn ages_were_looked_at(&mut self) {
        if let Some(age) = self.policy.max_age {
            self.next_age = Instant::now() + (age / 24).clamp(SOON, Duration::from_secs(3_600));
        }
    }

    fn mind_the_bound(&mut self, store: &Store) -> Result<(), StoreError> {
        let Some(most) = self.policy.max_bytes else { return Ok(()) };
        let over = store.size()? > most;
        if over && !self.exhausted {
            tracing::warn!(
                max_bytes = most,
                "the store is over its limit, and nothing of it may go that has not gone"
            );
        }
        self.exhausted = over;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stated in the meantime, which is tidied at once, does not begin that time anew.
    #[test]
    fn a_reader_who_stays_is_told_of_once() {
        let mut keeper = Keeper::following(Arc::default());
        let begin = Instant::now();
        for (seconds, was_said) in [(0, false), (20, false), (31, true), (60, true)] {
            keeper.is_in_the_way(begin + Duration::from_secs(seconds));
            assert_eq!(keeper.in_the_way, Some((begin, was_said)), "after {seconds} s");
            keeper.stated();
        }
    }
}
