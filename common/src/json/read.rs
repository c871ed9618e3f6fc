//! Reading canonical JSON: serde_json finds the tokens, the visitor refuses what the restricted
//! form excludes, and printing the result again refuses every other spelling.

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

/// Reads a value whose canonical text is exactly `bytes`.
///
/// # Errors
/// [`JsonError`] says what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Depth(MAX_DEPTH)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| JsonError::Syntax(error.to_string()))?;
    let canonical = value.encode();
    if canonical == bytes {
        return Ok(value);
    }
    let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(JsonError::NotCanonical(same))
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
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, boolean, null, array, object or integer")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match i64::try_from(number) {
            Ok(small) if number <= MAX_INTEGER => Ok(Value::Integer(small)),
            _ => Err(E::custom("an integer over 2^53-1")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        if number.unsigned_abs() <= MAX_INTEGER {
            Ok(Value::Integer(number))
        } else {
            Err(E::custom("an integer beyond 2^53-1"))
        }
    }

    // serde_json gives every number with a point or an exponent, and -0, as a float.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("a number that is not a plain integer"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(String, Value)> = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
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
