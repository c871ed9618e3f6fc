//! `[kernel]` and `[serve]`: whose traffic the kernel watches, and as whom the gateway runs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::section::Section;
use super::values;

/// What the kernel is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Whether anything is watched, and what becomes of what goes around.
    pub mode: KernelMode,
    /// Whose traffic is watched.
    pub scopes: Vec<Scope>,
    /// Places on this machine that the scopes reach by themselves; a port of 0 for all of an address.
    pub loopback_allow: Vec<SocketAddr>,
    /// Where names are asked for; none for the machine's own resolver.
    pub resolver: Option<SocketAddr>,
    /// Between two statements of what was seen.
    pub interval: Duration,
    /// Between two canaries; none sends none.
    pub canary: Option<Duration>,
}

impl Default for Kernel {
    fn default() -> Self {
        let interval = Duration::from_secs(5);
        let canary = Some(Duration::from_secs(600));
        Self {
            mode: KernelMode::Off,
            scopes: Vec::new(),
            loopback_allow: Vec::new(),
            resolver: None,
            interval,
            canary,
        }
    }
}

/// What the kernel does with what does not come to the gateway by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelMode {
    /// Nothing.
    #[default]
    Off,
    /// TCP is led to the gateway, the rest goes on and is counted.
    Observe,
    /// TCP is led to the gateway, the rest is denied and counted.
    Enforce,
}

/// Processes whose traffic is watched, named so that it outlasts them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A cgroup, by its path below the root of the hierarchy.
    Cgroup(String),
    /// A unit of systemd, wherever its cgroup is.
    Unit(String),
    /// Containers, by a pattern for their ids.
    Container(String),
}

/// What a scope looks like.
const SCOPE: &str = "an array such as [\"unit:agent.service\", \"/agents\", \"container:3f2a*\"]";

/// Digits of a container's id that say which one is meant.
const DIGITS: usize = 4;

/// Kinds of units that have a cgroup.
const KINDS: [&str; 3] = [".service", ".scope", ".slice"];

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => formatter.write_str(path),
            Self::Unit(name) => write!(formatter, "unit:{name}"),
            Self::Container(pattern) => write!(formatter, "container:{pattern}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            _ if text.starts_with('/') => cgroup(text),
            Some(("unit", name)) => unit(name),
            Some(("container", pattern)) => container(pattern),
            _ => Err("wants a cgroup's path such as \"/agents\", a unit such as \
                      \"unit:agent.service\" or a container such as \"container:3f2a*\""
                .to_owned()),
        }
    }
}

fn cgroup(path: &str) -> Result<Scope, String> {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err("is the whole machine with the gateway in it, whose own connections would be \
                    led back to it: name the cgroups of the apps"
            .to_owned());
    }
    let below = path.strip_prefix('/').unwrap_or(path);
    if below.starts_with("sys/fs/cgroup") {
        return Err("wants the path below the root of the hierarchy, as /proc/PID/cgroup has it \
                    after `0::`, without /sys/fs/cgroup"
            .to_owned());
    }
    match below.split('/').any(|name| matches!(name, "" | "." | "..")) {
        true => Err("wants a path of plain names, without `.`, `..` and empty ones".to_owned()),
        false => Ok(Scope::Cgroup(path.to_owned())),
    }
}

fn unit(name: &str) -> Result<Scope, String> {
    let kind = KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind));
    match kind && !name.contains('/') {
        true => Ok(Scope::Unit(name.to_owned())),
        false => Err("wants the full name of a service, a scope or a slice, such as \
                      \"unit:agent.service\""
            .to_owned()),
    }
}

fn container(pattern: &str) -> Result<Scope, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let said = pattern.bytes().filter(|byte| *byte != b'*').count();
    match pattern.bytes().all(plain) && (said >= DIGITS || pattern == "*") {
        true => Ok(Scope::Container(pattern.to_owned())),
        false => Err(format!(
            "wants a container's id, or its first {DIGITS} digits or more with a `*` after them; \
             `*` alone means every container"
        )),
    }
}

/// Reads `[kernel]`.
pub(super) fn read(section: &Section<'_>, kernel: &mut Kernel) {
    let modes = [
        ("off", KernelMode::Off),
        ("observe", KernelMode::Observe),
        ("enforce", KernelMode::Enforce),
    ];
    let mode = section.parsed("mode", "a string", |text| values::choice(text, &modes));
    kernel.mode = mode.unwrap_or_default();
    let scopes = section.texts("scopes", SCOPE).unwrap_or_default();
    kernel.scopes =
        scopes.iter().filter_map(|text| section.parse(text, str::parse::<Scope>)).collect();
    if kernel.mode != KernelMode::Off {
        section.demand("scopes", "without it nobody is watched; `mode = \"off\"` says so");
    }
    let places = section.texts("loopback_allow", PLACES).unwrap_or_default();
    kernel.loopback_allow = places.iter().filter_map(|text| section.parse(text, place)).collect();
    kernel.resolver = section.parsed("resolver", RESOLVER, resolver);
    let range = Duration::from_millis(500)..=Duration::from_secs(60);
    let interval = section.parsed("interval", values::DURATION, |t| values::duration(t, &range));
    kernel.interval = interval.unwrap_or(kernel.interval);
    let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);
    let canary = section
        .parsed("canary", values::DURATION_OR_NONE, |text| values::duration_or_none(text, &range));
    kernel.canary = canary.unwrap_or(kernel.canary);
}

/// What places on the machine look like.
const PLACES: &str = "an array such as [\"127.0.0.1:5432\", \"[::1]:6379\"]";

/// An address of the loopback, with a port or for all of them.
///
/// # Errors
///
/// What it is to be, where it is another.
pub fn place(text: &str) -> Result<SocketAddr, String> {
    let all = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let place = all.or_else(|_| text.parse::<SocketAddr>());
    match place {
        Ok(place) if place.ip().to_canonical().is_loopback() => Ok(place),
        _ => Err(
            "wants an address of the loopback such as \"127.0.0.1:5432\", or without a port for \
                  all of them: other places are never left alone"
                .to_owned(),
        ),
    }
}

/// What the resolver's address looks like.
const RESOLVER: &str = "an address such as \"127.0.0.53\" or \"10.0.0.2:53\"";

/// An address, whose port is that of DNS unless it is said.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let plain = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    plain.or_else(|_| text.parse()).map_err(|_| format!("wants {RESOLVER}"))
}

/// The user that the gateway is to become, as `[serve]` names it.
pub(super) fn user(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
    match text {
        "root" | "0" => Err("is what the gateway is to stop being: name an ordinary user".into()),
        _ if text.is_empty() || text.len() > 256 || !text.bytes().all(plain) => {
            Err("wants the name of a user such as \"sealtap\", or its number".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}
