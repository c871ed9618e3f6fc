//! Witness: every published checkpoint is shown to others, who vouch that they saw no other history.
//!
//! In: signed checkpoints as they are published, newest wins; a policy (C2SP tlog-policy) with the
//! witnesses' keys and URLs. Out: `DATA/witness/checkpoint`, the newest checkpoint with a quorum of
//! cosignatures, replaced in one step. What can fail is waited for and tried again, ever more rarely;
//! only a witness that has seen *another history* is no failure but the finding that it is there for:
//! then nothing more is published. One thread of its own; it never holds up traffic or the log.

mod ask;
mod gather;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::Note;
use sealtap_common::policy::{Policy, PolicyError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub use ask::Conflict;
use ask::{AskError, Target, Witness};
use gather::Gathering;

use crate::config::{self, OnConflict, Url, UrlError};
use crate::data::DataDir;
use crate::forward::{TrustError, client_settings};
use crate::seal::keys::Keys;
use crate::seal::post::Endpoint;
use crate::seal::vouching::Voucher;

/// How long the others may still answer once there is a quorum.
const GRACE: Duration = Duration::from_millis(100);

/// The first pause before a witness that failed is asked again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why the witnesses of the configuration cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The policy file cannot be read.
    #[error("cannot read the witness policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is no policy.
    #[error("the witness policy {}: {error}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        error: PolicyError,
    },
    /// A witness has no address.
    #[error("the witness policy {}: {witness} has no usable URL{}; write it behind its key", path.display(), why(error.as_ref()))]
    Address {
        /// The file.
        path: PathBuf,
        /// The witness's key name.
        witness: String,
        /// What is wrong with the URL, if there is one.
        error: Option<UrlError>,
    },
    /// Certificate authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The system gives no thread.
    #[error("cannot start the witness thread: {0}")]
    System(#[from] std::io::Error),
}

/// A witness has seen another history of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the witness {witness} speaks against this log: {conflict}")]
pub struct Testimony {
    /// The witness's name.
    pub witness: String,
    /// What it has seen.
    pub conflict: Conflict,
}

/// Where the log thread hands its checkpoints on; never waits.
#[derive(Debug)]
pub struct Announcer {
    targets: watch::Sender<Option<Vec<u8>>>,
    halted: Arc<AtomicBool>,
}

impl Announcer {
    /// Hands on the checkpoint that was just published.
    pub fn announce(&self, signed: Option<&[u8]>) {
        self.targets.send_replace(signed.map(<[u8]>::to_vec));
    }

    /// Whether nothing more may be published.
    #[must_use]
    pub fn halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }
}

/// The running witness thread.
pub struct Witnesses {
    thread: JoinHandle<()>,
    testimony: watch::Receiver<Option<Testimony>>,
    vouchers: Vec<Arc<Voucher>>,
}

impl Witnesses {
    /// Starts asking, with the checkpoint `published` when the log was opened, and waits until each
    /// witness has answered once or its time is over.
    ///
    /// # Errors
    /// [`WitnessError`]: nothing was asked.
    pub async fn start(
        config: &config::Witness,
        data: &DataDir,
        keys: &Keys,
        published: Option<&[u8]>,
    ) -> Result<(Self, Announcer), WitnessError> {
        let (policy, witnesses) = load(config, data)?;
        let gathering = Gathering::open(data.witness(), policy, keys)?;
        let (targets, newest) = watch::channel(published.map(<[u8]>::to_vec));
        let (testify, testimony) = watch::channel(None);
        let halted = Arc::new(AtomicBool::new(false));
        let vouchers: Vec<_> =
            witnesses.iter().map(|witness| Voucher::new(witness.key.name())).collect();
        let circle = Circle {
            states: witnesses.iter().map(|_| State::default()).collect(),
            vouchers: vouchers.clone(),
            witnesses,
            gathering,
            flying: JoinSet::new(),
            patience: config.timeout,
            on_conflict: config.on_conflict,
            testify,
            halted: Arc::clone(&halted),
        };
        let (greeted, greeting) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Builder::new()
            .name("witness".to_owned())
            .spawn(move || runtime.block_on(circle.run(newest, greeted)))?;
        // A thread that is gone has said why.
        let _ = greeting.await;
        Ok((Self { thread, testimony, vouchers }, Announcer { targets, halted }))
    }

