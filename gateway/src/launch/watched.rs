//! What the kernel has to say of the command.
//!
//! In: what was asked for, and the gateway. Out: a cgroup that the command is born into, whose TCP
//! connections the kernel leads to the gateway, and at the end what went around. Where the kernel is
//! not to be had, the reason; only where it was demanded is that a failure.

use std::sync::Arc;

use rustix::thread::{CapabilitySet, capabilities};
use sealtap_common::Id;
use sealtap_common::leaf::Arrived;
use tokio::runtime::Runtime;

use super::enforced::Enforced;
use crate::command::run::{GATEWAY_FAILED, KernelChoice, Start};
use crate::command::{Exit, Failure};
use crate::gateway::Gateway;
use crate::identify::Launch;
use crate::kernel::{
    Bypass, Counted, Joining, Last, Observer, OwnCgroup, Statements, Terms, User, system_resolver,
};

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
        /// Whether files of root were the command's own.
        root: bool,
        /// Whether the command was ended because a program was detached or replaced.
        broken: bool,
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
}

impl Coverage {
    /// Whether the command was to be kept from going around.
    pub(super) fn is_enforced(&self) -> bool {
        matches!(self, Self::Kernel { enforced: true, .. })
    }
}

impl Watched {
    /// Whether it is to be tried.
    pub(super) fn is_wanted(start: &Start) -> bool {
        match start.kernel {
            KernelChoice::Off => false,
            KernelChoice::Auto => may(),
            KernelChoice::Require => true,
        }
    }

    /// Begins to watch, where that was asked for and is to be had.
    pub(super) fn begin(
        start: &Start,
        launch: &Launch,
        gateway: &mut Gateway,
        runtime: &Runtime,
    ) -> Result<Self, Failure> {
        if !Self::is_wanted(start) {
            return Ok(Self::Not(None));
        }
        match watch(start, launch, gateway, runtime) {
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
        let Kernel { cgroup, observer, statements, enforced } = kernel;
        if let Some(enforced) = &enforced {
            enforced.end_command(&cgroup);
        }
        let counted = statements.end().map(|Last { counted, arrived }| {
            Box::new(Covered { around: observer.bypasses(), counted, arrived })
        });
        // Nothing runs in it any more before it is opened.
        drop(cgroup);
        let broken = enforced.as_ref().is_some_and(Enforced::is_broken);
        let (was, root) = (enforced.is_some(), enforced.as_ref().is_some_and(Enforced::is_root));
        if let Some(enforced) = enforced {
            enforced.open(&observer);
        }
        Coverage::Kernel { counted, enforced: was, root, broken }
    }
}

fn watch(
    start: &Start,
    launch: &Launch,
    gateway: &mut Gateway,
    runtime: &Runtime,
) -> Result<Kernel, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let id = Id(launch.id).to_string();
    let digits = id.get(..DIGITS).unwrap_or(&id);
    let mut cgroup = OwnCgroup::new(&format!("sealtap-{digits}")).map_err(|error| text(&error))?;
    let observer = Arc::new(Observer::start(start.ring).map_err(|error| text(&error))?);
    let listening = runtime.block_on(gateway.listen_for_redirected(Arc::clone(&observer)));
    let (port, led) = listening.map_err(|error| text(&error))?;
    // Before it denies anything: what is denied is to stay so.
    let user = start.user.map(|(user, group)| User::new(user, group));
    let enforced = match start.enforce {
        true => Some(Enforced::begin(digits, user, &mut cgroup, &observer)?),
        false => None,
    };
    let terms = match &enforced {
        Some(enforced) => enforced.terms(&cgroup)?,
        None => Terms::observe(),
    };
    observer.leave_alone(start.loopback.clone()).map_err(|error| text(&error))?;
    observer.watch(&cgroup, port, system_resolver(), terms.mode).map_err(|error| text(&error))?;
    let statements = Statements::begin(gateway.coverage(), Arc::clone(&observer), led, terms)?;
    Ok(Kernel { cgroup, observer, statements, enforced })
}

/// Whether this process has what the loader needs.
fn may() -> bool {
    let needed = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}
