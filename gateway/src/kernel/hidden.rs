//! Hidden: files that a command behind the fence does not find, or cannot change, whoever owns them.
//!
//! In: where the record is kept, and the machine's mounts. Out: mounts over them, prepared before, so that the
//! child has only system calls left to do: nothing over the record, and nothing in the place of devices that send
//! past every socket; and for a user 0, whose own root's files are without any capability, the kernel's own
//! switches (`/proc`, `/sys` and what is mounted below) read-only, its own processes' and the gateway's among
//! them, and nothing in the place of devices that not everybody may use. Fails where the command is to begin in
//! what is hidden. A second name of the record, by a mount elsewhere, is not known.

use std::ffi::{CStr, CString, OsString};
use std::fs::{self, FileType};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, makedev};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

/// What the kernel shows of itself as files, but for the second version of cgroups: a user 0 can have programs
/// run outside by some of it (`release_agent`, `uevent_helper`), and the gateway be the first to go when
/// memory is short (`oom_score_adj`), without a capability.
const SWITCHES: [&str; 15] = [
    "binfmt_misc",
    "cgroup",
    "configfs",
    "debugfs",
    "efivarfs",
    "fusectl",
    "nfsd",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
    "xenfs",
];

/// Where devices are.
const DEVICES: &str = "/dev";

/// Folders of devices that send past every socket, so that no hook sees it: of tunnels, which anybody may open
/// and whose frames their holder writes; and of network cards that a program drives itself.
const CARRIERS: [&str; 3] = ["net", "infiniband", "vfio"];

/// How others like them are called, but for a number: the frames of a macvtap, and a card's registers.
const NUMBERED: [&[u8]; 2] = [b"tap", b"uio"];

/// And how these begin: networks of virtual machines that the kernel drives.
const VIRTUAL: &[u8] = b"vhost-";

/// The number of what takes on tunnels, under whatever name it is mounted.
const TUNNEL: (u32, u32) = (10, 200);

/// What stands in a device's place.
const NOTHING: &CStr = c"/dev/null";

/// Over a folder: nothing, for good.
const EMPTY: &CStr = c"size=4k,mode=0555";

/// What is mounted, and where.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// Folders of the record.
    record: Vec<CString>,
    /// Mounts that become read-only.
    switches: Vec<CString>,
    devices: Vec<CString>,
}

impl Hidden {
    /// The folders of the record, for a command that begins in `folder`, and devices that nobody's command is
    /// to have; and what user 0 owns, where it is that.
    pub(super) fn new(record: &[PathBuf], folder: &Path, root: bool) -> io::Result<Self> {
        let mut hidden = Self::default();
        let parts = record.iter().map(fs::canonicalize).collect::<io::Result<Vec<PathBuf>>>()?;
        for (place, part) in parts.iter().enumerate() {
            if folder.starts_with(part) {
                let (part, folder) = (part.display(), folder.display());
                return Err(io::Error::other(format!(
                    "{part} holds the record and is hidden from COMMAND, which is to begin in {folder}: name \
                     another folder with --data and --lock, or begin elsewhere"
                )));
            }
            // What lies in another part is hidden with it, and is not to be found afterwards.
            let others = parts.iter().enumerate().filter(|(other, _)| *other != place);
            let within = |(other, above): (usize, &PathBuf)| {
                part.starts_with(above) && (above != part || other < place)
            };
            if !others.into_iter().any(within) {
                hidden.record.push(named(part)?);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        if root {
            let switches = mounted(&mounts, &SWITCHES).into_iter().map(named);
            hidden.switches = switches.collect::<io::Result<_>>()?;
        }
        let mut places = mounted(&mounts, &["devtmpfs"]);
        let usual = PathBuf::from(DEVICES);
        if !places.contains(&usual) {
            places.push(usual);
        }
        for place in places {
            let found = within(&place, root, &mut hidden.devices);
            found.map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", place.display()))
            })?;
        }
        // What is both is hidden once.
        hidden.devices.sort();
        hidden.devices.dedup();
        Ok(hidden)
    }

