//! Trust policies (C2SP tlog-policy): which logs and witnesses are known, and which cosignatures make
//! a quorum.
//!
//! In: the bytes of a policy file. Out: a [`Policy`], or the line that is wrong. It is the caller's
//! trust: nothing here looks at what is verified. Names are opaque bytes, as the specification says.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::note::{KeyError, PublicKey, WitnessKey};

/// Lines that define something, at most: far above what the specification asks of a reader.
const DEFINITIONS: usize = 1_024;

/// A trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The keys of the logs that are accepted.
    pub logs: Vec<PublicKey>,
    /// Every witness that is known.
    pub witnesses: Vec<Witness>,
    quorum: Rule,
}

/// A witness that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its key.
    pub key: WitnessKey,
    /// Where it takes checkpoints (the submission prefix of C2SP tlog-witness), if the file says.
    pub url: Option<String>,
}

/// What counts as witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Anything.
    None,
    /// A cosignature by the witness at this place in the list.
    Witness(usize),
    /// At least so many of the members.
    Group(usize, Vec<Self>),
}

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// The line, from 1; the last one when something is missing.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PolicyProblem,
}

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// A control character other than tab and newline, or no newline at the end.
    #[error("a policy is lines of text, each ended by a newline, without other control characters")]
    Text,
    /// The line does not begin with a word that is known, or has too few or too many items.
    #[error(
        "want `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K MEMBER...` or `quorum NAME`"
    )]
    Shape,
    /// A key is not usable.
    #[error("the key of {0}: {1}")]
    Key(&'static str, KeyError),
    /// The same key twice.
    #[error("this {0}'s key was given before")]
    Twice(&'static str),
    /// A name that is defined already, or is `none`.
    #[error("the name {0} is taken")]
    Taken(String),
    /// A name that no line before defines.
    #[error("no line before this one defines {0}")]
    Unknown(String),
    /// A name that is a member already.
    #[error("{0} is a member of a group already: a witness counts in one way only")]
    Member(String),
    /// A threshold that is not between 1 and the number of members.
    #[error("the threshold is not between 1 and the number of members")]
    Threshold,
    /// Not exactly one `quorum` line.
    #[error("a policy has exactly one `quorum` line")]
    Quorum,
    /// More definitions than any policy needs.
    #[error("a policy has at most {DEFINITIONS} definitions")]
    TooLong,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut reading = Reading::default();
        let mut last = 0;
        let Some(body) = bytes.strip_suffix(b"\n") else {
            let line = bytes.split(|byte| *byte == b'\n').count();
            return Err(PolicyError { line, problem: PolicyProblem::Text });
        };
        for (line, text) in (1..).zip(body.split(|byte| *byte == b'\n')) {
            reading.line(text).map_err(|problem| PolicyError { line, problem })?;
            last = line;
        }
        let missing = PolicyError { line: last, problem: PolicyProblem::Quorum };
        let quorum = reading.quorum.ok_or(missing)?;
        Ok(Self { logs: reading.logs, witnesses: reading.witnesses, quorum })
    }

    /// Whether any cosignature is asked for.
    #[must_use]
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum != Rule::None
    }

    /// Whether these witnesses, told by their keys, make the quorum.
    #[must_use]
    pub fn quorum_of(&self, cosigned: impl Fn(&WitnessKey) -> bool) -> bool {
        let there: Vec<bool> = self.witnesses.iter().map(|found| cosigned(&found.key)).collect();
        self.quorum.holds(&there)
    }
}

impl Rule {
    fn holds(&self, there: &[bool]) -> bool {
        match self {
            Self::None => true,
            Self::Witness(place) => there.get(*place).copied().unwrap_or_default(),
            Self::Group(needed, members) => {
                members.iter().filter(|member| member.holds(there)).count() >= *needed
            }
        }
    }
}

/// What the lines so far have said.
#[derive(Default)]
struct Reading {
    logs: Vec<PublicKey>,
    witnesses: Vec<Witness>,
    /// What each name stands for, and whether a group has it.
    names: BTreeMap<Vec<u8>, (Rule, bool)>,
    quorum: Option<Rule>,
    definitions: usize,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        if line.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f) {
            return Err(PolicyProblem::Text);
        }
        let mut words =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { return Ok(()) };
        if first.starts_with(b"#") {
            return Ok(());
        }
        self.definitions += 1;
        if self.definitions > DEFINITIONS {
            return Err(PolicyProblem::TooLong);
        }
        let rest: Vec<&[u8]> = words.collect();
        match (first, rest.as_slice()) {
            (b"log", [vkey]) | (b"log", [vkey, _]) => self.log(vkey),
            (b"witness", [name, vkey]) => self.witness(name, vkey, None),
            (b"witness", [name, vkey, url]) => self.witness(name, vkey, Some(url)),
            (b"group", [name, threshold, members @ ..]) => self.group(name, threshold, members),
            (b"quorum", [name]) => self.quorum(name),
            _ => Err(PolicyProblem::Shape),
        }
    }

    fn log(&mut self, vkey: &[u8]) -> Result<(), PolicyProblem> {
        let key = text(vkey).and_then(|vkey| PublicKey::parse(&vkey));
        let key = key.map_err(|error| PolicyProblem::Key("a log", error))?;
        if self.logs.iter().any(|known| known.bytes() == key.bytes()) {
            return Err(PolicyProblem::Twice("log"));
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(
        &mut self,
        name: &[u8],
        vkey: &[u8],
        url: Option<&[u8]>,
    ) -> Result<(), PolicyProblem> {
        let key = text(vkey).and_then(|vkey| WitnessKey::parse(&vkey));
        let key = key.map_err(|error| PolicyProblem::Key("a witness", error))?;
        if self.witnesses.iter().any(|known| known.key.bytes() == key.bytes()) {
            return Err(PolicyProblem::Twice("witness"));
        }
        let url = url.map(|url| String::from_utf8_lossy(url).into_owned());
        self.define(name, Rule::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { key, url });
        Ok(())
    }

    fn group(
        &mut self,
        name: &[u8],
        threshold: &[u8],
        members: &[&[u8]],
    ) -> Result<(), PolicyProblem> {
        let needed = match threshold {
            b"all" => Some(members.len()),
            b"any" => Some(1),
            number => decimal(number),
        };
        let needed = needed.filter(|needed| (1..=members.len()).contains(needed));
        let needed = needed.ok_or(PolicyProblem::Threshold)?;
        let mut rules = Vec::with_capacity(members.len());
        for member in members {
            let Some((rule, used)) = self.names.get_mut(*member) else {
                return Err(PolicyProblem::Unknown(shown(member)));
            };
            if std::mem::replace(used, true) {
                return Err(PolicyProblem::Member(shown(member)));
            }
            rules.push(rule.clone());
        }
        self.define(name, Rule::Group(needed, rules))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyProblem> {
        if self.quorum.is_some() {
            return Err(PolicyProblem::Quorum);
        }
        let rule = match self.names.get(name) {
            Some((rule, _)) => rule.clone(),
            None if name == b"none" => Rule::None,
            None => return Err(PolicyProblem::Unknown(shown(name))),
        };
        self.quorum = Some(rule);
        Ok(())
    }

    fn define(&mut self, name: &[u8], rule: Rule) -> Result<(), PolicyProblem> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(PolicyProblem::Taken(shown(name)));
        }
        self.names.insert(name.to_vec(), (rule, false));
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<String, KeyError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| KeyError::Shape)
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// A decimal number without leading zeros or signs.
fn decimal(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let number: usize = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
