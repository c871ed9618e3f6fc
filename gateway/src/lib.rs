//! sealtap: a gateway that records the exact bytes of model and tool traffic and seals them.
//!
//! The folders are the journey of an exchange, in order. Each stage's output is a type that only
//! that stage can make, and the next stage demands it; `journey` joins them. `wire` holds what
//! `accept` and `forward` share: messages and codecs. `ARCHITECTURE.md` tells the whole story.

pub mod accept;
pub mod capture;
pub mod clock;
pub mod command;
pub mod config;
pub mod data;
pub mod descriptors;
pub mod doctor;
pub mod forward;
pub mod gateway;
pub mod identify;
pub mod journey;
pub mod kernel;
pub mod launch;
pub mod owned;
pub mod privileges;
pub mod rights;
pub mod route;
pub mod seal;
pub mod serve;
pub mod store;
pub mod tally;
pub mod wire;
