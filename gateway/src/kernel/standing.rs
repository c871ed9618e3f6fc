//! Standing: what sealtap has attached to this machine, by whom, and how to open what was left closed.
//!
//! In: pins, and the loaders that run. Out: each gateway's programs with their links and what they watch.
//! It takes root, since links and maps are read by their numbers. Only pins whose gateway is gone are ever
//! taken away; a gateway that lives takes its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramInfo, loaded_programs};
use rustix::process::{Pid, Signal, kill_process};
use sealtap_common::kernel::{Watch, mode};
use serde_json::{Value as Json, json};

use super::cgroup;
use super::message::ProgramAt;
use super::pins::{self, Instance};
use super::process::started_at;
use super::programs::{Link, links_of};
use super::raw::Value;
use super::uplinks;
use crate::command::kernel::{Detach, Status};
use crate::command::{Exit, Failure, Outcome, Output};

/// Before the programs' names in the kernel.
const PREFIX: &str = "sealtap_";

/// The map of watched cgroups.
const WATCHED: &str = "WATCHED";

/// How long programs may take to go once nothing is to hold them.
const LETTING_GO: Duration = Duration::from_secs(2);

/// One gateway's programs.
pub(super) struct Standing {
    pub(super) instance: Instance,
    loader: Option<u32>,
    pub(super) pinned: Option<PathBuf>,
    programs: Vec<ProgramAt>,
    pub(super) watched: Vec<Scope>,
}

/// A watched cgroup.
pub(super) struct Scope {
    pub(super) cgroup: u64,
    pub(super) path: Option<PathBuf>,
    watch: Watch,
}

/// Lists what is attached.
///
/// # Errors
///
/// No right to look, or nowhere to write to.
pub fn status(arguments: &Status, output: &mut Output<'_>) -> Outcome {
    let found = standing()?;
    let failed = |error| Failure::writing(&error);
    if arguments.json {
        for one in &found {
            writeln!(output.exact(), "{}", one.json()).map_err(failed)?;
        }
        return Ok(Exit::Done);
    }
    let mut text = output.styled();
    if found.is_empty() {
        writeln!(text, "sealtap has nothing attached here").map_err(failed)?;
    }
    for one in &found {
        write!(text, "{}", one.text()).map_err(failed)?;
    }
    Ok(Exit::Done)
}

