//! `sealtap bundle`: one run of a data directory in one file.
//!
//! In: the store, the published log, a run's name, what to disclose. Out: a file that
//! `sealtap verify` and `sealtap-verify` check, whole under its final name or not there at all. Works
//! beside a running gateway: what is sealed and not stored yet is waited for. Reads no private key,
//! changes nothing in the data directory, holds no body in memory.

mod beside;
mod covered;
mod disclose;
mod gather;
pub(super) mod tree;
mod write;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;

use sealtap_common::bundle::{TrustedKeys, verify};
use sealtap_common::encoding::Id;
use sealtap_common::verify::Verdict;

use self::disclose::{Disclosure, PointerError};
use self::gather::Gathered;
use self::tree::TreeError;
use crate::command::{Exit, Failure, Outcome, Output, bundle};
use crate::data::DataDir;
use crate::seal::preview::Preview;
use crate::serve::query::Overlay as _;
use crate::store::{StoreError, StoreReader};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The published log.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The journal.
    #[error("the journal: {0}")]
    Journal(io::Error),
    /// A pointer of `--disclose`.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// A pointer names an exchange that the run does not have.
    #[error("--disclose names exchange {wanted}, the run has {count}")]
    Beyond {
        /// The position.
        wanted: u64,
        /// How many exchanges there are.
        count: u64,
    },
    /// No run is called so.
    #[error("no run is called {text:?}; `sealtap runs` lists what there is")]
    NotFound {
        /// What was asked for.
        text: String,
    },
    /// Several are.
    #[error("{text:?} stands for more than one run: {}; give more of the id", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Their ids, at most twenty.
        candidates: Vec<String>,
    },
    /// Exchanges of the run are sealed and do not come into the store.
    #[error(
        "the run has exchanges that are not sealed, or not in the store yet; let `sealtap serve` run \
         until they are"
    )]
    Pending,
    /// A leaf that must be there is not.
    #[error(
        "leaf {index} is not what the run needs there: run `sealtap verify` on the data directory"
    )]
    Leaf {
        /// Its index.
        index: u64,
    },
    /// The file.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was written does not verify.
    #[error("the bundle would not be valid: {0}; run `sealtap verify` on the data directory")]
    Invalid(String),
}

/// Writes the bundle.
///
/// # Errors
///
/// There is no such run, something cannot be read or written, or is not as it was sealed.
pub fn run(arguments: &bundle::Arguments, output: &mut Output<'_>) -> Outcome {
    let told = make(
        &DataDir::new(&arguments.data),
        &arguments.run,
        &arguments.disclose,
        &arguments.output,
    );
    let told = told.map_err(|error| {
        let exit = match error {
            BundleError::Pointer(_) | BundleError::Beyond { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure::of(&error).exit_with(exit)
    })?;
    let mut styled = output.styled();
    let written = told.iter().try_for_each(|line| writeln!(styled, "{line}"));
    written.map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

/// Whether `disclose` can be understood.
pub(crate) fn check(disclose: &[String]) -> Result<(), Failure> {
    let read = Disclosure::parse(disclose);
    read.map(drop).map_err(|error| Failure::of(&error).exit_with(Exit::Usage))
}

/// Writes the bundle of the run that `text` names to `path`; gives what there is to tell of it.
pub(crate) fn make(
    data: &DataDir,
    text: &str,
    disclose: &[String],
    path: &Path,
) -> Result<Vec<String>, BundleError> {
    let disclosure = Disclosure::parse(disclose)?;
    let mut store = StoreReader::open(&data.store())?;
    let id = found(data, &store, text)?;
    let gathered = gather::gather(data, &store, id)?;
    let count = gathered.last_position();
    if let Some(wanted) = disclosure.beyond(count) {
        return Err(BundleError::Beyond { wanted, count });
    }
    let failed = |source| BundleError::Write { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let made = write_file(&temporary, &gathered, &mut store, &disclosure, &failed);
    let told = made.and_then(|()| {
        let file = File::open(&temporary).map_err(failed)?;
        let report = verify(BufReader::new(file), &TrustedKeys::default());
        if report.verdict() == Verdict::Invalid {
            return Err(BundleError::Invalid(report.lines().join("; ")));
        }
        fs::rename(&temporary, path).map_err(failed)?;
        // The verdict is for whoever has the keys; what is in it is the same for all.
        let lines = report.lines().into_iter().skip(1);
        let lines = lines.filter(|line| !line.contains("undecided:"));
        let head = format!("wrote {}: run {}", path.display(), Id(id));
        Ok(std::iter::once(head).chain(lines).collect())
    });
    if told.is_err() {
        // Half a bundle helps nobody; the error to report is the first one.
        let _ = fs::remove_file(&temporary);
    }
    told
}

fn write_file(
    path: &Path,
    gathered: &Gathered,
    store: &mut StoreReader,
    disclosure: &Disclosure,
    failed: &impl Fn(io::Error) -> BundleError,
) -> Result<(), BundleError> {
    let file = BufWriter::with_capacity(1 << 18, File::create(path).map_err(failed)?);
    let file = write::write(file, gathered, store, disclosure, failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// The run that `text` stands for, once it is in the store: what the journal has is on its way there.
fn found(data: &DataDir, store: &StoreReader, text: &str) -> Result<[u8; 16], BundleError> {
    for _ in 0..gather::TRIES {
        match find(store, text) {
            Err(BundleError::NotFound { .. }) if is_pending(data, text)? => sleep(gather::PAUSE),
            // It may have moved into the store between the two looks.
            Err(BundleError::NotFound { .. }) => return find(store, text),
            found => return found,
        }
    }
    Err(BundleError::Pending)
}

fn is_pending(data: &DataDir, text: &str) -> Result<bool, BundleError> {
    let rows = Preview::read(data.clone()).and_then(|mut preview| preview.rows());
    Ok(rows.map_err(BundleError::Journal)?.iter().any(|row| row.is_of_run(text)))
}

/// The one run that `text` stands for.
fn find(store: &StoreReader, text: &str) -> Result<[u8; 16], BundleError> {
    let runs = store.runs(text)?;
    let named = runs.iter().filter(|run| run.name.as_deref() == Some(text)).count();
    let matching: Vec<_> = runs
        .iter()
        .filter(|run| named == 0 || run.name.as_deref() == Some(text))
        .map(|run| run.id)
        .collect();
    match matching.as_slice() {
        [] => Err(BundleError::NotFound { text: text.to_owned() }),
        [id] => Ok(*id),
        several => {
            let candidates = several.iter().take(20).map(|id| Id(*id).to_string()).collect();
            Err(BundleError::Ambiguous { text: text.to_owned(), candidates })
        }
    }
}
