//! The kernel's hooks: each program loaded, attached and detached, in a process of its own.

use super::Finding;
use crate::kernel::{Attempt, attempts};

const FIX: &str = "use Linux 5.15 or later with cgroup v2 and CONFIG_CGROUP_BPF, outside of a container \
                   without CAP_BPF";

pub(super) fn try_each() -> Vec<Finding> {
    let tried = match attempts() {
        Ok(tried) => tried,
        Err(why) => {
            let fix = "run as root to have each hook tried";
            return vec![Finding::unknown("hooks", format!("not tried: {why}"), fix)];
        }
    };
    let finding = |attempt: Attempt| match attempt {
        Attempt { name, hook, refused: None } => {
            Finding::well("hook", format!("{name}: loaded, attached at {hook}, detached"))
        }
        Attempt { name, hook, refused: Some(why) } => {
            Finding::short("hook", format!("{name} at {hook}: {why}"), FIX)
        }
    };
    tried.into_iter().map(finding).collect()
}
