//! The leaf of kind `connection`: one connection that came to the listener for redirected ones, which
//! exchanges it carried, and that its maker is known or is not.
//!
//! Outside values are in the committed unit alone ([`crate::unit::Maker`]). The exchanges that came
//! over a connection name it in turn, by [`connection_tag`] in their leaves.

use sha2::{Digest as _, Sha256};

use super::decode::{extensions, id, positive, ranges, unit, version, word};
use super::encode::{EncodeError, Writer};
use super::words::{Attribution, ConnectionEnd, Kind, Side};
use super::{Extensions, Ranges, Unit};
use crate::encoding::Id;
use crate::json::{FieldError, Members, Problem, Refusal, Value};
use crate::tree::Hash;

/// The extension of an exchange's leaf that names the connection it came over.
pub const CONNECTION_EXTENSION: &str = "connection";

const LABEL: &[u8] = b"sealtap/v1/connection\0";

/// One connection, or one part of its exchanges where they are too many for one leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// How its maker was learned.
    pub attribution: Attribution,
    /// When it came, in microseconds since the Unix epoch.
    pub began: u64,
    /// The boot that took it.
    pub boot: Id,
    /// What passed through the gateway's end of it.
    pub bytes: Passed,
    /// Its own random id.
    pub connection: Id,
    /// The kernel's number of its socket; none where the kernel had noted nothing of it.
    pub cookie: Option<u64>,
    /// The coverage that it belongs to.
    pub coverage: Id,
    /// How it ended.
    pub end: ConnectionEnd,
    /// When, in microseconds since the Unix epoch.
    pub ended: u64,
    /// The numbers of the exchanges that came over it.
    pub exchanges: Ranges,
    /// Extensions.
    pub ext: Extensions,
    /// The number of the first statement of its coverage that counts it.
    pub first: u64,
    /// What the kernel counted at the gateway's end, where it said so.
    pub kernel: Option<Passed>,
    /// The number of the first statement of its coverage by which it was over.
    pub last: u64,
    /// The committed [`crate::unit::Maker`].
    pub maker: Unit,
    /// Consecutive within the coverage, from 1; those that were refused are counted by themselves.
    pub number: u64,
    /// Which part this is, from 1.
    pub part: u64,
    /// How many parts there are.
    pub parts: u64,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// Which side of the gateway it was on.
    pub side: Side,
}

/// Bytes of a connection, in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// From the client.
    pub from_client: u64,
    /// To the client.
    pub to_client: u64,
}

/// What the leaf of an exchange says of the connection it came over: a hash of the connection's id.
#[must_use]
pub fn connection_tag(connection: &Id) -> Hash {
    Sha256::new().chain_update(LABEL).chain_update(connection.0).finalize().into()
}

impl Connection {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(1024);
        w.fixed("{\"attribution\":").word(self.attribution.as_str());
        w.fixed(",\"began\":").number(self.began).fixed(",\"boot\":").id(&self.boot);
        w.fixed(",\"bytes\":");
        passed(&mut w, &self.bytes);
        w.fixed(",\"connection\":").id(&self.connection).fixed(",\"cookie\":");
        w.optional(self.cookie, |w, cookie| {
            w.word(&format!("{cookie:016x}"));
        });
        w.fixed(",\"coverage\":").id(&self.coverage).fixed(",\"end\":").word(self.end.as_str());
        w.fixed(",\"ended\":").number(self.ended).fixed(",\"exchanges\":").ranges(&self.exchanges);
        w.fixed(",\"ext\":").ext(&self.ext).fixed(",\"first\":").number(self.first);
        w.fixed(",\"kernel\":").optional(self.kernel.as_ref(), passed);
        w.fixed(",\"kind\":").word(Kind::Connection.as_str());
        w.fixed(",\"last\":").number(self.last).fixed(",\"maker\":").unit(&self.maker);
        w.fixed(",\"number\":").number(self.number).fixed(",\"part\":").number(self.part);
        w.fixed(",\"parts\":").number(self.parts).fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"side\":").word(self.side.as_str()).fixed(",\"v\":1}");
        w.finish()
    }

    pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Self, FieldError> {
        let attribution = m.take("attribution", |v| word(v, Attribution::parse))?;
        let began = m.take("began", Value::unsigned)?;
        let boot = m.take("boot", id)?;
        let bytes = m.take("bytes", read_passed)?;
        let connection = m.take("connection", id)?;
        // Written again it gives the same sixteen digits, or the leaf is not canonical.
        let cookie = m.take("cookie", |v| {
            v.optional(|v| {
                u64::from_str_radix(v.text()?, 16)
                    .map_err(|_| Problem::Value("is no hexadecimal number".into()))
            })
        })?;
        let coverage = m.take("coverage", id)?;
        let end = m.take("end", |v| match word(v, ConnectionEnd::parse)? {
            end if cookie.is_none() && end != ConnectionEnd::Refused => Err(Problem::Value(
                "was not refused, though the kernel had noted nothing of it".into(),
            )),
            end => Ok(end),
        })?;
        let ended = m.take("ended", Value::unsigned)?;
        let exchanges = m.take("exchanges", |v| ranges(v, u64::MAX))?;
        let ext = m.take("ext", extensions)?;
        let first = m.take("first", positive)?;
        let kernel = m.take("kernel", |v| v.optional(read_passed))?;
        m.take("kind", Value::text)?;
        let last = m.take("last", |v| match positive(v)? {
            last if last < first => Err(Problem::Value("is before its first statement".into())),
            last => Ok(last),
        })?;
        let maker = m.take("maker", unit)?;
        let number = m.take("number", positive)?;
        let part = m.take("part", positive)?;
        let parts = m.take("parts", |v| match positive(v)? {
            parts if parts < part => Err(Problem::Value("is below its part".into())),
            parts => Ok(parts),
        })?;
        let sealed = m.take("sealed", Value::unsigned)?;
        let side = m.take("side", |v| word(v, Side::parse))?;
        version(m)?;
        if end == ConnectionEnd::Refused && !exchanges.is_empty() {
            let problem = Problem::Value("are there, though the connection was refused".into());
            return Err(FieldError::new("exchanges", problem));
        }
        Ok(Self {
            attribution,
            began,
            boot,
            bytes,
            connection,
            cookie,
            coverage,
            end,
            ended,
            exchanges,
            ext,
            first,
            kernel,
            last,
            maker,
            number,
            part,
            parts,
            sealed,
            side,
        })
    }
}

fn passed(w: &mut Writer, passed: &Passed) {
    w.fixed("{\"from_client\":").number(passed.from_client);
    w.fixed(",\"to_client\":").number(passed.to_client).fixed("}");
}

fn read_passed(value: &Value) -> Result<Passed, Refusal> {
    let mut m = value.members()?;
    let from_client = m.take("from_client", Value::unsigned)?;
    let to_client = m.take("to_client", Value::unsigned)?;
    m.end()?;
    Ok(Passed { from_client, to_client })
}
