//! What the journal keeps of connections.

use super::*;
use crate::capture::connection::{Learned, Over, samples};
use crate::capture::journal::Extent;
use crate::capture::record::kind;
use crate::kernel::Process;

fn wanted(pins: &Pins, boot: u8, kind: u8, number: u64, payload: &[u8]) -> bool {
    let at = Extent { file: 1, offset: 0, length: 1 };
    let record = RecordRef { kind, number, payload, at };
    pins.needed().wants(&[boot; 16], &record)
}

fn began(id: u8) -> Vec<u8> {
    postcard::to_stdvec(&samples::began(id)).unwrap()
}

#[test]
fn one_long_connection_keeps_its_own_records_alone() {
    let pins = Pins::default();
    pins.hold(Held::Connection([1; 16], [2; 16]), 1);
    pins.hold(Held::Exchange(([1; 16], 7)), 1);
    let over = Over { id: [2; 16], statement: 3, at_us: 4, passed: (0, 0), kernel: None };
    let process = Process {
        started: 1,
        executable: None,
        digest: None,
        cgroup: None,
        namespace: None,
        command: None,
    };
    let process = std::borrow::Cow::Owned(process);
    let learned = Learned { id: [2; 16], process };
    for (kind, payload) in [
        (kind::CONNECTION_BEGAN, began(2)),
        (kind::CONNECTION_LEARNED, postcard::to_stdvec(&learned).unwrap()),
        (kind::CONNECTION_OVER, postcard::to_stdvec(&over).unwrap()),
    ] {
        assert!(wanted(&pins, 1, kind, 0, &payload), "{kind}");
        assert!(!wanted(&pins, 3, kind, 0, &payload), "{kind} of another boot");
    }
    assert!(!wanted(&pins, 1, kind::CONNECTION_BEGAN, 0, &began(4)), "another connection");
    for kind in [kind::COVERAGE, kind::WENT_AROUND, kind::RUN_ENDED] {
        assert!(!wanted(&pins, 1, kind, 0, &[2; 64]), "{kind}: a note of the boot");
    }
    assert!(wanted(&pins, 1, kind::OPENED, 7, &[]) && !wanted(&pins, 1, kind::OPENED, 8, &[]));
    pins.release(Held::Connection([1; 16], [2; 16]));
    assert!(!wanted(&pins, 1, kind::CONNECTION_BEGAN, 0, &began(2)));
}

#[test]
fn ways_around_and_names_are_kept_until_they_are_stored() {
    let around = |number| postcard::to_stdvec(&samples::went_around(number, None)).unwrap();
    let pins = Pins::default();
    pins.reading(5, 0);
    pins.hold(Held::Aside(kind::WENT_AROUND, [9; 16], 300), 2);
    assert_eq!(pins.lowest(), 2);
    assert!(wanted(&pins, 1, kind::WENT_AROUND, 0, &around(300)));
    assert!(!wanted(&pins, 1, kind::WENT_AROUND, 0, &around(301)), "another one");
    assert!(!wanted(&pins, 1, kind::NAMES_ASKED, 0, &around(300)), "another kind");
    pins.release(Held::Aside(kind::WENT_AROUND, [9; 16], 300));
    assert!(!wanted(&pins, 1, kind::WENT_AROUND, 0, &around(300)));
    assert_eq!(pins.lowest(), 5);
}
