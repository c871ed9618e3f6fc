//! Capture: every byte of an exchange into the journal, under its number.

pub mod journal;