    /// Mounts it all. Only system calls.
    pub(super) fn enter(&self) -> rustix::io::Result<()> {
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let read_only = MountFlags::BIND | MountFlags::RDONLY | plain;
        for place in &self.switches {
            mount_remount(place.as_c_str(), read_only, c"")?;
        }
        for device in &self.devices {
            match mount_bind(NOTHING, device.as_c_str()) {
                // Some come and go with virtual machines.
                Err(Errno::NOENT) => {}
                mounted => mounted?,
            }
        }
        for part in &self.record {
            let flags = plain | MountFlags::RDONLY;
            mount(c"none", part.as_c_str(), c"tmpfs", flags, Some(EMPTY))?;
        }
        Ok(())
    }
}

fn named(path: impl Into<PathBuf>) -> io::Result<CString> {
    CString::new(path.into().into_os_string().into_vec()).map_err(io::Error::other)
}

/// Where file systems of some kinds are mounted and can be got to (proc_pid_mountinfo(5)): each place once,
/// and none that is covered.
fn mounted(mounts: &str, kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (place, kind, device) in mounts.lines().filter_map(parse) {
        // Only these are looked at: one of another kind may answer never.
        let there =
            kinds.contains(&kind) && fs::metadata(&place).is_ok_and(|meta| meta.dev() == device);
        if there && !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

/// Where, what kind, and the number of its device.
fn parse(line: &str) -> Option<(PathBuf, &str, u64)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let (number, place) = (fields.next()?, fields.nth(1)?);
    let (high, low) = number.split_once(':')?;
    let device = makedev(high.parse().ok()?, low.parse().ok()?);
    Some((OsString::from_vec(unescaped(place)).into(), after.split(' ').next()?, device))
}

/// What is to be hidden at a place where devices are mounted: a folder, or one of them by itself, under any name.
fn within(place: &Path, root: bool, found: &mut Vec<CString>) -> io::Result<()> {
    let meta = fs::metadata(place)?;
    if meta.is_dir() {
        carriers(place, FileType::is_char_device, found)?;
        return if root { devices(place, &terminals(), found) } else { Ok(()) };
    }
    let name = place.file_name().unwrap_or_default().as_encoded_bytes();
    let tunnel = meta.rdev() == makedev(TUNNEL.0, TUNNEL.1);
    let carrier = meta.file_type().is_char_device() && (tunnel || carries(name));
    if carrier || root && is_closed(&meta, &terminals()) {
        found.push(named(place)?);
    }
    Ok(())
}

/// Devices in a folder and below it, on the same file system, that not everybody may use: disks, memory,
/// other people's terminals.
fn devices(folder: &Path, own: &[u64], found: &mut Vec<CString>) -> io::Result<()> {
    let here = fs::metadata(folder)?.dev();
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && meta.dev() == here {
            devices(&entry.path(), own, found)?;
        }
        if is_closed(&meta, own) {
            found.push(named(entry.path())?);
        }
    }
    Ok(())
}

/// Whether it is a device that not everybody may use, and none of one's own terminals.
fn is_closed(meta: &fs::Metadata, own: &[u64]) -> bool {
    let kind = meta.file_type();
    let everybody = meta.permissions().mode() & 0o006 == 0o006;
    let mine = kind.is_char_device() && own.contains(&meta.rdev());
    (kind.is_block_device() || kind.is_char_device() && !everybody) && !mine
}

/// What a device is told by.
type IsDevice = fn(&FileType) -> bool;

/// Devices that send past every socket, whoever may open them.
fn carriers(place: &Path, is_device: IsDevice, found: &mut Vec<CString>) -> io::Result<()> {
    for folder in CARRIERS {
        all(&place.join(folder), is_device, found)?;
    }
    for entry in fs::read_dir(place)?.flatten() {
        let device = entry.file_type().is_ok_and(|kind| is_device(&kind));
        if device && carries(entry.file_name().as_encoded_bytes()) {
            found.push(named(entry.path())?);
        }
    }
    Ok(())
}

fn carries(name: &[u8]) -> bool {
    let numbered = |kind: &&[u8]| {
        let number = name.strip_prefix(*kind).unwrap_or_default();
        !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    };
    name.starts_with(VIRTUAL) || NUMBERED.iter().any(numbered)
}

