//! The journal: an append-only, group-committed record of every byte that passed.
