//! What the kernel has to say of the command.
//!
//! In: what was asked for, and the gateway. Out: a cgroup that the command is born into, whose TCP
//! connections the kernel leads to the gateway, and at the end what went around. Where the kernel is
//! not to be had, the reason; only where it was demanded is that a failure.

use std::sync::Arc;

use rustix::process::geteuid;
use sealtap_common::Id;
use sealtap_common::leaf::Arrived;
use tokio::runtime::Runtime;

use super::enforced::Enforced;
use super::keeper::Keeper;
use super::lines::Saying;
use super::standard::{Carriers, Given};
use crate::command::run::{Account, GATEWAY_FAILED, KernelChoice, Start};
use crate::command::{Exit, Failure};
use crate::data::DataDir;
use crate::gateway::Gateway;
use crate::identify::Launch;
use crate::kernel::names::Told;
use crate::kernel::{
    Bypass, Counted, Joining, Last, Loader, Observer, OwnCgroup, Statements, Terms, Unread, User,
    prepare_pins, system_resolver,
};
use crate::rights::{LOADER, lacking};

/// Digits of the run's id in the cgroup's name.
const DIGITS: usize = 16;

/// A command that the kernel watches, or why it does not.
pub(super) enum Watched {
    /// It does.
    ByKernel(Box<Kernel>),
    /// It does not, and why, where there is more to say than that nobody asked.
    Not(Option<String>),
}

/// How it watches.
pub(super) struct Kernel {
    cgroup: OwnCgroup,
    observer: Arc<Observer>,
    statements: Statements,
    enforced: Option<Enforced>,
    saying: Option<Saying>,
}

/// How far the record reaches.
#[derive(Debug)]
pub(super) enum Coverage {
    /// What the proxy variables brought, and why no more.
    Variables(Option<String>),
    /// What the kernel counted, and what went around; or that it cannot be said any more.
    Kernel {
        /// What was counted, or why that is not known.
        counted: Result<Box<Covered>, String>,
        /// Whether what went around was denied.
        enforced: bool,
        /// What more is not covered, and what is not known of who made connections.
        also: Vec<String>,
        /// Whether the command was ended because a program was detached or replaced.
        broken: bool,
        /// Why something of the command may still run, though it was to be ended.
        running: Option<String>,
    },
}

/// What the kernel counted.
#[derive(Debug)]
pub(super) struct Covered {
    /// The numbers.
    pub(super) counted: Counted,
    /// The first of what went around.
    pub(super) around: Vec<Bypass>,
    /// What came to the gateway.
    pub(super) arrived: Arrived,
    /// What was asked of the resolver.
    pub(super) names: Told,
}

impl Coverage {
    /// Whether the command was to be kept from going around.
    pub(super) fn is_enforced(&self) -> bool {
        matches!(self, Self::Kernel { enforced: true, .. })
    }

    /// Whether nothing that the command left runs any more.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Kernel { enforced: true, running: None, .. })
    }

    /// Why something of the command may still run, though it was to be ended.
    pub(super) fn running(&self) -> Option<&str> {
        match self {
            Self::Kernel { running, .. } => running.as_deref(),
            Self::Variables(_) => None,
        }
    }
}

impl Watched {
    /// Whether it is to be tried; or why not, where there is more to say than that nobody asked.
    pub(super) fn wanted(start: &Start) -> Result<(), Option<String>> {
        match (start.kernel, lacking(LOADER)) {
            (KernelChoice::Off, _) => Err(None),
            (KernelChoice::Require, _) | (KernelChoice::Auto, None) => Ok(()),
            // Root expects more than an ordinary user does.
            (KernelChoice::Auto, Some(lacking)) => Err(geteuid().is_root().then(|| {
                format!("this root lacks {lacking}, as that of a container does as a rule")
            })),
        }
    }

    /// Begins to watch, where that is to be had.
    pub(super) fn begin(
        start: &Start,
        launch: &Launch,
        gateway: &mut Gateway,
        runtime: &Runtime,
        keeper: &Keeper,
    ) -> Result<Self, Failure> {
        match watch(start, launch, gateway, runtime, keeper) {
            Ok(kernel) => Ok(Self::ByKernel(Box::new(kernel))),
            Err(why) if start.enforce => {
                Err(Failure::new(format!("--enforce cannot be had: {why}"))
                    .fix("run as root on Linux 5.15 or later with cgroup v2, or leave --enforce out for a run that is observed only; COMMAND was not started")
                    .exit_with(Exit::Command(GATEWAY_FAILED)))
            }
            Err(why) if start.kernel == KernelChoice::Require => {
                Err(Failure::new(format!("the kernel cannot watch COMMAND: {why}"))
                    .fix("run as root on Linux 5.15 or later with cgroup v2, or leave --kernel=require out; COMMAND was not started")
                    .exit_with(Exit::Command(GATEWAY_FAILED)))
            }
            Err(why) => {
                tracing::warn!(%why, "the kernel does not watch the command");
                Ok(Self::Not(Some(why)))
            }
        }
    }

