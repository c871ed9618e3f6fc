//! The machine: its kernel and what of it is mounted, and how well it keeps time.

use std::fs;

use super::Finding;
use crate::kernel::{Clock, Hierarchy, clock};
use crate::rights::{FENCE, LOADER, lacking};

/// The oldest kernel whose hooks suffice: network namespaces have cookies since then.
const OLDEST: (u32, u32) = (5, 15);

/// Where a BPF file system belongs.
const FILE_SYSTEM: &str = "/sys/fs/bpf";

/// From when on a program at a device is an own link (tcx).
const LINKS_AT_DEVICES: (u32, u32) = (6, 6);

pub(super) fn look() -> Vec<Finding> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    vec![
        kernel(),
        cgroup(),
        lockdown(),
        types(),
        bpffs(&mounts, fs::exists(FILE_SYSTEM).unwrap_or(false)),
        rights(),
        enforce(),
        look_up(&mounts),
        time(),
    ]
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let Some(version) = version(&release) else {
        return Finding::unknown(
            "kernel",
            format!("Linux {release}"),
            "its version is not readable",
        );
    };
    let device = match version >= LINKS_AT_DEVICES {
        true => "tcx",
        false => "clsact: replaced or removed without a trace in a link",
    };
    match version >= OLDEST {
        true => {
            Finding::well("kernel", format!("Linux {release}; programs at devices by {device}"))
        }
        false => Finding::short(
            "kernel",
            format!("Linux {release} has not all hooks"),
            "use Linux 5.15 or later; without, `sealtap run` relies on proxy variables",
        ),
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cgroup() -> Finding {
    match Hierarchy::find() {
        Ok(hierarchy) => {
            let (root, own) = (hierarchy.root().display().to_string(), hierarchy.own().to_owned());
            let whole =
                if hierarchy.is_whole() { "" } else { ", of which only a part is seen here" };
            Finding::well("cgroup", format!("version 2 at {root}{whole}; this process is in {own}"))
        }
        Err(error) => {
            Finding::short("cgroup", error.to_string(), "programs are attached at its root")
        }
    }
}

fn lockdown() -> Finding {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let chosen = text.split('[').nth(1).and_then(|rest| rest.split(']').next());
    match chosen {
        Some("confidentiality") => Finding::short(
            "lockdown",
            "confidentiality: programs may not read what they look at",
            "boot with lockdown=integrity, under which all hooks work, or none",
        ),
        Some(chosen) => {
            Finding::well("lockdown", format!("{chosen}: the hooks in use are allowed"))
        }
        None => Finding::well("lockdown", "none"),
    }
}

fn types() -> Finding {
    match fs::exists("/sys/kernel/btf/vmlinux") {
        Ok(true) => Finding::well("btf", "the kernel describes its types (not needed)"),
        _ => Finding::well("btf", "the kernel does not describe its types, which is not needed"),
    }
}

/// `there`: whether there is a place for one.
fn bpffs(mounts: &str, there: bool) -> Finding {
    match mount(mounts, |_, kind| kind == "bpf") {
        Some((place, _)) => Finding::well("bpffs", format!("at {place}")),
        None if there => {
            Finding::well("bpffs", format!("none: what enforces mounts one at {FILE_SYSTEM}"))
        }
        None => Finding::short(
            "bpffs",
            format!("no {FILE_SYSTEM}: programs cannot outlive the gateway, as --enforce wants"),
            "mount sysfs at /sys, on a kernel with CONFIG_BPF_SYSCALL",
        ),
    }
}

fn rights() -> Finding {
    match lacking(LOADER) {
        None => Finding::well("capabilities", "all that the loader needs"),
        Some(lacking) => Finding::unknown(
            "capabilities",
            format!("this process lacks {lacking}: the kernel's part is not tried"),
            "run as root (outside of a container): the loader needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, and to name the \
             processes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; the gateway itself needs none",
        ),
    }
}

/// What `sealtap run --enforce` takes of rights beyond.
fn enforce() -> Finding {
    match lacking(FENCE) {
        None => Finding::well("enforce", "all capabilities that `sealtap run --enforce` needs"),
        Some(lacking) => Finding::unknown(
            "enforce",
            format!("this process could not `sealtap run --enforce`: it lacks {lacking}"),
            "run as root (outside of a container)",
        ),
    }
}

/// Whether processes of others can be looked up; the loader may in any case.
fn look_up(mounts: &str) -> Finding {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let scope = match scope.trim() {
        "" => "no ptrace_scope".to_owned(),
        scope => format!("ptrace_scope {scope}"),
    };
    let options = mount(mounts, |place, kind| kind == "proc" && place == "/proc").map(|(_, o)| o);
    let hidden = options.unwrap_or_default().split(',').find(|o| o.starts_with("hidepid="));
    match hidden.filter(|option| !matches!(*option, "hidepid=0" | "hidepid=off")) {
        None => Finding::well("attribution", format!("processes can be looked up ({scope})")),
        Some(hidden) => Finding::well(
            "attribution",
            format!("/proc has {hidden}: only a loader with CAP_SYS_PTRACE can look up ({scope})"),
        ),
    }
}

fn mount(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<(&str, &str)> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        wanted(place, kind).then_some((place, options))
    })
}

fn time() -> Finding {
    let fix = "run chrony, ntpd or systemd-timesyncd; a timestamp authority (`[timestamp]`) and \
               witnesses vouch for times without it";
    match clock() {
        Ok(Clock { synchronised: true, error }) => {
            Finding::well("clock", format!("synchronised, off by at most {} ms", error.as_millis()))
        }
        Ok(Clock { synchronised: false, .. }) => Finding::short(
            "clock",
            "not synchronised: times in the log are this machine's word",
            fix,
        ),
        Err(error) => Finding::unknown("clock", format!("cannot be asked: {error}"), fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(version("6.1.0-25-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.153.1-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("6.18.44-custom"), Some((6, 18)));
        assert_eq!(version("unknown"), None);
        assert!((5, 4) < OLDEST && (6, 1) > OLDEST);
    }

    #[test]
    fn mounts_are_found_by_kind_and_place() {
        let mounts = "proc /proc proc rw,hidepid=invisible 0 0\nbpf /run/bpf bpf rw 0 0\n";
        assert_eq!(bpffs(mounts, false).what, "at /run/bpf");
        // The gateway mounts it itself where it can.
        assert_eq!(bpffs("", true).state, super::super::State::Well);
        assert_eq!(bpffs("", false).state, super::super::State::Short);
        assert!(look_up(mounts).what.contains("hidepid=invisible"));
        assert!(!look_up("proc /proc proc rw 0 0\n").what.contains("hidepid"));
    }
}
