//! Who could have forged a record: what run records say of the gateway's keys.

use sealtap_common::leaf::{Isolation, IsolationBasis, IsolationLevel};

use crate::config::{Apps, Config};

/// What run records say of the gateway's keys: the worst, unless the operator says otherwise.
pub(super) fn isolation(config: &Config, launched: bool) -> Isolation {
    let (basis, level) = match config.runs.apps {
        // Whatever was declared: this process starts the app, and changes no user for it.
        _ if launched => (IsolationBasis::Launched, IsolationLevel::SameUser),
        None => (IsolationBasis::Assumed, IsolationLevel::SameUser),
        Some(Apps::SameUser) => (IsolationBasis::Declared, IsolationLevel::SameUser),
        Some(Apps::OtherUser) => (IsolationBasis::Declared, IsolationLevel::OtherUser),
    };
    Isolation { basis, level }
}
