//! Why a command failed, for a person: what, where, and what to do.

use std::error::Error;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::Exit;
use crate::config::ConfigError;
use crate::route::TableError;
use crate::seal::keys::KeysError;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const LABEL: Style = Style::new().bold();

/// A command's end that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    place: Option<String>,
    fix: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure, by what went wrong; exit 1 unless another is named.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, fix: None, exit: Exit::Failed }
    }

    /// A failure by an error and all that caused it.
    #[must_use]
    pub fn of(error: &dyn Error) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            // Many errors repeat their cause in their own text.
            if !what.contains(&said) {
                what = format!("{what}: {said}");
            }
            cause = error.source();
        }
        Self::new(what)
    }

    /// A result that could not be written. A reader that went away (`sealtap ls | head`) had what
    /// it wanted: exit 0 and nothing is said.
    #[must_use]
    pub fn writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(String::new()).exit_with(Exit::Done),
            _ => Self::new(format!("cannot write to standard output: {error}")),
        }
    }

    /// Where it went wrong: a path, a place in a file, an address.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Ends with `exit` instead of 1.
    #[must_use]
    pub fn exit_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What went wrong, without where and what to do.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How the process ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// All of it in one line, for a log of messages.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let mut line = self.what.trim_end().to_owned();
        for (label, text) in [("where", &self.place), ("fix", &self.fix)] {
            if let Some(text) = text {
                line.push_str(&format!("; {label}: {}", text.trim_end()));
            }
        }
        line.replace('\n', "; ")
    }

    /// Writes it as up to three labelled parts; further lines of a part are indented.
    pub fn print(&self, output: &mut dyn Write) {
        if self.what.is_empty() {
            return;
        }
        let parts = [
            ("error:", ERROR, Some(&self.what)),
            ("  where:", LABEL, self.place.as_ref()),
            ("  fix:", LABEL, self.fix.as_ref()),
        ];
        for (label, style, text) in parts {
            if let Some(text) = text {
                let text = text.trim_end().replace('\n', "\n    ");
                // Where standard error is gone there is nobody left to tell.
                let _ = writeln!(output, "{style}{label}{style:#} {text}");
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let (what, place) = match &error {
            ConfigError::Read { path, source } => {
                (format!("cannot read the config file: {source}"), path.display().to_string())
            }
            ConfigError::File { path, problems } => match problems.as_slice() {
                [problem] => (
                    problem.kind.to_string(),
                    format!("{}:{}:{}", path.display(), problem.line, problem.column),
                ),
                _ => (
                    format!("{} problems in the config file\n{error}", problems.len()),
                    path.display().to_string(),
                ),
            },
            ConfigError::Flag { flag, value, why } => (why.clone(), format!("{flag} {value}")),
        };
        Self::new(what).at(place).fix(error.fix()).exit_with(Exit::Usage)
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::new(error.to_string()).exit_with(Exit::Usage)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        Self::of(&error)
    }
}
