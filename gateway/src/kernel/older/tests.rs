//! Long looks, looks that come to nothing, and what is counted of many descriptors.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::fs::{FileType, mkdirat, mknodat};

use super::*;

/// A folder like a cgroup's whose list of processes comes only when somebody writes it.
fn slow() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("cgroup.procs");
    mknodat(CWD, &list, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    (folder, list)
}

/// However long it takes, nobody waits; and a cgroup is in both numbers or in none.
#[test]
fn a_long_look_keeps_nobody_waiting() {
    let (folder, slow) = slow();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut older = Older::begin().unwrap();
    older.count(Some(folder.path().to_owned()), false);
    older.count(None, false);
    older.hear();
    assert_eq!((older.sockets(), older.found(), older.due()), (0, 1, 1));
    // Its list comes only now.
    fs::write(&slow, format!("{}\n", std::process::id())).unwrap();
    heard(&mut older);
    assert_eq!(older.found(), 2);
    assert!(older.sockets() > 0);
    assert_eq!(older.unknown(), (0, None));
}

/// One behind others that take long is counted before they are.
#[test]
fn a_long_look_keeps_no_other_cgroup_waiting() {
    let long: Vec<_> = (1..SIDE_BY_SIDE).map(|_| slow()).collect();
    let short = cgroup("");
    let mut older = Older::begin().unwrap();
    for (folder, _) in &long {
        older.count(Some(folder.path().to_owned()), false);
    }
    older.count(Some(short.path().to_owned()), false);
    let deadline = Instant::now() + Duration::from_secs(20);
    while older.found() == 0 {
        assert!(Instant::now() < deadline, "it waits for those before it");
        std::thread::yield_now();
        older.hear();
    }
    assert_eq!((older.found(), older.due()), (1, u64::try_from(long.len()).unwrap()));
    for (_, list) in &long {
        fs::write(list, "").unwrap();
    }
    heard(&mut older);
    assert_eq!((older.found(), older.unknown()), (u64::try_from(SIDE_BY_SIDE).unwrap(), (0, None)));
}

/// Waits until nothing is due.
fn heard(older: &mut Older) {
    while older.due() > 0 {
        std::thread::yield_now();
        older.hear();
    }
}

/// A folder like a cgroup's, with these processes.
fn cgroup(processes: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cgroup.procs"), processes).unwrap();
    folder
}

/// What takes too long is in no number, and those behind it are counted all the same.
#[test]
fn what_takes_too_long_is_not_known_and_no_zero() {
    let (own, other) = (cgroup(&format!("{}\n", std::process::id())), cgroup(""));
    let mut older = Older::within(Duration::ZERO).unwrap();
    older.count(Some(own.path().to_owned()), false);
    older.count(Some(other.path().join("gone")), false);
    heard(&mut older);
    assert_eq!((older.sockets(), older.found()), (0, 1), "the one that is gone");
    let (unknown, why) = older.unknown();
    assert_eq!(unknown, 1);
    assert!(why.unwrap().contains("too long"));
}

/// One that is there and cannot be read to its end is not known either.
#[test]
fn what_cannot_be_read_is_not_known_and_no_zero() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody can read a folder as a list.
    fs::create_dir(folder.path().join("cgroup.procs")).unwrap();
    let mut older = Older::begin().unwrap();
    older.count(Some(folder.path().to_owned()), false);
    heard(&mut older);
    assert_eq!((older.sockets(), older.found(), older.unknown().0), (0, 0, 1));
    // Which one it is is told at once, and once.
    let [told] = older.uncounted().try_into().unwrap();
    assert_eq!(told.folder, folder.path().display().to_string());
    assert_eq!(Some(told.why), older.unknown().1);
    assert!(older.uncounted().is_empty());
}

/// Each socket once, however many descriptors there are, and only those with another end.
#[test]
fn sockets_are_counted_once_among_many_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let many: Vec<_> = (0..500).map(|_| near.try_clone().unwrap()).collect();
    let open: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
    let process = PathBuf::from(format!("/proc/{}", std::process::id()));
    let (mut held, mut left) = (HashSet::new(), Left::of(LIMIT));
    let all = descriptors(&process, &mut held, &mut left).unwrap();
    assert!(all >= 602, "{all}");
    let own = fs::metadata(format!("/proc/self/fd/{}", near.as_raw_fd())).unwrap().ino();
    let no_end = fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino();
    assert!(held.contains(&own) && held.contains(&no_end));
    let mut held = HashSet::from([own, no_end, u64::MAX]);
    let (read, found) = connections(&process, &mut held, &mut left).unwrap();
    assert!(read);
    assert_eq!((found, held), (1, HashSet::from([no_end, u64::MAX])));
    drop((many, open));
}

/// A file that lies too deep for the system to name it hides nothing beside it.
#[test]
fn what_has_no_name_is_no_socket() {
    let top = tempfile::tempdir().unwrap();
    let folder = |at: BorrowedFd<'_>, name: &str| {
        openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .unwrap()
    };
    let mut deep = folder(CWD, top.path().to_str().unwrap());
    let name = "a".repeat(250);
    for _ in 0..20 {
        mkdirat(&deep, name.as_str(), Mode::RWXU).unwrap();
        deep = folder(deep.as_fd(), &name);
    }
    let own = format!("/proc/self/fd/{}", deep.as_raw_fd());
    let error = fs::read_link(own).unwrap_err();
    assert!(is(&error, &[Errno::NAMETOOLONG]), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = PathBuf::from(format!("/proc/{}", std::process::id()));
    let (mut held, mut left) = (HashSet::new(), Left::of(LIMIT));
    assert!(descriptors(&process, &mut held, &mut left).unwrap() > 1);
    let own = fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino();
    assert!(held.contains(&own));
}
