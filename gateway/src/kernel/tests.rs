use std::io::Cursor;

use super::hooks::connection;
use super::message::{Answer, Counted, Sums, Told, read, write};
use super::process::{Processes, started};
use super::programs::link;
use super::raw::flow_in;

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
    assert!(whole.hold());
    let others = [
        Sums { seen: 7, ..whole },
        Sums { events_read: 2, ..whole },
        Sums { allowed: u64::MAX, ..whole },
    ];
    for wrong in others {
        assert!(!wrong.hold(), "{wrong:?}");
        assert!(!Counted { packets: wrong, ..Counted::default() }.holds(), "in packets");
        assert!(!Counted { connections: wrong, ..Counted::default() }.holds(), "in connections");
    }
    assert!(Counted { connections: whole, packets: whole, ..Counted::default() }.holds());
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
    let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
    assert_eq!(started(stat), Some(4711));
    assert_eq!(started("7 (a"), None);
    assert!(flow_in(&[0; 87]).is_none());
}

#[test]
fn a_process_is_known_while_it_is_there_and_by_no_other_life() {
    let own = std::process::id();
    let mut processes = Processes::default();
    let found = processes.look(own, u64::MAX).unwrap();
    let executable = std::env::current_exe().unwrap();
    assert_eq!(found.executable.as_deref(), executable.to_str());
    assert!(found.digest.is_some() && found.namespace.is_some());
    assert!(found.command.unwrap().starts_with(executable.as_os_str().as_encoded_bytes()));
    // One that connected before this one began was another.
    assert_eq!(processes.look(own, 1), None);
    assert_eq!(processes.look(u32::MAX, u64::MAX), None);
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