/// Takes pins away whose gateway is gone.
///
/// # Errors
///
/// No right to, no such instance, or its gateway lives.
pub fn detach(arguments: &Detach, output: &mut Output<'_>) -> Outcome {
    let found: Vec<_> = standing()?.into_iter().filter(|one| one.pinned.is_some()).collect();
    let chosen: Vec<_> = match &arguments.instance {
        None => found.iter().filter(|one| !one.instance.lives()).collect(),
        Some(name) => {
            let named = found.iter().filter(|one| one.instance.to_string().starts_with(name));
            let named: Vec<_> = named.collect();
            let [one] = named.as_slice() else {
                return Err(Failure::new(format!("{} instances are called {name}", named.len()))
                    .fix("`sealtap kernel status` lists them"));
            };
            if one.instance.lives() {
                let process = one.instance.process;
                return Err(Failure::new(format!(
                    "the gateway of {name} lives: process {process}"
                ))
                .fix("end that process: it takes its programs with it"));
            }
            named
        }
    };
    let swept = match arguments.instance {
        None if !is_used_here(&standing()?) => uplinks::sweep(),
        _ => Vec::new(),
    };
    for device in &swept {
        let written = match arguments.json {
            true => writeln!(output.exact(), "{}", json!({ "device": device })),
            false => writeln!(output.styled(), "{device}: took away a filter that was left"),
        };
        written.map_err(|error| Failure::writing(&error))?;
    }
    if chosen.is_empty() && swept.is_empty() && !arguments.json {
        let said = "nothing was left behind: no pinned program whose gateway is gone";
        writeln!(output.styled(), "{said}").map_err(|error| Failure::writing(&error))?;
    }
    let mut failed = None;
    for one in chosen {
        let removed = match one.open() {
            Ok(removed) => removed,
            // The others are opened all the same.
            Err(failure) => {
                failed = Some(failure.at(one.instance.to_string()));
                continue;
            }
        };
        let written = match arguments.json {
            true => writeln!(output.exact(), "{removed}"),
            false => writeln!(
                output.styled(),
                "{}: opened; took away {}",
                one.instance,
                one.programs.iter().map(|at| at.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        written.map_err(|error| Failure::writing(&error))?;
    }
    failed.map_or(Ok(Exit::Done), Err)
}

/// Whether a gateway lives in this network namespace.
fn is_used_here(standing: &[Standing]) -> bool {
    let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = network("self");
    let mut living = standing.iter().filter(|one| one.instance.lives());
    living.any(|one| network(&one.instance.process.to_string()) == own)
}

impl Standing {
    /// Takes its pins away, and what still holds their links, and cgroups that nobody is in.
    fn open(&self) -> Result<Json, Failure> {
        if let Some(loader) = self.loader.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It would have ended with its gateway, unless it was stopped.
            let _ = kill_process(loader, Signal::KILL);
        }
        let folder = self.instance.folder();
        let removed =
            pins::remove(&folder).map_err(|error| Failure::of(&error).fix("run it as root"))?;
        self.until_let_go();
        let own = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("sealtap-"))
        };
        let cgroups = self.watched.iter().filter_map(|scope| scope.path.as_ref()).filter(own);
        let cgroups: Vec<_> = cgroups.filter(|path| fs::remove_dir(path).is_ok()).collect();
        Ok(json!({
            "instance": self.instance.to_string(),
            "removed": removed,
            "links": self.programs.iter().map(|at| at.link).collect::<Vec<_>>(),
            "cgroups_removed": cgroups,
        }))
    }

    /// Waits until none of its programs is there: a loader that ends holds its links for a moment longer than
    /// anything can be seen of it. Somebody else who holds one, to look at it, is not waited for.
    fn until_let_go(&self) {
        let own = |found: &ProgramInfo| self.programs.iter().any(|at| at.id == found.id());
        let begin = Instant::now();
        while loaded_programs().flatten().any(|found| own(&found)) && begin.elapsed() < LETTING_GO {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn json(&self) -> Json {
        let program = |at: &ProgramAt| {
            json!({
                "name": at.name,
                "id": at.id,
                "tag": format!("{:016x}", at.tag),
                "link": at.link,
                "cgroup": at.cgroup,
                "device": at.device,
            })
        };
        let scope = |scope: &Scope| {
            json!({
                "cgroup": scope.cgroup,
                "path": scope.path,
                "mode": word(scope.watch.mode),
                "port": scope.watch.port,
            })
        };
        json!({
            "instance": self.instance.to_string(),
            "gateway": { "process": self.instance.process, "lives": self.instance.lives() },
            "loader": self.loader,
            "pinned": self.pinned,
            "programs": self.programs.iter().map(program).collect::<Vec<_>>(),
            "watched": self.watched.iter().map(scope).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let gateway = match self.instance.lives() {
            true => format!("gateway {} lives", self.instance.process),
            false => format!("gateway {} is gone", self.instance.process),
        };
        let loader =
            self.loader.map_or_else(|| "no loader".to_owned(), |id| format!("loader {id}"));
        let pinned = if self.pinned.is_some() { "pinned" } else { "not pinned" };
        let mut lines = vec![format!("{}: {gateway}, {loader}, {pinned}", self.instance)];
        for at in &self.programs {
            lines.push(format!(
                "  program  {:<18} id {:<6} tag {:016x}  link {:<6} cgroup {}",
                at.name, at.id, at.tag, at.link, at.cgroup
            ));
        }
        for scope in &self.watched {
            let path = scope.path.as_ref().map(|path| path.display().to_string());
            lines.push(format!(
                "  watches  {} ({}), {}, led to port {}",
                path.unwrap_or_else(|| "a cgroup that is gone".to_owned()),
                scope.cgroup,
                word(scope.watch.mode),
                scope.watch.port
            ));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn word(number: u32) -> &'static str {
    match number {
        mode::ENFORCE => "enforce",
        mode::OBSERVE => "observe",
        _ => "unknown",
    }
}

/// All of it, pinned first.
pub(super) fn standing() -> Result<Vec<Standing>, Failure> {
    let denied = |error: &dyn std::error::Error| {
        Failure::new(format!("what is attached cannot be read: {error}")).fix("run it as root")
    };
    let loaded: Result<Vec<_>, _> = loaded_programs().collect();
    let loaded = loaded.map_err(|error| denied(&error))?;
    let loaded: BTreeMap<u32, ProgramInfo> =
        loaded.into_iter().map(|info| (info.id(), info)).collect();
    let mut found = Vec::new();
    let mut loaders = loaders();
    for instance in pins::pinned() {
        let folder = instance.folder();
        let names = pins::names(&folder).map_err(|error| denied(&error))?;
        let mut programs = Vec::new();
        for name in names {
            let Ok(pin) = PinnedLink::from_pin(folder.join(&name)) else { continue };
            let pin = FdLink::from(pin);
            let Ok(info) = pin.info() else { continue };
            let held = links_of(Path::new("/proc/self"));
            let Some(link) = held.get(&info.id()) else { continue };
            programs.push(program_at(name, info.id(), link, &loaded));
        }
        programs.sort_by(|one, other| one.name.cmp(&other.name));
        let links: Vec<_> = programs.iter().map(|at| at.link).collect();
        let holds = |held: &Loader| links.iter().any(|link| held.links.contains_key(link));
        let place = loaders.iter().position(holds);
        let loader = place.map(|place| loaders.swap_remove(place).process);
        let watched = watched(&programs, &loaded);
        found.push(Standing { instance, loader, pinned: Some(folder), programs, watched });
    }
    for Loader { process, gateway, links } in loaders {
        let named = |(id, link): (&u32, &Link)| {
            let name = loaded.get(&link.program).and_then(ProgramInfo::name_as_str);
            let name = name.filter(|name| name.starts_with(PREFIX))?;
            Some(program_at(name.to_owned(), *id, link, &loaded))
        };
        let mut programs: Vec<_> = links.iter().filter_map(named).collect();
        programs.sort_by_key(|at| at.link);
        let watched = watched(&programs, &loaded);
        let started = started_at(gateway).unwrap_or_default();
        let instance = Instance { id: "unpinned".to_owned(), process: gateway, started };
        found.push(Standing { instance, loader: Some(process), pinned: None, programs, watched });
    }
    Ok(found)
}

fn program_at(
    name: String,
    id: u32,
    link: &Link,
    loaded: &BTreeMap<u32, ProgramInfo>,
) -> ProgramAt {
    let tag = loaded.get(&link.program).map_or(0, ProgramInfo::tag);
    let (held, cgroup) = (link.program, link.cgroup);
    ProgramAt { name, id: held, tag, link: id, cgroup, device: link.device, held }
}

/// A loader that runs.
struct Loader {
    process: u32,
    gateway: u32,
    links: std::collections::HashMap<u32, Link>,
}

fn loaders() -> Vec<Loader> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let Some(process) = process.filter(|_| is_loader(&line)) else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let gateway = parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or_default();
        let links = links_of(&entry.path());
        if !links.is_empty() {
            found.push(Loader { process, gateway, links });
        }
    }
    found
}

/// Whether a command line is a loader's, as the gateway starts it.
fn is_loader(line: &[u8]) -> bool {
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    let mut is = |word: &[u8]| arguments.next() == Some(word);
    is(b"kernel") && is(b"loader")
}

/// What programs watch: the map by its name, which not each of them has.
fn watched(programs: &[ProgramAt], loaded: &BTreeMap<u32, ProgramInfo>) -> Vec<Scope> {
    let maps = programs.iter().filter_map(|at| loaded.get(&at.id)?.map_ids().ok()?);
    let ours = maps
        .flatten()
        .find(|id| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some(WATCHED)));
    let map = ours.and_then(|id| Map::from_map_data(MapData::from_id(id).ok()?).ok());
    let Some(map) = map else { return Vec::new() };
    let Ok(map) = HashMap::<_, u64, Value<Watch>>::try_from(map) else { return Vec::new() };
    let scope = |(cgroup, watch): (u64, Value<Watch>)| {
        let path = cgroup::root().ok().and_then(|root| cgroup::folder_of(&root, cgroup));
        Scope { cgroup, path, watch: watch.0 }
    };
    map.iter().flatten().map(scope).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_known_whatever_it_was_told() {
        assert!(is_loader(b"/proc/self/exe\0kernel\0loader\0"));
        assert!(is_loader(b"/proc/self/exe\0kernel\0loader\0--ring=4096\0"));
        for other in [&b"sealtap\0kernel\0canary\0"[..], b"grep\0-r\0kernel\0loader\0", b""] {
            assert!(!is_loader(other), "{other:?}");
        }
    }
}
