//! Left: what gateways before this one have attached to the same cgroups.
//!
//! In: the scopes that are to be watched. Out: instances whose gateway is gone and that hold nothing but these
//! scopes: whoever watches them from now on takes their pins away, after its own programs are there, so
//! that nothing is open in between. Fails where a gateway lives that watches the same, and where to take the
//! pins away would open what nobody here watches. A scope within another counts as the same.

use std::path::{Path, PathBuf};

use super::pins::Instance;
use super::scope::Hierarchy;
use super::standing::{Standing, standing};
use crate::command::Failure;
use crate::config::Scope;

/// Before the name of a canary's cgroup, which is gone with its gateway.
const CANARY: &str = "sealtap-canary-";

/// What is to be taken away once `scopes` are watched.
///
/// # Errors
///
/// Another gateway watches them, or has left more than them closed.
pub fn left(scopes: &[Scope]) -> Result<Vec<Instance>, Failure> {
    let Ok(hierarchy) = Hierarchy::find() else { return Ok(Vec::new()) };
    let mut ours = Vec::new();
    for scope in scopes {
        let found = hierarchy.cgroups(scope).map_err(|error| Failure::of(&error))?;
        let place = |path: &str| hierarchy.root().join(path.trim_matches('/'));
        ours.extend(found.into_iter().map(|found| place(&found.path)));
    }
    // Without the right to look there is none to attach anything either.
    let standing = standing().unwrap_or_default();
    let found = standing.into_iter().filter_map(|one| of(one, &ours).transpose());
    found.collect()
}

fn of(standing: Standing, ours: &[PathBuf]) -> Result<Option<Instance>, Failure> {
    let Standing { instance, watched, pinned, .. } = standing;
    let is_canary = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(CANARY))
    };
    let there = watched.into_iter().filter_map(|scope| scope.path);
    let there: Vec<PathBuf> = there.filter(|path| !is_canary(path)).collect();
    // One that lies in another is the same: each of the two gateways would have what is in both.
    let is_shared =
        |path: &Path| ours.iter().any(|own| path.starts_with(own) || own.starts_with(path));
    let is_covered = |path: &Path| ours.iter().any(|own| path.starts_with(own));
    let Some(same) = there.iter().find(|path| is_shared(path)) else {
        return Ok(None);
    };
    match (instance.lives(), pinned) {
        // A loader that its gateway did not outlive ends by itself.
        (_, None) if instance.process == 1 => Ok(None),
        (false, None) => Ok(None),
        (true, _) => Err(Failure::new(format!(
            "the gateway of process {} watches {} already",
            instance.process,
            same.display()
        ))
        .at("`scopes` in [kernel]")
        .fix("end that gateway first, or name other scopes; `sealtap kernel status` lists all")),
        (false, Some(_)) => match there.iter().find(|path| !is_covered(path)) {
            None => Ok(Some(instance)),
            Some(other) => Err(Failure::new(format!(
                "a gateway that is gone has left {} closed, and with it {}, which is not in this \
                     configuration",
                same.display(),
                other.display()
            ))
            .at("`scopes` in [kernel]")
            .fix(format!(
                "name it as well, or open all that was left with `sealtap kernel detach \
                     --instance {instance}`, as root"
            ))),
        },
    }
}
