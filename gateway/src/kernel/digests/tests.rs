use std::fs;
use std::sync::mpsc::channel;

use super::*;

fn wanted(whose: (u64, u64), file: File) -> Result<Wanted, String> {
    Wanted::new(whose, file, &Mounts::default())
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[test]
fn the_shortest_come_first_and_one_file_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("long"), vec![1; 3 * SLICE + 5]).unwrap();
    fs::write(path("short"), b"short").unwrap();
    fs::write(path("empty"), b"").unwrap();
    std::thread::sleep(SETTLED + SETTLED / 8);
    let digesters = Digesters::new(8);
    let known = Digests::default();
    let mut taken = 0;
    for (number, name) in (0..).zip(["long", "long", "short", "empty"]) {
        let wants = wanted((7, number), File::open(path(name)).unwrap()).unwrap();
        if let Answer::First(wants) = known.ask(wants) {
            assert!(digesters.read(wants).is_ok());
            taken += 1;
        }
    }
    assert_eq!(taken, 3);
    digesters.end();
    let (told, heard) = channel();
    digesters.take(&known, |number, digest| told.send((number, digest)).is_ok());
    let heard: Vec<_> = heard.try_iter().collect();
    let long = Some(digest(&vec![1; 3 * SLICE + 5]));
    let all = [(3, Some(digest(b""))), (2, Some(digest(b"short"))), (0, long), (1, long)];
    assert_eq!(heard, all);
    let again = wanted((7, 9), File::open(path("short")).unwrap()).unwrap();
    assert!(matches!(known.ask(again), Answer::Known(known) if known == digest(b"short")));
    // As long as before, and as old.
    let old = fs::metadata(path("short")).unwrap().modified().unwrap();
    fs::write(path("short"), b"shirt").unwrap();
    File::options().write(true).open(path("short")).unwrap().set_modified(old).unwrap();
    let changed = wanted((7, 9), File::open(path("short")).unwrap()).unwrap();
    let Answer::First(changed) = known.ask(changed) else { panic!("it is another file") };
    // Who asks meanwhile shares what becomes of it.
    let other = wanted((7, 10), File::open(path("short")).unwrap()).unwrap();
    assert!(matches!(known.ask(other), Answer::Shared));
    assert_eq!(known.leave(&changed), [9, 10]);
}

/// Written to within the same tick of the clock it would look as it did.
#[test]
fn what_was_written_just_now_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("young");
    // It is written to until it is read soon enough, however slow the machine is.
    loop {
        fs::write(&path, b"young").unwrap();
        let file = || wanted((7, 1), File::open(&path).unwrap()).unwrap();
        let digesters = Digesters::new(8);
        let known = Digests::default();
        let Answer::First(wants) = known.ask(file()) else { panic!("nobody asked before") };
        assert!(digesters.read(wants).is_ok());
        digesters.end();
        let (told, heard) = channel();
        digesters.take(&known, |_, digest| told.send(digest).is_ok());
        if file().version.is_settled(SystemTime::now()) {
            continue;
        }
        assert_eq!(heard.try_recv(), Ok(Some(digest(b"young"))));
        assert!(matches!(known.ask(file()), Answer::First(_)));
        break;
    }
    let (seconds, _) = Version::of(&fs::metadata(&path).unwrap()).changed;
    let version = Version::of(&fs::metadata(&path).unwrap());
    let at = |after| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap() + after);
    assert!(!version.is_settled(at(0)) && version.is_settled(at(2)));
}

#[test]
fn what_is_too_long_or_changes_has_no_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(wanted((7, 1), File::open(&path).unwrap()).is_err());
    assert!(wanted((7, 1), File::open(folder.path()).unwrap()).is_err());
    for length in [3, 7] {
        fs::write(&path, b"12345").unwrap();
        let digesters = Digesters::new(8);
        let known = Digests::default();
        let wants = wanted((7, 1), File::open(&path).unwrap()).unwrap();
        let Answer::First(wants) = known.ask(wants) else { panic!("nobody asked before") };
        assert!(digesters.read(wants).is_ok());
        digesters.end();
        File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let (told, heard) = channel();
        digesters.take(&known, |_, digest| told.send(digest).is_ok());
        assert_eq!(heard.try_recv(), Ok(None), "{length}");
    }
}

/// One that hangs keeps what it has, and no more.
#[test]
fn one_that_hangs_keeps_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let digesters = Digesters::new(8);
    let known = Digests::default();
    for number in 0..9 {
        let path = folder.path().join(number.to_string());
        let length = usize::try_from(number).unwrap() * SLICE / 4 + 1;
        fs::write(&path, vec![7; length]).unwrap();
        let wants = wanted((7, number), File::open(path).unwrap()).unwrap();
        let Answer::First(wants) = known.ask(wants) else { panic!("nobody asked before") };
        assert!(digesters.read(wants).is_ok());
    }
    digesters.end();
    let (told, heard) = channel();
    let (let_go, hangs) = channel::<()>();
    let hangs = Mutex::new(hangs);
    std::thread::scope(|scope| {
        let tell = |number, digest: Option<[u8; 32]>| {
            if number == 0 {
                let _ = lock(&hangs).recv();
            }
            told.send((number, digest.is_some())).is_ok()
        };
        let (digesters, known) = (&digesters, &known);
        for _ in 0..2 {
            scope.spawn(move || digesters.take(known, tell));
        }
        let all: Vec<_> = heard.iter().take(8).collect();
        assert_eq!(all, (1..9).map(|number| (number, true)).collect::<Vec<_>>());
        drop(let_go);
    });
    assert_eq!(heard.try_recv(), Ok((0, true)));
}

/// Whose files never end keeps neither all threads nor all places, nor what another one asks for as well.
#[test]
fn no_scope_keeps_all_threads() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: u64| {
        let path = folder.path().join(name.to_string());
        fs::write(&path, name.to_string()).unwrap();
        File::open(path).unwrap()
    };
    let (digesters, known) = (Digesters::new(4), Digests::default());
    let ask = |scope, number, name| {
        let wants = wanted((scope, number), file(name)).unwrap();
        let Answer::First(wants) = known.ask(wants) else { panic!("nobody there asked before") };
        digesters.read(wants).map_err(|wants| known.leave(&wants)).is_ok()
    };
    let room = (0..99).filter(|number| ask(1, *number, *number)).count();
    assert_eq!(room, 99);
    let (told, heard) = channel();
    let (let_go, hangs) = channel::<()>();
    let hangs = Mutex::new(hangs);
    std::thread::scope(|scope| {
        let tell = |number, digest: Option<[u8; 32]>| {
            if number < 1000 {
                let _ = lock(&hangs).recv();
            }
            told.send((number, digest.is_some())).is_ok()
        };
        let (digesters, known) = (&digesters, &known);
        for _ in 0..4 {
            scope.spawn(move || digesters.take(known, tell));
        }
        // The same file as one that waits there.
        assert!(ask(2, 1000, 98));
        assert_eq!(heard.recv(), Ok((1000, true)));
        assert!(!(0..99).all(|number| ask(1, 200 + number, 200 + number)), "half of all places");
        assert!(ask(2, 1001, 1001));
        assert_eq!(heard.recv(), Ok((1001, true)));
        digesters.end();
        drop(let_go);
    });
    assert!(heard.try_iter().count() >= room);
}
