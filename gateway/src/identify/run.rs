//! The name of a run, and how it was given.

use std::fmt;

use super::IdentifyError;
use crate::route::shown;

/// How a run was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The first path elements, `/run/ID`.
    Path,
    /// The header `sealtap-run`.
    Header,
    /// The trace id of `traceparent`.
    Traceparent,
    /// Not at all: the connection is the run.
    Connection,
}

impl By {
    /// As it is written in a record's context.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Header => "header",
            Self::Traceparent => "traceparent",
            Self::Connection => "connection",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What names a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunName {
    /// How it was given.
    pub by: By,
    /// The name; `None` exactly when the connection is the run.
    pub name: Option<String>,
}

/// `bytes` as a run's name given by `by`.
pub(super) fn name(bytes: &[u8], by: By) -> Result<String, IdentifyError> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~-".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(name) if (1..=128).contains(&bytes.len()) && bytes.iter().all(plain) => {
            Ok(name.to_owned())
        }
        _ => Err(IdentifyError::Name { by, found: shown(bytes) }),
    }
}
