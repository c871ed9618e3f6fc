//! Messages for the operator: their form, and which of them are told.

/// How messages for the operator look on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageForm {
    /// One line of text each.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which messages for the operator are told: these, and weightier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageLevel {
    /// What failed.
    Error,
    /// What is not as it should be.
    Warn,
    /// What happens seldom.
    #[default]
    Info,
    /// Each exchange.
    Debug,
}

impl MessageLevel {
    /// The level's name, as the configuration has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
