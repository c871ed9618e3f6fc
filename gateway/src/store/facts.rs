//! Facts: the few values of an exchange that the store looks rows up by, read from its leaf.

use sealtap_common::commit::Body;
use sealtap_common::leaf::{Exchange, Leaf};
use sealtap_common::unit::Context;

use super::commitment;
use super::error::{Outcome, StoreError};
use super::sealed::{Direction, SealedExchange, Slot};

/// What the leaf and the context say.
pub(super) struct Facts {
    /// The run's name, if it has one.
    pub(super) run_name: Option<String>,
    /// The leaf.
    pub(super) leaf: Exchange,
}

fn fault(exchange: &SealedExchange, detail: String) -> StoreError {
    StoreError::Malformed { exchange: hex(&exchange.id), detail }
}

/// The facts of one exchange, after checking that its leaf binds what stands beside it.
pub(super) fn of(exchange: &SealedExchange) -> Outcome<Facts> {
    let leaf = match Leaf::decode(&exchange.leaf) {
        Ok(Leaf::Exchange(leaf)) => *leaf,
        Ok(other) => {
            let detail = format!("its leaf is of kind {}", other.kind());
            return Err(fault(exchange, detail).into());
        }
        Err(error) => {
            return Err(fault(exchange, format!("its leaf cannot be read: {error}")).into());
        }
    };
    if leaf.exchange.0 != exchange.id
        || leaf.boot.0 != exchange.boot
        || leaf.number != exchange.number
    {
        return Err(fault(exchange, "its leaf names another id, boot or number".to_owned()).into());
    }
    for slot in Slot::ALL {
        let mut given = exchange.units.iter().filter(|unit| unit.slot == slot);
        let agrees = match (given.next(), given.next(), slot.bound_by(&leaf)) {
            (None, None, None) => true,
            (Some(unit), None, Some(bound)) => {
                bound.is(&commitment::unit(slot, unit.key, &unit.bytes))
            }
            _ => false,
        };
        if !agrees {
            let detail = format!("its leaf binds another {} than was given", slot.as_str());
            return Err(fault(exchange, detail).into());
        }
    }
    for direction in [Direction::Request, Direction::Response] {
        let given = exchange.bodies.iter().filter(|body| body.direction == direction).count();
        if given != usize::from(direction.bound_by(&leaf).is_some()) {
            let detail = format!("{given} {} bodies were given", direction.as_str());
            return Err(fault(exchange, detail).into());
        }
    }
    let context = exchange.units.iter().find(|unit| unit.slot == Slot::Context);
    let run_name = context
        .map(|unit| Context::decode(&unit.bytes))
        .transpose()
        .map_err(|error| fault(exchange, format!("its context cannot be read: {error}")))?
        .and_then(|context| context.run_name)
        // As `ls` shows it: what the client sent as UTF-8 is found by typing it.
        .map(|name| readable(&name));
    Ok(Facts { run_name, leaf })
}

impl Facts {
    /// Checks that the body made of the journal's bytes is the one that the leaf binds.
    pub(super) fn check_body(
        &self,
        exchange: &SealedExchange,
        direction: Direction,
        made: &Body,
    ) -> Outcome<()> {
        if direction.bound_by(&self.leaf) == Some(made) {
            return Ok(());
        }
        let direction = direction.as_str();
        let detail = format!("its leaf binds another {direction} body than the journal holds");
        Err(fault(exchange, detail).into())
    }
}

/// An id as it is printed: lowercase hex.
pub(super) fn hex(id: &[u8; 16]) -> String {
    sealtap_common::Id(*id).to_string()
}

/// Octets as text: UTF-8 where they are that, else each byte 0xNN as U+00NN.
pub(crate) fn readable(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}
