//! Canonical bytes to units.

use super::{
    Context, Field, Ingress, Interim, Octets, Received, RequestHead, RequestLine, ResponseHead,
    RunNamedBy, Shown, StatusLine, Trailers, Version,
};
use crate::encoding::base64_array;
use crate::json::{self, FieldError, JsonError, Members, Problem, Refusal, Value};

/// Why bytes are not the unit they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not restricted canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing, unknown or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Runs `read` over the members of the object that `bytes` hold.
pub(super) fn object<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Members<'_, '_>) -> Result<T, FieldError>,
) -> Result<T, UnitError> {
    let value = json::parse(bytes)?;
    let mut members = value.members().map_err(|problem| FieldError::new("unit", problem))?;
    let unit = read(&mut members)?;
    members.end()?;
    Ok(unit)
}

impl RequestHead<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let authority = m.take("authority", optional)?;
            let fields = m.take("fields", fields)?;
            let method = m.take("method", octets)?;
            let (received_line, received_fields) = m.take("received", |v| {
                let mut m = v.members()?;
                let authority = m.take("authority", optional)?;
                let own = m.take("fields", |v| received(v, fields.len()))?;
                let method = m.take("method", octets)?;
                let line = request_line(&mut m, authority, method)?;
                m.end()?;
                Ok::<_, Refusal>((line, own))
            })?;
            let line = request_line(m, authority, method)?;
            Ok(Self { line, fields, received_line, received_fields })
        })
    }
}

impl ResponseHead<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let fields = m.take("fields", fields)?;
            let reason = m.take("reason", octets)?;
            let (received_line, received_fields) = m.take("received", |v| {
                let mut m = v.members()?;
                let own = m.take("fields", |v| received(v, fields.len()))?;
                let reason = m.take("reason", octets)?;
                let line = status_line(&mut m, reason)?;
                m.end()?;
                Ok::<_, Refusal>((line, own))
            })?;
            let line = status_line(m, reason)?;
            Ok(Self { line, fields, received_line, received_fields })
        })
    }
}

impl Trailers<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let fields = m.take("fields", fields)?;
            let received_fields = m.take("received", |v| {
                let mut m = v.members()?;
                let own = m.take("fields", |v| received(v, fields.len()))?;
                m.end()?;
                Ok::<_, Refusal>(own)
            })?;
            Ok(Self { fields, received_fields })
        })
    }
}

impl Interim<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let heads = m.take("heads", |v| {
                list(v, |v| {
                    let mut m = v.members()?;
                    let fields = m.take("fields", fields)?;
                    let reason = m.take("reason", octets)?;
                    let line = status_line(&mut m, reason)?;
                    m.end()?;
                    Ok((line, fields))
                })
            })?;
            Ok(Self { heads })
        })
    }
}

impl Context<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let client = m.take("client", octets)?;
            let ingress = m.take("ingress", |v| word(v, Ingress::parse))?;
            let (run_by, run_name) = m.take("run", |v| {
                let mut m = v.members()?;
                let by = m.take("by", |v| word(v, RunNamedBy::parse))?;
                let name = m.take("name", optional)?;
                m.end()?;
                Ok::<_, Refusal>((by, name))
            })?;
            let [upstream_address, upstream_name, upstream_tls, upstream_url] =
                m.take("upstream", |v| {
                    let mut m = v.members()?;
                    let values = [
                        m.take("address", optional)?,
                        m.take("name", optional)?,
                        m.take("tls", optional)?,
                        m.take("url", optional)?,
                    ];
                    m.end()?;
                    Ok::<_, Refusal>(values)
                })?;
            Ok(Self {
                client,
                ingress,
                run_by,
                run_name,
                upstream_address,
                upstream_name,
                upstream_tls,
                upstream_url,
            })
        })
    }
}

fn request_line(
    m: &mut Members<'_, '_>,
    authority: Option<Octets<'static>>,
    method: Octets<'static>,
) -> Result<RequestLine<'static>, FieldError> {
    let scheme = m.take("scheme", optional)?;
    let target = m.take("target", |v| list(v, shown))?;
    let version = m.take("version", |v| word(v, Version::parse))?;
    Ok(RequestLine { authority, method, scheme, target, version })
}

fn status_line(
    m: &mut Members<'_, '_>,
    reason: Octets<'static>,
) -> Result<StatusLine<'static>, FieldError> {
    let status = m.take("status", |v| {
        let status = v.unsigned()?;
        let known = u16::try_from(status).ok().filter(|status| (100..1000).contains(status));
        known.ok_or_else(|| Problem::Value(format!("{status} is not a status code")))
    })?;
    let version = m.take("version", |v| word(v, Version::parse))?;
    Ok(StatusLine { reason, status, version })
}

/// Undoes isomorphic decoding.
pub(super) fn octets(value: &Value) -> Result<Octets<'static>, Problem> {
    let bytes: Result<Vec<u8>, _> = value.text()?.chars().map(u8::try_from).collect();
    bytes.map(Octets::Owned).map_err(|_| Problem::Value("holds a character above U+00FF".into()))
}

pub(super) fn optional(value: &Value) -> Result<Option<Octets<'static>>, Problem> {
    value.optional(octets)
}

fn word<T>(value: &Value, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
    let text = value.text()?;
    parse(text).ok_or_else(|| Problem::Value(format!("{text:?} is not a registered word here")))
}

/// An array, each item read by `read`; errors name the item.
pub(super) fn list<T>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let at = |(n, item): (usize, &Value)| {
        read(item).map_err(|refusal| match refusal {
            Refusal::Here(problem) => FieldError::new(format!("[{n}]"), problem),
            Refusal::Inside(error) => error.within(&format!("[{n}]")),
        })
    };
    let items: Result<Vec<T>, FieldError> = value.array()?.iter().enumerate().map(at).collect();
    Ok(items?)
}

fn shown(value: &Value) -> Result<Shown<'static>, Refusal> {
    if matches!(value, Value::String(_)) {
        return Ok(Shown::Plain(octets(value)?));
    }
    let mut m = value.members().map_err(|_| Problem::Type("a string or a secret's tag"))?;
    let tag = m.take("secret", |v| {
        base64_array(v.text()?).map_err(|error| Problem::Value(error.to_string()))
    })?;
    m.end()?;
    Ok(Shown::Secret(tag))
}

fn field(value: &Value) -> Result<Field<'static>, Refusal> {
    match value.array()? {
        [name, value] => Ok((octets(name)?, shown(value)?)),
        _ => Err(Problem::Type("a pair of name and value").into()),
    }
}

fn fields(value: &Value) -> Result<Vec<Field<'static>>, Refusal> {
    list(value, field)
}

fn received(value: &Value, outgoing: usize) -> Result<Vec<Received<'static>>, Refusal> {
    list(value, |item| {
        let Value::Integer(_) = item else { return field(item).map(Received::Own) };
        let index = u32::try_from(item.unsigned()?).ok();
        let known = index.filter(|index| usize::try_from(*index).is_ok_and(|at| at < outgoing));
        Ok(Received::Same(known.ok_or(Problem::Type("the position of an outgoing field"))?))
    })
}
