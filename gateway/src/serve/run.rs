//! `sealtap serve`, from its configuration to the last seal.

use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::kernel::{Readied, Watching};
use super::live::{Finished, Lines, Live, Welcome};
use super::{messages, reload};
use crate::command::serve::Start;
use crate::command::{Exit, Failure, Outcome};
use crate::forward::Summary;
use crate::gateway::{Checked, Gateway, ServeError, StartError};

/// Runs the gateway until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// What kept it from starting, or from writing its last records.
pub fn run(start: Start) -> Outcome {
    let terminal = std::io::stderr().is_terminal();
    let observe = &start.config.observe;
    messages::to((observe.messages, observe.level), terminal, std::io::stderr);
    raise_descriptor_limit();
    let readied = Readied::new(&start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(&error))?;
    runtime.block_on(serve(start, readied))
}

async fn serve(start: Start, readied: Readied) -> Outcome {
    let Start { config, table, adopt, source } = start;
    let lines: Arc<OnceLock<Lines>> = Arc::default();
    let told = {
        let lines = Arc::clone(&lines);
        Box::new(move |summary: Summary| {
            if let Some(lines) = lines.get() {
                lines.show(finished(summary));
            }
        })
    };
    let upstreams = table.names();
    let Readied { loader, pins, left, canary, listeners } = readied;
    let checked = Checked::listening(&config, table, adopt, listeners).await.map_err(failure)?;
    let mut gateway = Gateway::begin(checked, told, None).await.map_err(failure)?;
    let watching = match loader {
        Some(loader) => {
            let readied = (loader, pins, left, canary);
            Some(Watching::begin(readied, &config, &mut gateway).await?)
        }
        None => None,
    };
    let report = gateway.report().clone();
    if report.torn > 0 {
        tracing::warn!(
            bytes = report.torn,
            "the journal's end was torn by a crash; nothing that was promised is missing"
        );
    }
    if report.interrupted > 0 {
        tracing::warn!(
            exchanges = report.interrupted,
            "exchanges were under way when the gateway last stopped; sealed as interrupted"
        );
    }
    let welcome = Welcome {
        address: report.address,
        observe: report.observe,
        tls: config.tls.is_some(),
        upstreams,
        data: config.data.clone(),
        origin: report.origin,
        durability: config.durability.as_str(),
    };
    // Before anybody is told that it runs: who is told may stop it at once.
    let stop = stop_signal().map_err(|error| Failure::of(&error))?;
    let hangups = reload::hangups().map_err(|error| Failure::of(&error))?;
    let live = Live::start(welcome).map_err(|error| Failure::of(&error))?;
    let _ = lines.set(live.lines());
    if let Some(watching) = watching {
        watching.tell(live.lines());
        gateway.at_the_end(move || watching.end());
    }
    let reloading = gateway.reloader().map(|reloader| {
        // It ends with the gateway, which waits for whoever may still change it.
        tokio::spawn(reload::follow(source, reloader, hangups))
    });
    let served = gateway.serve(stop).await;
    if let Some(reloading) = reloading {
        reloading.abort();
        // It holds what the last lines are told by.
        let _ = reloading.await;
    }
    drop(lines);
    live.finish();
    served.map_err(|error| match &error {
        ServeError::Testimony(_) => Failure::of(&error).fix(WITNESSED_OTHERWISE),
        ServeError::Journal(_) => Failure::of(&error),
    })?;
    Ok(Exit::Done)
}

/// Turns true at the first SIGTERM or SIGINT; a second SIGINT ends the process at once.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = stop.send(true);
        interrupt.recv().await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the operator wants out now; the journal has everything"
        )]
        std::process::exit(130);
    });
    Ok(stopped)
}

fn finished(summary: Summary) -> Finished {
    Finished {
        id: hex(&summary.id),
        run: summary.run,
        started_us: summary.started_us,
        method: summary.method,
        url: summary.url,
        status: summary.status,
        outcome: summary.outcome.as_str(),
        error: summary.error.map(|error| error.as_str()),
        request_bytes: summary.request_bytes,
        response_bytes: summary.response_bytes,
        duration_ns: summary.duration_us.saturating_mul(1_000),
        ttfb_ns: summary.ttfb_us.map(|us| us.saturating_mul(1_000)),
        leaf: None,
        ingress: summary.ingress.as_str(),
        tunnel: summary.tunnel,
    }
}

fn hex(id: &[u8; 16]) -> String {
    sealtap_common::encoding::Id(*id).to_string()
}

/// Ten thousand streams are twenty thousand sockets: takes what the system allows. Gives what was.
pub(crate) fn raise_descriptor_limit() -> Rlimit {
    let was = getrlimit(Resource::Nofile);
    restore_descriptor_limit(Rlimit { current: was.maximum, maximum: was.maximum });
    was
}

/// Takes the limit back to what it was.
pub(crate) fn restore_descriptor_limit(limit: Rlimit) {
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What to do when a witness has seen another history.
const WITNESSED_OTHERWISE: &str = "restore the latest copy of the data directory and of its lock; \
     if there is none, keep this one as evidence and start a new log with another --data DIR. \
     `on_conflict = \"warn\"` goes on with a log that this witness will never cosign";

/// What a start error means to the person at the terminal.
pub(crate) fn failure(error: StartError) -> Failure {
    let failure = Failure::of(&error);
    match &error {
        StartError::Listen(_) => {
            failure.fix("stop what listens there, or choose another with --listen ADDRESS")
        }
        StartError::Observe(_) => failure.fix(
            "stop what listens there, or choose another address with `listen` in [observe] of the config file",
        ),
        StartError::Testimony(_) => failure.fix(WITNESSED_OTHERWISE),
        _ => failure,
    }
}
