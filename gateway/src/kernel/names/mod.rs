//! Names: what the watched asked the configured resolver for.
//!
//! In: packets that were let go because they went to the resolver, as the programs copied them. Out: with
//! each statement, how many there were and which names they asked for, by whom. What could not be
//! read, found no room or was too long is a number. The loader hands bytes on and looks at none of
//! them (`copied`); the gateway reads them (`question`), counts (`asked`) and has it sealed (`telling`).
//!
//! Never: a name decides nothing and attributes nothing, and none of them stands in a log or an error.

mod asked;
mod copied;
mod question;
mod telling;
#[cfg(test)]
mod tests;

pub use self::asked::Asked;
pub(super) use self::copied::{Copies, Queue, lost, together};
#[doc(hidden)]
pub use self::question::read_any;
pub(super) use self::telling::Telling;
pub use self::telling::Told;
