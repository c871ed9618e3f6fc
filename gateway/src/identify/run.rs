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
    /// The launch of the command for which the gateway runs.
    Launch,
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
            Self::Launch => "launch",
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

/// The one run of a gateway that runs for one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its id, random as every run's.
    pub id: [u8; 16],
    name: String,
    apart: bool,
}

impl Launch {
    /// The run `id` called `name`.
    ///
    /// # Errors
    /// The name cannot be a run's.
    pub fn new(id: [u8; 16], text: &str) -> Result<Self, IdentifyError> {
        Ok(Self { id, name: name(text.as_bytes(), By::Launch)?, apart: false })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, of a command that runs as another user than the gateway, who cannot read its files.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Whether the command cannot read the gateway's files.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// As each of its exchanges is recorded.
    #[must_use]
    pub fn run(&self) -> RunName {
        RunName { by: By::Launch, name: Some(self.name.clone()) }
    }
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
