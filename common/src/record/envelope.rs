//! DSSE: a payload, its type, exactly one signature over both.

use crate::encoding::{base64, base64_array, base64_decode};
use crate::json::{self, FieldError, JsonError, Problem, Refusal, Value};
use crate::note::PublicKey;

/// The payload type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An envelope; whether its signature holds is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What was signed, without its type.
    pub payload: Vec<u8>,
    /// Which key is said to have signed it.
    pub key_id: String,
    /// The Ed25519 signature over the pre-authentication encoding.
    pub signature: [u8; 64],
}

/// Why bytes are no envelope of a run record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not restricted canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing, unknown or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// What is signed: the payload with its type, each behind its length (DSSE, PAE).
#[must_use]
pub fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// The envelope's one text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let signature = Value::Object(vec![
            ("keyid".into(), Value::String(self.key_id.as_str().into())),
            ("sig".into(), Value::String(base64(&self.signature).into())),
        ]);
        Value::Object(vec![
            ("payload".into(), Value::String(base64(&self.payload).into())),
            ("payloadType".into(), Value::String(PAYLOAD_TYPE.into())),
            ("signatures".into(), Value::Array(vec![signature])),
        ])
        .encode()
    }

    /// Reads an envelope from its one text.
    ///
    /// # Errors
    /// [`EnvelopeError`] for any bytes that [`Envelope::encode`] would not give.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let value = json::parse(bytes)?;
        let mut m = value.members().map_err(|problem| FieldError::new("envelope", problem))?;
        let payload = m.take("payload", |v| {
            base64_decode(v.text()?).map_err(|error| Problem::Value(error.to_string()))
        })?;
        m.take("payloadType", |v| match v.text()? {
            PAYLOAD_TYPE => Ok(()),
            _ => Err(Problem::Value(format!("only {PAYLOAD_TYPE} is known"))),
        })?;
        let (key_id, signature) = m.take("signatures", |v| match v.array()? {
            [one] => signature(one),
            _ => Err(Problem::Type("an array of exactly one signature").into()),
        })?;
        m.end()?;
        Ok(Self { payload, key_id, signature })
    }

    /// Whether `key` made the signature.
    #[must_use]
    pub fn holds_under(&self, key: &PublicKey) -> bool {
        self.key_id == super::key_id(key)
            && key.verify(&pre_authentication(&self.payload), &self.signature)
    }
}

fn signature(value: &Value) -> Result<(String, [u8; 64]), Refusal> {
    let mut m = value.members()?;
    let key_id = m.take("keyid", |v| v.text().map(str::to_owned))?;
    let signature = m.take("sig", |v| {
        base64_array::<64>(v.text()?).map_err(|error| Problem::Value(error.to_string()))
    })?;
    m.end()?;
    Ok((key_id, signature))
}
