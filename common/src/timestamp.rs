//! Timestamp tokens (RFC 3161): the request for one, and what a reply says.
//!
//! In: the bytes that are to be dated, a nonce; or the DER of a reply. Out: the request's DER; or the
//! reply's [`Token`], whose imprint the caller holds against the bytes. The authority's own signature
//! is **not** checked here: that takes its certificates, and `openssl ts -verify` does it.

use der::asn1::AnyRef;
use der::{Reader as _, SliceReader, Tag, Tagged as _};
use sha2::{Digest as _, Sha256};

use crate::tree::Hash;

/// The media type of a request.
pub const QUERY_TYPE: &str = "application/timestamp-query";

/// The media type of a reply.
pub const REPLY_TYPE: &str = "application/timestamp-reply";

/// Bytes of a reply, at most: a token with its certificates has a few thousand.
pub const REPLY_LENGTH: u64 = 256 << 10;

/// The request up to the imprint: version 1, and SHA-256 as the algorithm (RFC 3161, section 2.4.1).
const BEFORE_HASH: [u8; 24] = [
    0x30, 0x43, 0x02, 0x01, 0x01, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
    0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
];

/// `id-sha256`, 2.16.840.1.101.3.4.2.1.
const SHA_256: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// `id-signedData`, 1.2.840.113549.1.7.2.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// `id-ct-TSTInfo`, 1.2.840.113549.1.9.16.1.4.
const TST_INFO: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

/// What a granted reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The SHA-256 of what was dated.
    pub imprint: Hash,
    /// The time, as the token has it: `YYYYMMDDHHMMSS[.f]Z`.
    pub time: String,
    /// The nonce of the request, as its DER integer has it.
    pub nonce: Option<Vec<u8>>,
}

/// Why a reply is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not DER, or not the structure of RFC 3161.
    #[error("not a timestamp reply: {0}")]
    Shape(&'static str),
    /// The authority refused.
    #[error("the timestamp authority refused (status {status}){}", said(text))]
    Refused {
        /// PKIStatus, from 2 on.
        status: u8,
        /// What the authority says about it, if anything.
        text: String,
    },
    /// The imprint is not a SHA-256.
    #[error("the token's imprint is not a SHA-256")]
    Algorithm,
    /// The token dates other bytes.
    #[error("the token is not of these bytes")]
    Imprint,
    /// The token answers another request.
    #[error("the token answers another request: its nonce differs")]
    Nonce,
}

/// The DER of a request to date `bytes`, with the authority's certificate in the reply. Of the nonce
/// 63 bits are used.
#[must_use]
pub fn query(bytes: &[u8], nonce: [u8; 8]) -> Vec<u8> {
    let hash: Hash = Sha256::digest(bytes).into();
    [&BEFORE_HASH[..], &hash, &[0x02, 0x08], &integer(nonce), &[0x01, 0x01, 0xff]].concat()
}

/// A positive integer of exactly eight bytes, as DER wants it.
fn integer([first, rest @ ..]: [u8; 8]) -> [u8; 8] {
    let mut out = [0; 8];
    if let Some((head, tail)) = out.split_first_mut() {
        *head = first & 0x3f | 0x40;
        tail.copy_from_slice(&rest);
    }
    out
}

