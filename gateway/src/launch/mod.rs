//! Launch: one command with a gateway of its own (`sealtap run`).
//!
//! In: a command line and a configuration. Out: the command's own exit code or the signal that ended
//! it, a run in the log that holds everything it sent through the gateway, the run's bundle, and a
//! short account on standard error. Fails before the command starts, with 125, where the gateway
//! cannot start; afterwards the command's own end counts, unless it was 0 and the record is not whole.
//! Never writes to standard output, never stands between the command and its terminal, never sends a
//! signal that the command has from the terminal already.
//!
//! The command stays in the caller's process group, so that the terminal, job control and Ctrl-C work
//! as without it. Orphans become children of this process, so that what the command leaves behind is
//! known by name.

mod account;
mod calls;
mod child;
mod descendants;
mod enforced;
mod environment;
mod keeper;
mod lines;
mod makers;
mod messages;
mod models;
mod signals;
mod standard;
mod watched;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Rlimit, geteuid};
use sealtap_common::Id;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::account::Account;
use self::calls::Calls;
use self::child::{Child, Ended, Variable};
use self::descendants::Process;
use self::environment::Trust;
use self::keeper::Keeper;
use self::signals::Signals;
use self::standard::Carriers;
use self::watched::{Coverage, Watched};
use crate::accept::authority::Authority;
use crate::command::run::{self, GATEWAY_FAILED, Start};
use crate::command::{Exit, Failure, Outcome};
use crate::data::DataDir;
use crate::gateway::{CalledError, Checked, Gateway, Told, system_id};
use crate::identify::Launch;
use crate::serve::bundle::{self, BundleError};
use crate::serve::run::{failure, raise_descriptor_limit, restore_descriptor_limit};

/// Hexadecimal digits of the run's id in the name that it has by itself.
const DIGITS: usize = 8;

/// The folder of bundles in the data directory.
const BUNDLES: &str = "bundles";

/// Runs the command; ends by the signal that ended it, if one did.
///
/// # Errors
///
/// The gateway cannot start, or the command cannot be run.
pub fn run(start: Start) -> Outcome {
    let ended = launch(start).map_err(|failure| match failure.exit() {
        Exit::Failed => failure.exit_with(Exit::Command(GATEWAY_FAILED)),
        _ => failure,
    })?;
    Ok(Exit::Command(ended.pass_on()))
}

