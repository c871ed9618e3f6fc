//! Reading canonical JSON: serde_json finds the tokens, the visitor refuses what the restricted
//! form excludes, and printing the result again refuses every other spelling.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{MAX_DEPTH, MAX_INTEGER, Value};

/// Why bytes are not restricted canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or JSON outside the restricted form; says what and where.
    #[error("not restricted JSON: {0}")]
    Syntax(String),
    /// Readable, but not the one canonical text of its value.
    #[error("not canonical: the text differs from the canonical one from byte {0} on")]
    NotCanonical(usize),
}

/// Reads a value whose canonical text is exactly `bytes`. Strings without escapes stay where they
/// are in `bytes`.
///
/// # Errors
/// [`JsonError`] says what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, JsonError> {
    let value = read(bytes)?;
    same(&value.encode(), bytes)?;
    Ok(value)
}

/// Reads a value of the restricted form. Its members are in order, but other spellings of a string
/// pass: the caller prints what it made of the value and holds it against the bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<Value<'_>, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Depth(MAX_DEPTH)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| JsonError::Syntax(error.to_string()))
}

/// Holds the bytes that were read against the canonical ones.
pub(crate) fn same(canonical: &[u8], bytes: &[u8]) -> Result<(), JsonError> {
    if canonical == bytes {
        return Ok(());
    }
    let alike = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(JsonError::NotCanonical(alike))
}

/// How many more levels may open.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, boolean, null, array, object or integer")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value<'de>, E> {
        match i64::try_from(number) {
            Ok(small) if number <= MAX_INTEGER => Ok(Value::Integer(small)),
            _ => Err(E::custom("an integer over 2^53-1")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value<'de>, E> {
        if number.unsigned_abs() <= MAX_INTEGER {
            Ok(Value::Integer(number))
        } else {
            Err(E::custom("an integer beyond 2^53-1"))
        }
    }

    // serde_json gives every number with a point or an exponent, and -0, as a float.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value<'de>, E> {
        Err(E::custom("a number that is not a plain integer"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            if !name.is_ascii() {
                return Err(A::Error::custom("a member name that is not ASCII"));
            }
            // Canonical order ascends strictly, so a duplicate never gets past this either.
            if members.last().is_some_and(|(last, _)| *last >= name) {
                return Err(A::Error::custom(format!("member {name:?} is out of order or double")));
            }
            members.push((name, entries.next_value_seed(inner)?));
        }
        Ok(Value::Object(members))
    }
}

/// A member's name, left where it is when it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
