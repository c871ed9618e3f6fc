//! `sealtap witness`: a minimal witness (C2SP tlog-witness) for a second trust domain.
//!
//! In: `POST /add-checkpoint` from logs whose keys it was given. Out: a cosignature, once the tree is
//! on disk as the latest seen of its log; else the protocol's refusals. Never cosigns two trees of
//! one log of which one does not begin with the other, and never a smaller one after a larger.

mod key;
mod memory;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sealtap_common::keyring::log_key;
use sealtap_common::note::PublicKey;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::{Exit, Failure, Outcome, Output, witness::Arguments};
use crate::config::{MessageForm, MessageLevel};
use crate::data::{DataDir, DataError};
use crate::seal::keys::KeysError;
use crate::seal::log::disk::RealDisk;
use crate::serve::messages;
use memory::Memory;

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
enum WitnessError {
    /// The data directory, or another process that writes it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeysError),
    /// What it remembers.
    #[error(transparent)]
    Memory(#[from] memory::MemoryError),
    /// Its address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Runs the witness until SIGTERM or Ctrl-C.
///
/// # Errors
/// What kept it from starting.
pub fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let terminal = std::io::stderr().is_terminal();
    messages::to((MessageForm::Text, MessageLevel::Info), terminal, std::io::stderr);
    let logs = logs(&arguments.logs)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::of(&error))?;
    runtime.block_on(serve(arguments, logs, output))
}

async fn serve(
    arguments: &Arguments,
    logs: BTreeMap<String, Vec<PublicKey>>,
    output: &mut Output<'_>,
) -> Outcome {
    let failed = |error: WitnessError| Failure::of(&error);
    let data = DataDir::new(&arguments.data);
    // One writer: two processes would each remember trees that the other does not know.
    let _writer = data.become_writer().map_err(|error| failed(error.into()))?;
    let signer = key::load_or_create(&RealDisk, &data.keys(), arguments.name.as_deref())
        .map_err(|error| failed(error.into()))?;
    let vkey = signer.public().vkey();
    let name = signer.public().name().to_owned();
    let directory = data.root().join("seen");
    let memory = Memory::open(Box::new(RealDisk), directory, signer)
        .map_err(|error| failed(error.into()))?;

    let address = arguments.listen;
    let listen = |source| failed(WitnessError::Listen { address, source });
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    // Before anybody is told that it listens: whoever waits for that may signal at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| Failure::of(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Failure::of(&error))?;
    let said = writeln!(
        output.exact(),
        "{vkey}\nwitness {name} {vkey} http://{bound}\nlistening on http://{bound}, for {}",
        origins(&logs)
    );
    said.and_then(|()| output.exact().flush()).map_err(|error| Failure::writing(&error))?;

    let witness = Arc::new(server::Server { logs, memory });
    tokio::select! {
        () = server::accept(listener, witness) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(Exit::Done)
}

/// The keys of the logs by their origin; a log that changed its key has two.
fn logs(given: &[String]) -> Result<BTreeMap<String, Vec<PublicKey>>, Failure> {
    let mut logs: BTreeMap<String, Vec<PublicKey>> = BTreeMap::new();
    for given in given {
        let key = log(given)?;
        let keys = logs.entry(key.name().to_owned()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(logs)
}

fn log(given: &str) -> Result<PublicKey, Failure> {
    let failed = |what: String| {
        Failure::new(what)
            .at(format!("--log {given}"))
            .fix("give the log's vkey, or the file that `sealtap keys` of the gateway filled")
            .exit_with(Exit::Usage)
    };
    let not_a_key = match PublicKey::parse(given) {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    let path = PathBuf::from(given);
    let text = std::fs::read_to_string(path).map_err(|error| {
        failed(format!("neither a vkey ({not_a_key}) nor a readable file ({error})"))
    })?;
    log_key(&text).map_err(|error| failed(format!("no log's key: {error}")))
}

fn origins(logs: &BTreeMap<String, Vec<PublicKey>>) -> String {
    logs.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}