fn launch(start: Start) -> Result<Ended, Failure> {
    let launch = name(&start)?;
    if start.enforce {
        enforced::check(&start)?;
    }
    let wanted = Watched::wanted(&start);
    // Before any other thread: each is born with what its maker has.
    let keeper = Keeper::begin(&written(&start)).map_err(|error| Failure::of(&error))?;
    // Before the command runs: afterwards it could not be asked for again.
    bundle::check(&start.disclose)?;
    let config = &start.gateway.config;
    let data = DataDir::new(&config.data);
    messages::to_file(&data, (config.observe.messages, config.observe.level));
    let limit = raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::of(&error))?;

    let calls = Arc::new(Calls::default());
    let told = {
        let calls = Arc::clone(&calls);
        Box::new(move |summary| calls.add(&summary))
    };
    let environment = environment::Plan::new(&start)?;
    let trust = Trust::begin(&data);
    let (table, adopt) = (environment.table.clone(), start.gateway.adopt);
    let checked = runtime.block_on(Checked::new(config, table, adopt)).map_err(failure)?;
    let (stop, stopped) = watch::channel(false);
    let note = keeper.note().map(str::to_owned);
    let whom = (&start, &wanted, &keeper);
    let begun = begin(&runtime, checked, told, &launch, whom, stopped)?;
    let Begun { address, authority, serving, watched } = begun;

    let mut carriers = Carriers::default();
    let began = Instant::now();
    let ended = trust.write(&authority).map_err(|error| Failure::of(&error)).and_then(|trust| {
        // Behind the fence the data directory is not to be seen.
        let trust = match start.enforce {
            true => trust.for_anybody().map_err(|error| Failure::of(&error))?,
            false => trust,
        };
        let variables = environment.variables(address, &launch, &trust);
        accompany(&start, variables, limit, (&watched, &mut carriers), keeper)
    });
    let lasted = began.elapsed();
    // Its last word is sealed with the rest.
    let coverage = watched.end();

    let _ = stop.send(true);
    let served = runtime.block_on(serving).map_err(|error| Failure::of(&error))?;
    // The command was not run: that is all there is to say.
    let (ended, left) = ended?;
    let record = match served {
        Ok(true) => bundled(&data, &launch, &start),
        // Nobody called.
        Ok(false) => Ok(None),
        Err(CalledError::Start(error)) => Err(failure(error)),
        Err(error) => Err(Failure::of(&error)),
    };
    let failed = record.is_err();
    // Whoever takes it slowly, or holds it, keeps nothing from being sealed.
    let rest = (coverage.running().is_none() && !carriers.finish())
        .then(|| "what the command wrote last was not taken in time and is given up".to_owned());
    let calls = calls.counted();
    let notes = environment.notes().into_iter().chain(note);
    let account = Account {
        launch: &launch,
        data: &data,
        models: models::read(&data, &calls.first),
        makers: makers::read(&data, &launch),
        calls,
        ended,
        lasted,
        left,
        record,
        notes: notes.chain(coverage.running().map(str::to_owned)).chain(rest).collect(),
        coverage,
    };
    account.give(&start.account)?;
    Ok(match &account.coverage {
        // The command did not end by itself, or not all of it.
        Coverage::Kernel { broken: true, .. } | Coverage::Kernel { running: Some(_), .. } => {
            Ended::Exited(GATEWAY_FAILED)
        }
        _ if failed => ended.or_failed(),
        _ => ended,
    })
}

/// What serves, and says at the end whether anybody called.
type Serving = JoinHandle<Result<bool, CalledError>>;

/// A gateway that serves, and who watches the command.
struct Begun {
    address: SocketAddr,
    authority: Arc<Authority>,
    serving: Serving,
    watched: Watched,
}

/// Begins to serve; where there is nothing to seal, with the first call only, which may never come.
fn begin(
    runtime: &Runtime,
    mut checked: Checked,
    told: Told,
    launch: &Launch,
    (start, wanted, keeper): (&Start, &Result<(), Option<String>>, &Keeper),
    stopped: watch::Receiver<bool>,
) -> Result<Begun, Failure> {
    let (address, launch) = (checked.address(), launch.clone());
    // What the kernel counts is sealed whether or not anybody calls.
    if let Err(why) = wanted
        && checked.may_wait().map_err(failure)?
    {
        let authority = checked.authority().map_err(failure)?;
        let serving = runtime.spawn(checked.serve_once_called(told, launch, stopped));
        return Ok(Begun { address, authority, serving, watched: Watched::Not(why.clone()) });
    }
    let gateway = runtime.block_on(Gateway::begin(checked, told, Some(launch.clone())));
    let mut gateway = gateway.map_err(failure)?;
    let watched = match wanted {
        Ok(()) => Watched::begin(start, &launch, &mut gateway, runtime, keeper)?,
        Err(why) => Watched::Not(why.clone()),
    };
    let authority = gateway.authority();
    let serving = runtime.spawn(async { Ok(gateway.serve(stopped).await.map(|()| true)?) });
    Ok(Begun { address, authority, serving, watched })
}