    /// How each witness fares.
    #[must_use]
    pub fn vouchers(&self) -> &[Arc<Voucher>] {
        &self.vouchers
    }

    /// What a witness said against this log, once one has and the configuration wants to stop.
    #[must_use]
    pub fn testimony(&self) -> watch::Receiver<Option<Testimony>> {
        self.testimony.clone()
    }

    /// Waits until the last checkpoint was asked for once; the [`Announcer`] must be gone.
    pub fn finish(self) {
        let _ = self.thread.join();
    }
}

/// Whether witnesses can be asked under this configuration; asks none.
///
/// # Errors
/// [`WitnessError`].
pub fn usable(config: &config::Witness, data: &DataDir) -> Result<(), WitnessError> {
    load(config, data).map(drop)
}

/// The policy, and its witnesses where they can be asked.
fn load(
    config: &config::Witness,
    data: &DataDir,
) -> Result<(Policy, Vec<Arc<Witness>>), WitnessError> {
    let path = config.policy.clone();
    let bytes =
        std::fs::read(&path).map_err(|source| WitnessError::Read { path: path.clone(), source })?;
    let policy = Policy::parse(&bytes)
        .map_err(|error| WitnessError::Policy { path: path.clone(), error })?;
    let mut tls = None;
    let mut witnesses = Vec::new();
    for witness in &policy.witnesses {
        let missing = |error| WitnessError::Address {
            path: path.clone(),
            witness: witness.key.name().to_owned(),
            error,
        };
        let url = witness.url.as_deref().ok_or_else(|| missing(None))?;
        let url: Url = url.parse().map_err(|error| missing(Some(error)))?;
        if url.scheme == config::Scheme::Https && tls.is_none() {
            tls = Some(client_settings(&config.ca)?);
        }
        let endpoint = Endpoint::new(url, tls.clone());
        witnesses.push(Arc::new(Witness::new(witness.key.clone(), endpoint, &data.log())));
    }
    Ok((policy, witnesses))
}

/// What is remembered of one witness between two questions.
#[derive(Default)]
struct State {
    /// A question is on its way.
    asked: bool,
    /// Failures since the last answer.
    failures: u32,
    /// Not to be asked before.
    pause: Option<Instant>,
    /// The size it cosigned last.
    cosigned: u64,
}

/// All witnesses, and what they have said.
struct Circle {
    witnesses: Vec<Arc<Witness>>,
    states: Vec<State>,
    vouchers: Vec<Arc<Voucher>>,
    gathering: Gathering,
    flying: JoinSet<Said>,
    /// How long one witness may take.
    patience: Duration,
    on_conflict: OnConflict,
    testify: watch::Sender<Option<Testimony>>,
    halted: Arc<AtomicBool>,
}

/// Which witness said what about which checkpoint.
struct Said {
    index: usize,
    target: Target,
    answer: Result<sealtap_common::note::SignatureLine, AskError>,
}

