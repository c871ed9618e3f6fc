//! What can be wrong with a configuration, said so that it can be put right.

use std::fmt;
use std::path::PathBuf;

/// Why there is no [`super::Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something that is not understood; problems are in the order of the file.
    #[error("{}", Listing { path, problems })]
    File {
        /// The file.
        path: PathBuf,
        /// At least one problem.
        problems: Vec<Problem>,
    },
    /// A flag holds something that is not understood.
    #[error("{flag} {}: {why}", without_secrets(value))]
    Flag {
        /// The flag, dashes included.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
}

impl ConfigError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Read { .. } => {
                "check the path given to --config and who may read the file".to_owned()
            }
            Self::File { problems, .. } => problems
                .iter()
                .find_map(|problem| problem.kind.fix())
                .unwrap_or_else(|| "see gateway/sealtap.example.toml for every key".to_owned()),
            Self::Flag { .. } => "see `sealtap serve --help`".to_owned(),
        }
    }
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What it is.
    pub kind: ProblemKind,
}

/// What is wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// Not TOML.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// What the parser said.
        message: String,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The known key it resembles, with its section.
        nearest: Option<String>,
    },
    /// A key with a value of another type than it takes.
    #[error("`{key}` wants {expected}, found {found}")]
    WrongType {
        /// The key with its section.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("`{key}` = {:?}: {why}", without_secrets(value))]
    Invalid {
        /// The key with its section.
        key: String,
        /// What stands there.
        value: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// A key that must be there and is not.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The key with its section.
        key: String,
        /// Why it must be there.
        why: &'static str,
    },
}

impl ProblemKind {
    fn fix(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => {
                Some(format!("write `{nearest}`, or take the line out"))
            }
            Self::WrongType { key, expected, .. } => Some(format!("give `{key}` {expected}")),
            _ => None,
        }
    }
}

/// `value` as an error may repeat it: where a URL is not taken for its password or its query, these
/// are what must not stand in a terminal or a service's log.
fn without_secrets(value: &str) -> String {
    let (start, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), value),
    };
    let (rest, cut) = match rest.find(['?', '#']) {
        Some(query) => (rest.get(..query).unwrap_or_default(), "?..."),
        None => (rest, ""),
    };
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest.get(..authority).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{start}...{}{cut}", rest.get(at..).unwrap_or_default()),
        None => format!("{start}{rest}{cut}"),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

/// Problems one to a line, as `file:line:column: what`.
struct Listing<'a> {
    path: &'a PathBuf,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, column, kind }) in self.problems.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{}:{line}:{column}: {kind}", self.path.display())?;
        }
        Ok(())
    }
}