impl Token {
    /// Reads the DER of a reply.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(reply: &[u8]) -> Result<Self, TokenError> {
        let shape = TokenError::Shape;
        let [reply] = children::<1>(reply, "one sequence")?;
        let mut parts = items(expect(reply, Tag::Sequence)?)?.into_iter();
        let status = parts.next().ok_or(shape("no status"))?;
        granted(expect(status, Tag::Sequence)?)?;
        let token = parts.next().ok_or(shape("granted, but without a token"))?;
        let [kind, content] = children(expect(token, Tag::Sequence)?, "the token")?;
        if kind.value() != SIGNED_DATA {
            return Err(shape("the token is not signed data"));
        }
        let [signed] = children(content.value(), "the signed data")?;
        let parts = items(expect(signed, Tag::Sequence)?)?;
        let encapsulated = *parts.get(2).ok_or(shape("no content"))?;
        let [kind, content] = children(expect(encapsulated, Tag::Sequence)?, "the content")?;
        if kind.value() != TST_INFO {
            return Err(shape("the content is no timestamp"));
        }
        let [octets] = children(content.value(), "the content's octets")?;
        let [info] = children(expect(octets, Tag::OctetString)?, "one timestamp")?;
        Self::info(&items(expect(info, Tag::Sequence)?)?)
    }

    /// TSTInfo: version, policy, imprint, serial number, time, and what is optional.
    fn info(parts: &[AnyRef<'_>]) -> Result<Self, TokenError> {
        let shape = TokenError::Shape;
        let [_, _, imprint, _, time, rest @ ..] = parts else {
            return Err(shape("the timestamp is too short"));
        };
        let [algorithm, hash] = children(expect(*imprint, Tag::Sequence)?, "the imprint")?;
        let algorithm = items(expect(algorithm, Tag::Sequence)?)?;
        if algorithm.first().is_none_or(|kind| kind.value() != SHA_256) {
            return Err(TokenError::Algorithm);
        }
        let imprint = expect(hash, Tag::OctetString)?.try_into();
        let imprint = imprint.map_err(|_| TokenError::Algorithm)?;
        let time = std::str::from_utf8(expect(*time, Tag::GeneralizedTime)?);
        let time = time.map_err(|_| shape("the time is not text"))?.to_owned();
        let nonce = rest.iter().find(|part| part.tag() == Tag::Integer);
        Ok(Self { imprint, time, nonce: nonce.map(|nonce| nonce.value().to_vec()) })
    }

    /// Checks that this token dates `bytes`.
    ///
    /// # Errors
    /// [`TokenError::Imprint`].
    pub fn dates(&self, bytes: &[u8]) -> Result<(), TokenError> {
        let hash: Hash = Sha256::digest(bytes).into();
        if hash == self.imprint { Ok(()) } else { Err(TokenError::Imprint) }
    }

    /// Checks that this token answers the [`query`] with this nonce.
    ///
    /// # Errors
    /// [`TokenError::Nonce`].
    pub fn answers(&self, nonce: [u8; 8]) -> Result<(), TokenError> {
        match &self.nonce {
            Some(found) if *found == integer(nonce) => Ok(()),
            _ => Err(TokenError::Nonce),
        }
    }
}

/// PKIStatusInfo: granted, with or without modifications.
fn granted(info: &[u8]) -> Result<(), TokenError> {
    let parts = items(info)?;
    let status = parts.first().copied().ok_or(TokenError::Shape("no status"))?;
    match expect(status, Tag::Integer)? {
        [0 | 1] => Ok(()),
        [status] => {
            let texts = parts.get(1).filter(|part| part.tag() == Tag::Sequence);
            let texts = texts.and_then(|texts| items(texts.value()).ok()).unwrap_or_default();
            let text: Vec<_> =
                texts.iter().map(|text| String::from_utf8_lossy(text.value())).collect();
            Err(TokenError::Refused { status: *status, text: text.join("; ") })
        }
        _ => Err(TokenError::Shape("the status is no small number")),
    }
}

fn expect(item: AnyRef<'_>, tag: Tag) -> Result<&[u8], TokenError> {
    if item.tag() == tag {
        Ok(item.value())
    } else {
        Err(TokenError::Shape("another type where RFC 3161 has one of its own"))
    }
}

fn items(bytes: &[u8]) -> Result<Vec<AnyRef<'_>>, TokenError> {
    let broken = |_| TokenError::Shape("not DER");
    let mut reader = SliceReader::new(bytes).map_err(broken)?;
    let mut items = Vec::new();
    while !reader.is_finished() {
        items.push(reader.decode::<AnyRef<'_>>().map_err(broken)?);
    }
    Ok(items)
}

fn children<'a, const N: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<[AnyRef<'a>; N], TokenError> {
    items(bytes)?.try_into().map_err(|_| TokenError::Shape(what))
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_the_der_of_its_parts() {
        let query = query(b"abc", [0xff, 1, 2, 3, 4, 5, 6, 7]);
        let [sequence] = children::<1>(&query, "").unwrap();
        let [version, imprint, nonce, certificate] =
            children(expect(sequence, Tag::Sequence).unwrap(), "").unwrap();
        assert_eq!((version.value(), certificate.value()), (&[1][..], &[0xff][..]));
        assert_eq!(nonce.value(), [0x7f, 1, 2, 3, 4, 5, 6, 7]);
        let [algorithm, hash] = children(imprint.value(), "").unwrap();
        assert_eq!(items(algorithm.value()).unwrap()[0].value(), SHA_256);
        assert_eq!(hash.value(), Sha256::digest(b"abc").as_slice());
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let reply = [0x30, 0x0b, 0x30, 0x09, 2, 1, 2, 0x30, 4, 0x0c, 2, b'n', b'o'];
        let refused = TokenError::Refused { status: 2, text: "no".into() };
        assert_eq!(Token::read(&reply), Err(refused));
        assert!(matches!(Token::read(&[0x30, 5, 0x30, 3, 2, 1, 0]), Err(TokenError::Shape(_))));
        assert!(matches!(Token::read(b""), Err(TokenError::Shape(_))));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Token::read(&bytes);
        }
    }
}
