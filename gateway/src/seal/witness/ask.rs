//! One witness, asked for one cosignature (C2SP tlog-witness).
//!
//! In: a signed checkpoint and the log's tiles. Out: the witness's signature line, checked, or an
//! [`AskError`]. What a witness says that can only be true of a forked or rolled-back log is an error
//! of its own, [`AskError::Conflict`]; it never leads to another try.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sealtap_common::note::{Note, SignatureLine, WitnessKey};
use sealtap_common::tile::{FULL_WIDTH, TilePath, TileSource};
use sealtap_common::tree::{Hash, consistency_proof, subtree_root, verify_consistency};
use sealtap_common::witness::{AddCheckpoint, SIZE_TYPE, decimal};

use crate::seal::log::published;
use crate::seal::post::{Endpoint, PostError};

/// Bytes of an answer, at most: some signature lines.
const ANSWER: usize = 16 * 1024;

/// Requests for one cosignature, at most: a first one, and another for each size that is told.
const TRIES: usize = 3;

/// A checkpoint to be cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The note, with the log's signature alone.
    pub(super) note: Note,
    pub(super) size: u64,
    pub(super) root: Hash,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It did not answer.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Its view and the log's cannot both be true.
    #[error("{0}")]
    Conflict(Conflict),
    /// It has seen a newer checkpoint than this one: the next one will do.
    #[error("a newer checkpoint was cosigned meanwhile")]
    Stale,
    /// It does not take this log.
    #[error(
        "it does not take this log (status {status}): give it the log's key, as `sealtap keys` prints it"
    )]
    Unwelcome {
        /// 403 or 404.
        status: u16,
    },
    /// An answer that is none of the protocol's.
    #[error("it answered against the protocol: {0}")]
    Protocol(String),
    /// The log's own tiles do not give a proof, most likely since a newer checkpoint replaced them.
    #[error("no proof from the log's tiles: {0}")]
    Proof(String),
}

/// What a witness remembers against this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// It has seen more leaves than there are.
    #[error(
        "it cosigned a checkpoint of {seen} leaves, but the log has only {size}: the log was rolled back"
    )]
    RolledBack {
        /// Leaves it has seen.
        seen: u64,
        /// Leaves there are.
        size: u64,
    },
    /// It has seen another tree.
    #[error(
        "it cosigned another tree of {seen} leaves, out of which this log of {size} did not grow: the log was forked or rewritten"
    )]
    Forked {
        /// Leaves of the tree it has seen.
        seen: u64,
        /// Leaves there are.
        size: u64,
    },
}

/// A witness and what is known of it.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) key: WitnessKey,
    endpoint: Endpoint,
    /// The log's directory.
    log: PathBuf,
    /// The size it cosigned last, as far as is known.
    seen: AtomicU64,
}

impl Witness {
    pub(super) fn new(key: WitnessKey, endpoint: Endpoint, log: &Path) -> Self {
        Self { key, endpoint, log: log.to_owned(), seen: AtomicU64::new(0) }
    }

    /// Asks for a cosignature of `target`.
    pub(super) async fn ask(&self, target: &Target) -> Result<SignatureLine, AskError> {
        let mut old = self.seen.load(Ordering::Relaxed).min(target.size);
        for _ in 0..TRIES {
            let proof = self.proof(old, target)?;
            let request = AddCheckpoint { old, proof, note: target.note.clone() };
            let body = Bytes::from(request.emit());
            let answer = self.endpoint.post("/add-checkpoint", "text/plain", body, ANSWER).await?;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            match answer.status {
                200 => {
                    let line = self.line(&said, target)?;
                    self.seen.store(target.size, Ordering::Relaxed);
                    return Ok(line);
                }
                409 => old = self.conflicting(&answer.content_type, &said, old, target)?,
                // The proof was checked here against the log's own tiles.
                422 => return Err(conflict(Conflict::Forked { seen: old, size: target.size })),
                status @ (403 | 404) => return Err(AskError::Unwelcome { status }),
                status => return Err(AskError::Protocol(format!("status {status}"))),
            }
        }
        Err(AskError::Protocol("it contradicts itself about what it has cosigned".to_owned()))
    }

    /// After a 409: the size to ask with instead.
    fn conflicting(
        &self,
        content_type: &str,
        said: &str,
        old: u64,
        target: &Target,
    ) -> Result<u64, AskError> {
        // Another root at the size that was asked for is a conflict, whatever the body holds.
        let told =
            (content_type == SIZE_TYPE).then(|| decimal(said.trim_end_matches('\n'))).flatten();
        let Some(seen) = told else {
            if old == target.size {
                return Err(conflict(Conflict::Forked { seen: old, size: target.size }));
            }
            return Err(AskError::Protocol("status 409 without a size".to_owned()));
        };
        if seen > target.size {
            // Whoever published more since is this process, and asks again with it.
            let latest =
                published(&self.log).ok().flatten().map_or(0, |checkpoint| checkpoint.size);
            if latest >= seen {
                return Err(AskError::Stale);
            }
            return Err(conflict(Conflict::RolledBack { seen, size: latest.max(target.size) }));
        }
        if seen == old {
            return match old == target.size {
                true => Err(conflict(Conflict::Forked { seen, size: target.size })),
                false => {
                    Err(AskError::Protocol("status 409 with the size that was sent".to_owned()))
                }
            };
        }
        self.seen.store(seen, Ordering::Relaxed);
        Ok(seen)
    }

    /// The consistency proof from the first `old` leaves, checked here before a witness sees it.
    fn proof(&self, old: u64, target: &Target) -> Result<Vec<Hash>, AskError> {
        let failed = |why: String| AskError::Proof(why);
        let source = TileSource::new(target.size, |tile| read_tile(&self.log, tile));
        let proof = consistency_proof(&source, old, target.size)
            .map_err(|missing| failed(missing.to_string()))?;
        if old > 0 && old < target.size {
            let root = subtree_root(&source, 0, old).map_err(|error| failed(error.to_string()))?;
            let root = root.ok_or_else(|| failed("the older tree is empty".to_owned()))?;
            verify_consistency(old, &root, target.size, &target.root, &proof)
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(proof)
    }

    /// The witness's own line among those it answered with.
    fn line(&self, said: &str, target: &Target) -> Result<SignatureLine, AskError> {
        let lines = said.lines().filter_map(SignatureLine::parse);
        let mut own = lines.filter(|line| self.key.made(line));
        let line = own
            .next()
            .ok_or_else(|| AskError::Protocol(format!("no cosignature by {}", self.key.name())))?;
        match self.key.cosigned(&target.note.text, &line) {
            Some(_) => Ok(line),
            None => Err(AskError::Protocol("its cosignature does not hold".to_owned())),
        }
    }
}

fn conflict(conflict: Conflict) -> AskError {
    AskError::Conflict(conflict)
}

/// A tile of the published log, or the beginning of the wider one that took its place.
fn read_tile(log: &Path, tile: &TilePath) -> Option<Vec<u8>> {
    let read = |tile: TilePath| std::fs::read(log.join(tile.to_string())).ok();
    let length = usize::from(tile.width) * 32;
    let bytes = read(*tile).or_else(|| read(TilePath { width: FULL_WIDTH, ..*tile }))?;
    bytes.get(..length).map(<[u8]>::to_vec)
}
