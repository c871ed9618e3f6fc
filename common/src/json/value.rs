//! A value of restricted JSON, and typed access to its members with errors that say where.

use std::borrow::Cow;

use super::{write_integer, write_string};

/// A value. An object's members ascend by name, without duplicates, when it came from
/// [`super::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of at most 53 bits.
    Integer(i64),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// What is wrong with a member, and which one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FieldError {
    /// The member's path, such as `request.body.length`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// No such member belongs here.
    #[error("no such member in this version of the format")]
    Unknown,
    /// Another type belongs here.
    #[error("not {0}")]
    Type(&'static str),
    /// The type is right, the value is not.
    #[error("{0}")]
    Value(String),
}

impl FieldError {
    /// An error at one member.
    pub fn new(path: impl Into<String>, problem: Problem) -> Self {
        Self { path: path.into(), problem }
    }

    /// The same error seen from one object further out.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.path = if self.path.starts_with('[') {
            format!("{outer}{}", self.path)
        } else {
            format!("{outer}.{}", self.path)
        };
        self
    }
}

impl<'a> Value<'a> {
    /// The value's text, canonical when its objects are in order.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(number) => write_integer(out, *number),
            Self::String(text) => write_string(out, text),
            Self::Array(items) => {
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_string(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// The members of an object, to be taken one by one.
    ///
    /// # Errors
    /// A [`Problem`] when this is no object.
    pub fn members(&self) -> Result<Members<'_, 'a>, Problem> {
        match self {
            Self::Object(members) => Ok(Members { members, taken: 0 }),
            _ => Err(Problem::Type("an object")),
        }
    }

    /// The items of an array.
    ///
    /// # Errors
    /// A [`Problem`] when this is no array.
    pub fn array(&self) -> Result<&[Value<'a>], Problem> {
        match self {
            Self::Array(items) => Ok(items),
            _ => Err(Problem::Type("an array")),
        }
    }

    /// The text of a string.
    ///
    /// # Errors
    /// A [`Problem`] when this is no string.
    pub fn text(&self) -> Result<&str, Problem> {
        match self {
            Self::String(text) => Ok(text),
            _ => Err(Problem::Type("a string")),
        }
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// A [`Problem`] when this is none.
    pub fn unsigned(&self) -> Result<u64, Problem> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
        .ok_or(Problem::Type("a non-negative integer"))
    }

    /// A boolean.
    ///
    /// # Errors
    /// A [`Problem`] when this is none.
    pub const fn flag(&self) -> Result<bool, Problem> {
        match self {
            Self::Bool(flag) => Ok(*flag),
            _ => Err(Problem::Type("true or false")),
        }
    }

    /// `None` for null, else what `read` makes of the value.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn optional<T, E>(&self, read: impl FnOnce(&Self) -> Result<T, E>) -> Result<Option<T>, E> {
        if *self == Self::Null { Ok(None) } else { read(self).map(Some) }
    }
}

/// An object's members, taken strictly in order: since the text is canonical, the known names come
/// in ascending order and whatever lies between them is unknown.
#[derive(Debug)]
pub struct Members<'v, 'a> {
    members: &'v [(Cow<'a, str>, Value<'a>)],
    taken: usize,
}

impl<'v, 'a> Members<'v, 'a> {
    /// Takes the next member, which must have this name, and reads it.
    ///
    /// # Errors
    /// [`FieldError`] when the member is missing, when one unknown to the format comes before it,
    /// or when `read` refuses it.
    pub fn take<T, E: Into<Refusal>>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'v Value<'a>) -> Result<T, E>,
    ) -> Result<T, FieldError> {
        match self.members.get(self.taken) {
            Some((found, value)) if found == name => {
                self.taken += 1;
                read(value).map_err(|refusal| match refusal.into() {
                    Refusal::Here(problem) => FieldError::new(name, problem),
                    Refusal::Inside(error) => error.within(name),
                })
            }
            Some((found, _)) if found.as_ref() < name => {
                Err(FieldError::new(found.as_ref(), Problem::Unknown))
            }
            _ => Err(FieldError::new(name, Problem::Missing)),
        }
    }

    /// Looks at a member wherever it is, without taking it.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<&'v Value<'a>> {
        let at = self.members.binary_search_by(|(found, _)| found.as_ref().cmp(name)).ok()?;
        self.members.get(at).map(|(_, value)| value)
    }

    /// All members with their names, for objects whose names are not fixed.
    #[must_use]
    pub const fn all(&self) -> &'v [(Cow<'a, str>, Value<'a>)] {
        self.members
    }

    /// Ends the object.
    ///
    /// # Errors
    /// [`FieldError`] when a member is left that the format does not know.
    pub fn end(self) -> Result<(), FieldError> {
        match self.members.get(self.taken) {
            Some((found, _)) => Err(FieldError::new(found.as_ref(), Problem::Unknown)),
            None => Ok(()),
        }
    }
}

/// A refused member: the member itself, or something inside it.
#[derive(Debug)]
pub enum Refusal {
    /// The member itself.
    Here(Problem),
    /// Something inside it.
    Inside(FieldError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Here(problem)
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::Inside(error)
    }
}
