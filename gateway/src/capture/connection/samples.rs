//! Records of connections as tests have them: all of one coverage, all in its first statement.

use super::{Began, WentAround, WhoWent};

/// A connection that came, of which the kernel noted nothing.
pub(crate) fn began(id: u8) -> Began<'static> {
    Began {
        id: [id; 16],
        coverage: [9; 16],
        number: 1,
        statement: 1,
        at_us: 1,
        refused: false,
        key: [3; 32],
        client: "127.0.0.1:1".into(),
        noted: None,
    }
}

/// A packet that passed.
pub(crate) fn went_around(number: u64, who: Option<([u8; 32], WhoWent)>) -> WentAround<'static> {
    WentAround {
        coverage: [9; 16],
        number,
        statement: 1,
        count: 1,
        unit: "packet".into(),
        verdict: "passed".into(),
        way: "raw".into(),
        who,
    }
}
