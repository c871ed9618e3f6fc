//! The commands of the `sealtap` binary.