/// Every device in a folder and below it, also where that is mounted by itself, as in containers.
fn all(folder: &Path, is_device: IsDevice, found: &mut Vec<CString>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // Not every machine has such a folder.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(());
        }
        entries => entries?,
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            all(&entry.path(), is_device, found)?;
        } else if is_device(&kind) {
            found.push(named(entry.path())?);
        }
    }
    Ok(())
}

/// The terminals that the command begins with.
fn terminals() -> Vec<u64> {
    let standard = [fstat(io::stdin()), fstat(io::stdout()), fstat(io::stderr())];
    standard.into_iter().flatten().map(|stat| stat.st_rdev).collect()
}

/// A path as the kernel lists it: blanks and the like as a backslash and three octal digits.
pub(super) fn unescaped(path: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use rustix::fs::{major, minor};

    use super::*;

    #[test]
    fn mounts_are_read_with_their_kinds() {
        let line = "23 27 0:22 / /a\\040b rw,relatime shared:7 master:1 - sysfs none rw";
        assert_eq!(parse(line), Some(("/a b".into(), "sysfs", makedev(0, 22))));
        assert_eq!(parse("23 27 0:22 / /sys rw"), None);
        assert_eq!(unescaped("a\\09"), b"a\\09");
    }

    #[test]
    fn a_mount_that_is_covered_is_left_out() {
        let here = fs::metadata("/proc").unwrap().dev();
        let number = format!("{}:{}", major(here), minor(here));
        let mounts = format!(
            "1 1 {number} / /proc rw - proc x rw\n2 1 9999:1 / /proc rw - sysfs x rw\n\
             3 1 {number} / /proc rw - proc x rw\n"
        );
        assert_eq!(mounted(&mounts, &["proc", "sysfs"]), [PathBuf::from("/proc")]);
        assert_eq!(mounted(&mounts, &["sysfs"]), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_command_does_not_begin_in_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("data");
        fs::create_dir(&part).unwrap();
        let hidden = |folder: &Path| Hidden::new(std::slice::from_ref(&part), folder, false);
        assert!(hidden(&part).is_err());
        assert_eq!(hidden(folder.path()).unwrap().record.len(), 1);
        assert!(hidden(&folder.path().join("data-2")).is_ok());
        let lock = part.join("lock");
        fs::create_dir(&lock).unwrap();
        for record in
            [[part.clone(), lock.clone()], [lock, part.clone()], [part.clone(), part.clone()]]
        {
            let hidden = Hidden::new(&record, folder.path(), false).unwrap();
            assert_eq!(hidden.record, [named(fs::canonicalize(&part).unwrap()).unwrap()]);
        }
    }

    #[test]
    fn devices_that_send_are_found_whoever_may_open_them() {
        let place = tempfile::tempdir().unwrap();
        // In the place of devices, which not everybody may make.
        let node = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            named(path).unwrap()
        };
        let names = ["net/tun", "infiniband/uverbs0", "vfio/devices/vfio0", "vhost-net", "tap31"];
        let mut expected = names.map(node);
        for other in ["null", "shm/tap1", "tape0", "tap"] {
            node(other);
        }
        fs::create_dir(place.path().join("tap2")).unwrap();
        let mut found = Vec::new();
        carriers(place.path(), FileType::is_file, &mut found).unwrap();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    /// Such as a volume that is given to a container as a disk, or `/dev/null` over a file that is to be hidden.
    #[test]
    fn a_device_that_is_mounted_by_itself_is_no_folder() {
        for root in [false, true] {
            let mut found = Vec::new();
            within(Path::new("/dev/null"), root, &mut found).unwrap();
            assert_eq!(found, Vec::<CString>::new());
        }
    }

    #[test]
    fn what_everybody_may_use_stays() {
        let mut found = Vec::new();
        devices(Path::new("/dev"), &[], &mut found).unwrap();
        for open in [c"/dev/null", c"/dev/urandom", c"/dev/zero"] {
            assert!(!found.contains(&open.to_owned()), "{open:?}");
        }
    }
}
