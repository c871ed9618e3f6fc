use std::io::Cursor;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::execs::Noted;
use super::looking::{Asks, Looking};
use super::message::{Answer, Counted, NamesCounted, Process, Sums, Told, read, write};
use super::older::connection;
use super::programs::link;
use super::raw::flow_in;
use super::readings::Readings;
use super::unread::UNTOLD;

#[test]
fn messages_come_back_as_they_were_and_nothing_longer_is_read() {
    let connections = Sums { seen: 7, via_gateway: 7, ..Sums::default() };
    let counted = Counted { connections, ..Counted::default() };
    let mut bytes = Vec::new();
    write(&mut bytes, &Told::Answer(Answer::Counted(Box::new(counted.clone())))).unwrap();
    let told = read::<Told>(&mut Cursor::new(&bytes)).unwrap();
    assert!(matches!(told, Told::Answer(Answer::Counted(read)) if *read == counted));
    assert!(read::<Told>(&mut Cursor::new(&bytes[..bytes.len() - 1])).is_err());
    assert!(read::<Told>(&mut Cursor::new(&[0xff; 16])).is_err());
}

#[test]
fn the_sums_hold_only_if_both_do() {
    let whole = Sums {
        seen: 6,
        via_gateway: 2,
        loopback: 1,
        allowed: 1,
        bypass_passed: 2,
        events_read: 1,
        events_lost: 1,
        ..Sums::default()
    };
    assert!(whole.add_up());
    let others = [
        Sums { seen: 7, ..whole },
        Sums { events_read: 2, ..whole },
        Sums { allowed: u64::MAX, ..whole },
    ];
    for wrong in others {
        assert!(!wrong.add_up(), "{wrong:?}");
        assert!(!Counted { packets: wrong, ..Counted::default() }.holds(), "in packets");
        assert!(!Counted { connections: wrong, ..Counted::default() }.holds(), "in connections");
    }
    let names = NamesCounted { read: 1, lost: 0 };
    let counted = Counted { connections: whole, packets: whole, names, ..Counted::default() };
    assert!(counted.holds());
    let untold = Counted { names: NamesCounted::default(), ..counted };
    assert!(!untold.holds(), "who was asked is not told of");
}

#[test]
fn the_kernels_words_are_read() {
    let text = "pos:\t0\nflags:\t02\nlink_type:\tcgroup\nlink_id:\t12\nprog_tag:\tab\n\
        prog_id:\t34\ncgroup_id:\t1\nattach_type:\t10\n";
    let (id, _) = link(3, text).unwrap();
    assert_eq!(id, 12);
    assert_eq!(link(3, "pos:\t0\n"), None);
    let text = "link_type:\ttcx\nlink_id:\t13\nprog_id:\t35\nifindex:\t4\nattach_type:\t47\n";
    assert_eq!(link(3, text).unwrap().0, 13);
    let text =
        "link_type:\traw_tracepoint\nlink_id:\t14\nprog_id:\t36\ntp_name:\tsched_process_exec\n";
    let (id, link) = link(3, text).unwrap();
    assert_eq!((id, link.program, link.cgroup, link.device), (14, 36, 0, 0));
    assert!(flow_in(&[0; 87]).is_none());
}

/// No process ever becomes another program.
struct Never;

impl Noted for Never {
    fn latest(&self, _: u32) -> Option<u64> {
        Some(0)
    }
}

#[test]
fn a_process_is_known_while_it_is_there_and_by_no_other_life() {
    let own = std::process::id();
    let mut looking = Looking::begin().unwrap();
    let mut readings = Readings::new(Box::new(Never));
    let mut number = 0;
    let mut look = |process, connected| -> Option<Process> {
        for _ in 0..10 {
            number += 1;
            let asks = Asks { number, process, connected, scope: 1 };
            let mut told = looking.ask(asks, &mut readings);
            while told.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
                told = looking.told(&mut readings);
            }
            let Some(Told::Looked { number: of, process: found, unread }) = told.pop() else {
                panic!("it was looked at")
            };
            assert_eq!(of, number);
            // What does not come in time is said as well.
            if unread.iter().all(|unread| unread.what.starts_with("SHA-256")) {
                return *found;
            }
            // Where nothing at all was read in time, it is looked at again.
            let late = ["it was not read in time", UNTOLD];
            assert!(unread.iter().all(|unread| late.contains(&unread.why.as_str())), "{unread:?}");
        }
        panic!("it is never read in time")
    };
    let mut found = look(own, u64::MAX).unwrap();
    let executable = std::env::current_exe().unwrap();
    assert_eq!(found.executable.as_deref(), executable.to_str());
    assert!(found.namespace.is_some());
    assert!(found.command.unwrap().starts_with(executable.as_os_str().as_encoded_bytes()));
    // A large one is unknown until it has been read.
    while found.digest.is_none() {
        found = look(own, u64::MAX).unwrap();
    }
    let whole = Sha256::digest(std::fs::read(&executable).unwrap());
    assert_eq!(found.digest, Some(whole.into()));
    // One that connected before this one began was another.
    assert_eq!(look(own, 1), None);
    assert_eq!(look(u32::MAX, u64::MAX), None);
}

#[test]
fn only_sockets_with_another_end_are_older() {
    let line = |remote: &str| {
        format!(
            "   0: 0100007F:1F90 {remote} 01 00000000:00000000 00:00000000 00000000     0        0 4711 1"
        )
    };
    assert_eq!(connection(&line("0100007F:0050")), Some(4711));
    assert_eq!(connection(&line("00000000:0000")), None);
    assert_eq!(connection("  sl  local_address rem_address   st tx_queue rx_queue tr"), None);
}
