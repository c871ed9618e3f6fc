//! How a command ends, as scripts see it.

use std::process::ExitCode;

/// The exit codes of every command; `sealtap --help` prints this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; of `verify`: valid under a key that was given.
    Done,
    /// 1: failed; of `verify`: not valid.
    Failed,
    /// 2: of `verify`: could not be decided.
    Undecided,
    /// 64: the command line or the config was not understood (`EX_USAGE` of sysexits.h); 2 would
    /// look like a verdict.
    Usage,
    /// Of `run`: the exit code of the command it ran; 125 where the gateway failed, 126 where the
    /// command cannot be run, 127 where there is none, as `env` and `timeout` have it.
    Command(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Undecided => 2,
            Self::Usage => 64,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
