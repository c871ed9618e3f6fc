//! Which models were asked for, and which said that they answered.
//!
//! In: the store, and the ids of exchanges. Out: names by upstream, as far as the bodies can be read.
//! It is a convenience for people: nothing here is part of the record, and whatever cannot be read
//! within its bounds is left out.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};

use serde::Deserialize;
use serde_json::Value;

use crate::data::DataDir;
use crate::serve::query::ExchangeView;
use crate::store::{Direction, StoreError, StoreReader};

/// Bytes of one body that are looked at, before and after decompression.
const MOST: usize = 8 << 20;

/// Characters of a name that are kept.
const NAME: usize = 80;

/// Pairs of names that are told apart at one upstream.
const PAIRS: usize = 20;

/// What was asked for and what answered; either may be unknown.
pub(super) type Pair = (Option<String>, Option<String>);

/// How often each pair was met, by the upstream's origin.
pub(super) type Models = BTreeMap<String, BTreeMap<Pair, u64>>;

/// Looks the exchanges up.
pub(super) fn read(data: &DataDir, exchanges: &[([u8; 16], String)]) -> Models {
    let mut models = Models::new();
    if exchanges.is_empty() {
        return models;
    }
    let mut store = match StoreReader::open(&data.store()) {
        Ok(store) => store,
        Err(error) => {
            tracing::warn!(%error, "the names of models are not known");
            return models;
        }
    };
    for (id, origin) in exchanges {
        match pair(&mut store, id) {
            Ok(Some(pair)) if pair != (None, None) => {
                let pairs = models.entry(origin.clone()).or_default();
                if pairs.len() < PAIRS || pairs.contains_key(&pair) {
                    *pairs.entry(pair).or_default() += 1;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an exchange's model is not known"),
        }
    }
    models
}

fn pair(store: &mut StoreReader, id: &[u8; 16]) -> Result<Option<Pair>, StoreError> {
    let Some(stored) = store.exchange(id)? else { return Ok(None) };
    let Ok((view, _, _)) = ExchangeView::stored(&stored) else { return Ok(None) };
    let sent = body(store, id, Direction::Request, view.request.content_encoding.as_deref())?;
    let asked = in_json(&sent).or_else(|| in_url(view.url.as_deref().unwrap_or_default()));
    let answered = match &view.response {
        Some(response) => {
            let encoding = response.message.content_encoding.as_deref();
            in_answer(&body(store, id, Direction::Response, encoding)?)
        }
        None => None,
    };
    Ok(Some((asked, answered)))
}

/// The beginning of a body, decompressed.
fn body(
    store: &mut StoreReader,
    id: &[u8; 16],
    direction: Direction,
    encoding: Option<&str>,
) -> Result<Vec<u8>, StoreError> {
    let mut beginning = Beginning(Vec::new());
    match store.write_body(id, direction, &mut beginning) {
        Ok(_) | Err(StoreError::Output(_)) => Ok(plain(beginning.0, encoding)),
        Err(error) => Err(error),
    }
}

struct Beginning(Vec<u8>);

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match MOST.saturating_sub(self.0.len()).min(bytes.len()) {
            0 => Err(io::Error::other("enough")),
            some => {
                self.0.extend_from_slice(bytes.get(..some).unwrap_or_default());
                Ok(some)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body without its content coding; what cannot be decoded is empty.
fn plain(body: Vec<u8>, encoding: Option<&str>) -> Vec<u8> {
    use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};
    // What came out before the stream broke off, or grew too long, is as good.
    let out = |done: Result<Vec<u8>, miniz_oxide::inflate::DecompressError>| {
        done.unwrap_or_else(|error| error.output)
    };
    match encoding.map(str::trim) {
        None | Some("" | "identity") => body,
        Some("gzip" | "x-gzip") => match behind_gzip_head(&body) {
            Some(deflated) => out(decompress_to_vec_with_limit(deflated, MOST)),
            None => Vec::new(),
        },
        Some("deflate") => out(decompress_to_vec_zlib_with_limit(&body, MOST)),
        Some("zstd") => {
            let mut plain = Vec::new();
            let most = u64::try_from(MOST).unwrap_or(u64::MAX);
            let _ = zstd::stream::read::Decoder::new(body.as_slice())
                .and_then(|decoder| decoder.take(most).read_to_end(&mut plain));
            plain
        }
        Some(_) => Vec::new(),
    }
}

/// What follows the head of a gzip member (RFC 1952 section 2.3).
fn behind_gzip_head(bytes: &[u8]) -> Option<&[u8]> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let (head, mut rest) = bytes.split_at_checked(10)?;
    let flags = match head {
        [0x1f, 0x8b, 8, flags, ..] => *flags,
        _ => return None,
    };
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & CRC != 0 { rest.get(2..) } else { Some(rest) }
}

/// The members by which APIs name a model; everything else is skipped.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    model: Value,
    #[serde(default, rename = "modelVersion")]
    version: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    response: Value,
}

fn in_json(json: &[u8]) -> Option<String> {
    let said: Said = serde_json::from_slice(json).ok()?;
    let within = |value: &Value| value.get("model").and_then(Value::as_str).map(str::to_owned);
    let own = said.model.as_str().or(said.version.as_str()).map(str::to_owned);
    let named = own.or_else(|| within(&said.message)).or_else(|| within(&said.response));
    named.filter(|name| !name.is_empty()).map(short)
}

/// The same in an answer, which may be one document, events, or one document a line.
fn in_answer(body: &[u8]) -> Option<String> {
    in_json(body).or_else(|| {
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let documents = lines.map(|line| line.strip_prefix(b"data:").unwrap_or(line));
        documents.filter(|line| line.trim_ascii_start().first() == Some(&b'{')).find_map(in_json)
    })
}

/// The model that some APIs have in the path.
fn in_url(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/');
    let found = parts.any(|part| matches!(part, "models" | "model" | "deployments"));
    let name = parts.next().filter(|_| found)?;
    // An operation on it follows, as a part of its own or behind a colon; without one, the path is
    // about models.
    let name = match parts.next() {
        Some(_) => name,
        None => name.split_once(':')?.0,
    };
    (!name.is_empty()).then(|| short(name.to_owned()))
}

fn short(name: String) -> String {
    name.chars().take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_apis_have_them() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(in_json(br#"{"messages":[{"model":"no"}],"model":"gpt"}"#), some("gpt"));
        assert_eq!(in_json(br#"{"model":7}"#), None);
        assert_eq!(in_json(b"model"), None);
        assert_eq!(in_answer(br#"{"modelVersion":"g-1"}"#), some("g-1"));
        let events =
            b"event: message_start\ndata: {\"type\":\"x\",\"message\":{\"model\":\"c\"}}\n\n";
        assert_eq!(in_answer(events), some("c"));
        let events = b": ping\n\ndata: {}\r\n\r\ndata: {\"response\":{\"model\":\"o\"}}\n\n";
        assert_eq!(in_answer(events), some("o"));
        assert_eq!(in_answer(b"{\"model\":\"l\"}\n{\"model\":\"l\"}\n"), some("l"));
        assert_eq!(in_url("https://h/v1beta/models/g-2:generateContent?x=1"), some("g-2"));
        assert_eq!(in_url("https://h/model/b.c-v1:0/invoke"), some("b.c-v1:0"));
        assert_eq!(in_url("https://h/v1/models"), None);
        assert_eq!(in_url("https://h/v1/models/m"), None);
        assert_eq!(
            in_json(format!("{{\"model\":\"{}\"}}", "x".repeat(500)).as_bytes()).unwrap().len(),
            NAME
        );
    }

    #[test]
    fn content_codings_are_taken_off() {
        let text = br#"{"model":"m"}"#.to_vec();
        let deflated = miniz_oxide::deflate::compress_to_vec(&text, 6);
        let mut gzip = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255, b'a', 0];
        gzip.extend_from_slice(&deflated);
        gzip.extend_from_slice(&[0; 8]);
        assert_eq!(plain(gzip.clone(), Some("gzip")), text);
        let zlib = miniz_oxide::deflate::compress_to_vec_zlib(&text, 6);
        assert_eq!(plain(zlib, Some("deflate")), text);
        assert_eq!(plain(zstd::encode_all(text.as_slice(), 1).unwrap(), Some("zstd")), text);
        assert_eq!(plain(text.clone(), None), text);
        assert_eq!(plain(text, Some("br")), b"");
        for length in 0..gzip.len() {
            // Broken off anywhere, it is read as far as it goes.
            plain(gzip[..length].to_vec(), Some("gzip"));
        }
    }
}