impl Circle {
    /// Asks about each newest checkpoint until no more can come.
    async fn run(
        mut self,
        mut newest: watch::Receiver<Option<Vec<u8>>>,
        greeted: oneshot::Sender<()>,
    ) {
        let mut greeted = Some(greeted);
        loop {
            let target = newest.borrow_and_update().as_deref().and_then(target_of);
            let again = match &target {
                Some(target) => {
                    self.round(target).await;
                    self.next_try(target.size)
                }
                None => None,
            };
            if let Some(greeted) = greeted.take() {
                let _ = greeted.send(());
            }
            let retry = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                Some(said) = self.flying.join_next() => self.heard(said.ok()),
                () = retry => {}
            }
        }
    }

    /// Asks everyone who may be asked, and waits for all of them, or for a quorum and a little more.
    async fn round(&mut self, target: &Target) {
        let now = Instant::now();
        for (index, (witness, state)) in self.witnesses.iter().zip(&mut self.states).enumerate() {
            let resting = state.pause.is_some_and(|until| until > now);
            if state.asked || resting || state.cosigned >= target.size && target.size > 0 {
                continue;
            }
            state.asked = true;
            let (witness, target, patience) = (Arc::clone(witness), target.clone(), self.patience);
            self.flying.spawn(async move {
                let asked = timeout(patience, witness.ask(&target)).await;
                let answer = asked.unwrap_or(Err(AskError::Timeout));
                Said { index, target, answer }
            });
        }
        let mut end = now + self.patience + GRACE;
        let mut quorum = false;
        while !self.flying.is_empty() {
            tokio::select! {
                said = self.flying.join_next() => self.heard(said.and_then(Result::ok)),
                () = sleep_until(end) => return,
            }
            if !quorum && self.gathering.has_quorum(target.size) {
                quorum = true;
                end = end.min(Instant::now() + GRACE);
            }
        }
    }

    /// When to ask again about a checkpoint that not everyone has cosigned.
    fn next_try(&self, size: u64) -> Option<Instant> {
        let waiting = self.states.iter().filter(|state| state.cosigned < size && !state.asked);
        waiting.filter_map(|state| state.pause).min()
    }

    /// Takes one answer.
    fn heard(&mut self, said: Option<Said>) {
        let Some(Said { index, target, answer }) = said else { return };
        let (Some(state), Some(witness)) = (self.states.get_mut(index), self.witnesses.get(index))
        else {
            return;
        };
        let name = witness.key.name().to_owned();
        let voucher = self.vouchers.get(index);
        state.asked = false;
        match answer {
            Ok(line) => {
                if state.failures > 0 {
                    tracing::info!(witness = name, "the witness cosigns again");
                }
                let cosigned = state.cosigned.max(target.size);
                *state = State { cosigned, ..State::default() };
                tracing::debug!(witness = name, size = target.size, "cosigned");
                voucher.inspect(|voucher| voucher.vouched(target.size));
                self.gathering.add(target, line);
            }
            Err(AskError::Stale) => {}
            Err(error) => {
                voucher.inspect(|voucher| voucher.failed());
                if let AskError::Conflict(conflict) = &error {
                    let testimony = Testimony { witness: name.clone(), conflict: conflict.clone() };
                    self.conflict(testimony);
                }
                let state = self.states.get_mut(index);
                let Some(state) = state else { return };
                if state.failures == 0 {
                    tracing::warn!(witness = name, %error, "not cosigned; trying again");
                }
                let factor = 1_u32 << state.failures.min(8);
                state.failures = state.failures.saturating_add(1);
                state.pause = Some(Instant::now() + LONGEST_PAUSE.min(PAUSE * factor));
            }
        }
    }

    /// Somebody has seen another history: the one thing that trying again does not mend.
    fn conflict(&self, testimony: Testimony) {
        match self.on_conflict {
            OnConflict::Stop => {
                tracing::error!(error = %testimony, "nothing more is published");
                self.halted.store(true, Ordering::Release);
                self.testify.send_replace(Some(testimony));
            }
            OnConflict::Warn => {
                tracing::error!(error = %testimony, "going on as configured; this log is in doubt");
            }
        }
    }
}

/// A published checkpoint as something to be cosigned; it was made by this process.
fn target_of(signed: &[u8]) -> Option<Target> {
    let note = Note::parse(signed).ok()?;
    let Checkpoint { size, root, .. } = Checkpoint::parse(&note.text).ok()?;
    Some(Target { note, size, root })
}

fn why(error: Option<&UrlError>) -> String {
    error.map(|error| format!(": it {error}")).unwrap_or_default()
}