/// Runs the command and waits for it and what it leaves behind, which is given by name.
fn accompany(
    start: &Start,
    variables: Vec<Variable>,
    limit: Rlimit,
    (watched, carriers): (&Watched, &mut Carriers),
    keeper: Keeper,
) -> Result<(Ended, Vec<Process>), Failure> {
    let signals = Signals::catch().map_err(|error| Failure::of(&error))?;
    // The command gets the caller's limit: programs rely on a low one.
    restore_descriptor_limit(limit);
    let (joining, given) = (watched.joining()?, watched.standard(carriers)?);
    let (program, arguments) = (start.program.clone(), start.arguments.clone());
    let begun = keeper.run(move || {
        let child = Child::spawn(&program, &arguments, variables, (joining, given))?;
        let watching = signals.pass_to(child.descriptor());
        Ok::<_, Failure>((child, watching))
    });
    // From here on this process has no privilege left.
    keeper.end();
    raise_descriptor_limit();
    let (child, watching) = begun.map_err(|error| Failure::of(&error))??;
    let ended = child.wait().map_err(|error| Failure::of(&error))?;
    watching.child_has_ended();
    Ok((ended, descendants::wait_for(start.linger, &watching, watched.process())))
}

/// The folders that the gateway is to write to.
fn written(start: &Start) -> Vec<PathBuf> {
    let config = &start.gateway.config;
    let account = match &start.account {
        run::Account::JsonFile(path) => Some(path),
        _ => None,
    };
    let above = |path: &PathBuf| {
        let above = path.parent().map(Path::to_owned).unwrap_or_default();
        if above.as_os_str().is_empty() { PathBuf::from(".") } else { above }
    };
    let files = start.bundle.iter().chain(account).map(above);
    let beside = start.enforce.then(std::env::temp_dir);
    let folders = [config.data.clone()].into_iter().chain(config.lock.clone());
    folders.chain(files).chain(beside).collect()
}

/// Writes the run's bundle; there is none of a run in which nothing came.
fn bundled(data: &DataDir, launch: &Launch, start: &Start) -> Result<Option<PathBuf>, Failure> {
    let path = match &start.bundle {
        Some(path) => path.clone(),
        None => {
            let folder = data.root().join(BUNDLES);
            let id = Id(launch.id).to_string();
            let digits = id.get(..DIGITS).unwrap_or_default();
            let name = match launch.name().ends_with(digits) {
                true => launch.name().to_owned(),
                // A name may come again; what was written before stays.
                false => format!("{}-{digits}", launch.name()),
            };
            folder.join(format!("{name}.tar"))
        }
    };
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| Failure::of(&error).at(folder.display().to_string()))?;
    }
    let made = bundle::make(data, &Id(launch.id).to_string(), &start.disclose, &path);
    match made {
        Ok(_) => Ok(Some(path)),
        Err(BundleError::NotFound { .. }) => {
            // Only where it is empty, so where nobody else put anything.
            let _ = std::fs::remove_dir(data.root().join(BUNDLES));
            Ok(None)
        }
        Err(error) => Err(Failure::of(&error)),
    }
}

/// The run: the name given, or one by the program's name.
fn name(start: &Start) -> Result<Launch, Failure> {
    let id = system_id().map_err(|error| Failure::of(&error))?;
    let text = match &start.name {
        Some(name) => name.clone(),
        None => {
            let program = PathBuf::from(&start.program);
            let program = program.file_name().unwrap_or_default().to_string_lossy();
            let plain = |c: &char| c.is_ascii_alphanumeric() || "._~-".contains(*c);
            let program: String = program.chars().filter(plain).take(64).collect();
            let digits: String = Id(id).to_string().chars().take(DIGITS).collect();
            let program = if program.is_empty() { "run" } else { &program };
            format!("{program}-{digits}")
        }
    };
    let launch = Launch::new(id, &text).map_err(|_| {
        Failure::new(format!("{text:?} cannot be the name of a run"))
            .at("--name")
            .fix("take 1 to 128 letters, digits, `.`, `_`, `~` or `-`")
            .exit_with(Exit::Usage)
    })?;
    // Behind the fence it reads no files but that user's; those of root are others' to run.
    let apart = |(user, _): (u32, u32)| user != 0 && user != geteuid().as_raw();
    Ok(if start.enforce && start.user.is_some_and(apart) { launch.apart() } else { launch })
}
