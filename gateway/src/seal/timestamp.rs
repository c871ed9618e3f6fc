//! Timestamps: now and then the newest checkpoint is dated by an authority (RFC 3161).
//!
//! In: the published checkpoint, a URL. Out: `witness/timestamp.tsr`, the authority's reply as it came,
//! and `witness/timestamp.checkpoint`, the exact bytes it dates, so that `openssl ts -verify` needs
//! nothing else. Status, imprint and nonce are checked before anything is written; the authority's
//! signature is left to whoever trusts it. Failures are said once and tried again. One thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::Note;
use sealtap_common::timestamp::{QUERY_TYPE, REPLY_LENGTH, REPLY_TYPE, Token, TokenError, query};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config;
use crate::data::DataDir;
use crate::forward::{TrustError, client_settings};
use crate::seal::log::disk::{Access, Disk as _, RealDisk, settle_directories};
use crate::seal::post::{Endpoint, PostError};
use crate::seal::vouching::Voucher;

/// How long an authority may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// How often a log without a checkpoint is looked at.
const NEW_LOG: Duration = Duration::from_millis(200);

/// Why no timestamps can be had.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    /// Certificate authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The system gives no thread or directory.
    #[error("cannot keep timestamps: {0}")]
    System(#[from] std::io::Error),
}

/// Why one was not had.
#[derive(Debug, thiserror::Error)]
enum DateError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("no reply within {PATIENCE:?}")]
    Timeout,
    #[error("the authority answered {status} {content_type}, not a timestamp reply")]
    Answer { status: u16, content_type: String },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    #[error("the token cannot be written: {0}")]
    Write(std::io::Error),
}

/// The running timestamp thread.
pub struct Timestamps {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Timestamps {
    /// Starts dating the checkpoints of `data`.
    ///
    /// # Errors
    /// [`TimestampError`].
    pub fn start(
        config: &config::Timestamp,
        data: &DataDir,
        voucher: Arc<Voucher>,
    ) -> Result<Self, TimestampError> {
        let secure = config.url.scheme == config::Scheme::Https;
        let tls = secure.then(|| client_settings(&config.ca)).transpose()?;
        settle_directories(&RealDisk, &data.witness(), Access::Public)?;
        let dating = Dating {
            endpoint: Endpoint::new(config.url.clone(), tls),
            checkpoint: data.log().join("checkpoint"),
            directory: data.witness(),
            interval: config.interval,
            voucher,
        };
        dating.recall();
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Builder::new()
            .name("timestamp".to_owned())
            .spawn(move || runtime.block_on(dating.run(stopped)))?;
        Ok(Self { thread, stop })
    }

    /// Stops, whatever is under way.
    pub fn finish(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

struct Dating {
    endpoint: Endpoint,
    /// The published checkpoint.
    checkpoint: PathBuf,
    /// Where tokens go.
    directory: PathBuf,
    interval: Duration,
    voucher: Arc<Voucher>,
}

/// The leaves that a checkpoint covers.
fn size_of(signed: &[u8]) -> Option<u64> {
    let note = Note::parse(signed).ok()?;
    Some(Checkpoint::parse(&note.text).ok()?.size)
}

impl Dating {
    /// Tells of the token that an earlier start left.
    fn recall(&self) {
        let (reply, dated) =
            ["timestamp.tsr", "timestamp.checkpoint"].map(|name| self.directory.join(name)).into();
        let last = std::fs::metadata(reply).and_then(|found| found.modified()).ok();
        let size = std::fs::read(dated).ok().and_then(|signed| size_of(&signed));
        if let Some((size, last)) = size.zip(last) {
            self.voucher.found(size, last);
        }
    }

    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let pause = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                pause = self.turn(&mut failing) => pause,
            };
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Dates the newest checkpoint if it is not dated yet; says how long to wait.
    async fn turn(&self, failing: &mut bool) -> Duration {
        let Ok(signed) = std::fs::read(&self.checkpoint) else { return NEW_LOG };
        let held = std::fs::read(self.directory.join("timestamp.checkpoint")).ok();
        if held.is_some_and(|held| held == signed) {
            return self.interval;
        }
        match self.date(&signed).await {
            Ok(token) => {
                let time = token.time;
                let size = size_of(&signed).unwrap_or_default();
                tracing::debug!(time, size, "the checkpoint was dated");
                self.voucher.vouched(size);
                *failing = false;
                self.interval
            }
            Err(error) => {
                self.voucher.failed();
                if !*failing {
                    tracing::warn!(%error, "no timestamp; trying again");
                    *failing = true;
                }
                self.interval.min(RETRY)
            }
        }
    }

    async fn date(&self, signed: &[u8]) -> Result<Token, DateError> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(DateError::Random)?;
        let request = Bytes::from(query(signed, nonce));
        let limit = usize::try_from(REPLY_LENGTH).unwrap_or(usize::MAX);
        let posted = self.endpoint.post("", QUERY_TYPE, request, limit);
        let answer = timeout(PATIENCE, posted).await.map_err(|_| DateError::Timeout)??;
        if answer.status != 200 || answer.content_type != REPLY_TYPE {
            let (status, content_type) = (answer.status, answer.content_type);
            return Err(DateError::Answer { status, content_type });
        }
        let token = Token::read(&answer.body)?;
        token.dates(signed)?;
        token.answers(nonce)?;
        // The reply last: a crash in between leaves a token that is not of the checkpoint beside it,
        // and the next turn dates the newest again.
        self.write("timestamp.checkpoint", signed).map_err(DateError::Write)?;
        self.write("timestamp.tsr", &answer.body).map_err(DateError::Write)?;
        Ok(token)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path: &Path = &self.directory.join(name);
        let temporary = path.with_added_extension("new");
        RealDisk.write(&temporary, bytes, Access::Public)?;
        RealDisk.rename(&temporary, path)
    }
}