    /// What has the command be born into its cgroup.
    pub(super) fn joining(&self) -> Result<Option<Joining>, Failure> {
        match self {
            Self::ByKernel(kernel) => {
                let joining = kernel.cgroup.joining().map_err(|error| Failure::of(&error))?;
                match &kernel.enforced {
                    Some(enforced) => Ok(Some(enforced.behind_fence(joining)?)),
                    None => Ok(Some(joining)),
                }
            }
            Self::Not(_) => Ok(None),
        }
    }

    /// What the command gets in the place of the caller's standard descriptors, behind the fence.
    pub(super) fn standard(&self, carriers: &mut Carriers) -> Result<Given, Failure> {
        match self {
            Self::ByKernel(kernel) if kernel.enforced.is_some() => {
                let (given, all) = Enforced::standard()?;
                *carriers = all;
                Ok(given)
            }
            _ => Ok(Given::default()),
        }
    }

    /// The loader's process, which is none of the command's.
    pub(super) fn process(&self) -> Option<u32> {
        match self {
            Self::ByKernel(kernel) => Some(kernel.observer.process()),
            Self::Not(_) => None,
        }
    }

    /// Ends it: what was counted until now.
    pub(super) fn end(self) -> Coverage {
        let kernel = match self {
            Self::ByKernel(kernel) => *kernel,
            Self::Not(why) => return Coverage::Variables(why),
        };
        let Kernel { mut cgroup, observer, statements, enforced, saying } = kernel;
        let running = enforced.as_ref().and_then(|_| Enforced::end_command(&mut cgroup));
        let counted = statements.end().map(|Last { counted, arrived, names }| {
            Box::new(Covered { around: observer.bypasses(), counted, arrived, names })
        });
        // Nothing runs in it any more before it is opened; where something does, it stays.
        drop(cgroup);
        let broken = enforced.as_ref().is_some_and(Enforced::is_broken);
        let was = enforced.is_some();
        let also = enforced.as_ref().map_or_else(Vec::new, Enforced::not_covered);
        let also = also.into_iter().map(str::to_owned).chain(unread(&observer)).collect();
        if let Some(enforced) = enforced {
            match &running {
                None => enforced.open(&observer),
                Some(_) => enforced.stay_closed(),
            }
        }
        if let Some(saying) = saying {
            observer.tell(|_| ());
            saying.finish();
        }
        Coverage::Kernel { counted, enforced: was, also, broken, running }
    }
}

fn watch(
    start: &Start,
    launch: &Launch,
    gateway: &mut Gateway,
    runtime: &Runtime,
    keeper: &Keeper,
) -> Result<Kernel, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let id = Id(launch.id).to_string();
    let digits = id.get(..DIGITS).unwrap_or(&id);
    let (name, ring, enforce) = (format!("sealtap-{digits}"), start.ring, start.enforce);
    let made = keeper.run(move || {
        if enforce {
            prepare_pins().map_err(|error| error.to_string())?;
        }
        let cgroup = OwnCgroup::new(&name).map_err(|error| error.to_string())?;
        Ok::<_, String>((cgroup, Loader::start(ring).map_err(|error| error.to_string())?))
    });
    let (mut cgroup, loader) = made.map_err(|error| text(&error))??;
    let observer = Arc::new(Observer::of(loader).map_err(|error| text(&error))?);
    let listening = runtime.block_on(gateway.listen_for_redirected(Arc::clone(&observer)));
    let (port, led) = listening.map_err(|error| text(&error))?;
    // Before it denies anything: what is denied is to stay so.
    let user = start.user.map(|(user, group)| User::new(user, group));
    let enforced = match start.enforce {
        true => {
            let data = DataDir::new(&start.gateway.config.data);
            let record = vec![data.root().to_owned(), data.lock_directory()];
            Some(Enforced::begin(digits, user, record, &mut cgroup, &observer)?)
        }
        false => None,
    };
    // One object is all that is to be there, where that is wanted.
    let says = !start.quiet && start.account != Account::Json;
    let saying = if says { Some(Saying::begin().map_err(|error| text(&error))?) } else { None };
    let mut terms = match &enforced {
        Some(enforced) => enforced.terms(&cgroup)?,
        None => Terms::observe(),
    };
    if let Some(saying) = &saying {
        let (lines, over) = (saying.lines(), saying.lines());
        observer.tell(move |bypass| lines.around(bypass));
        terms.ended = Some(Box::new(move |why| over.over(why)));
    }
    observer.leave_alone(start.loopback.clone()).map_err(|error| text(&error))?;
    let kernel = &start.gateway.config.kernel;
    terms.interval = kernel.interval;
    let resolver = kernel.resolver.or_else(system_resolver);
    observer.watch(&cgroup, port, resolver, terms.mode).map_err(|error| text(&error))?;
    let statements = Statements::begin(gateway.coverage(), Arc::clone(&observer), led, terms)?;
    Ok(Kernel { cgroup, observer, statements, enforced, saying })
}

/// What the loader does not know of who connected, with the rights that it has.
fn unread(observer: &Observer) -> Vec<String> {
    let said = |(Unread { what, why }, times)| {
        format!(
            "not known: {what} of who made a connection, {times} times: {why} (the loader reads with \
             CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and has no more)"
        )
    };
    observer.unread().into_iter().map(said).collect()
}
