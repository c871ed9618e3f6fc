//! Who could have forged a record: what run records say of the gateway's keys.

use sealtap_common::leaf::{Isolation, IsolationBasis, IsolationLevel};

use crate::config::{Apps, Config};
use crate::identify::Launch;

/// What run records say of the gateway's keys: the worst, unless the operator says otherwise.
pub(super) fn isolation(config: &Config, launch: Option<&Launch>) -> Isolation {
    // Whatever was declared: this process starts the app, and knows as whom.
    if let Some(launch) = launch {
        let level =
            if launch.is_apart() { IsolationLevel::OtherUser } else { IsolationLevel::SameUser };
        return Isolation { basis: IsolationBasis::Launched, level };
    }
    let (basis, level) = match config.runs.apps {
        None => (IsolationBasis::Assumed, IsolationLevel::SameUser),
        Some(Apps::SameUser) => (IsolationBasis::Declared, IsolationLevel::SameUser),
        Some(Apps::OtherUser) => (IsolationBasis::Declared, IsolationLevel::OtherUser),
    };
    Isolation { basis, level }
}
