//! The transparency log on disk.
