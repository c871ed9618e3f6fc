//! HTTP messages as this gateway keeps them: every field in its order, name and value as sent.
//!
//! `http::HeaderMap` loses the case of names and the order of repeated ones, and `http::Uri`
//! refuses targets that servers accept, so neither is used on the path of capture.

use bytes::Bytes;

/// The HTTP version of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// The version as it is written in records: `1.0`, `1.1` or `2`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// Where one field's name and value stand in the buffer of its [`Fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

/// Header or trailer fields in the order and spelling they were sent.
///
/// All names and values live in one shared buffer: a parsed HTTP/1 head costs no copy and one
/// allocation for the spans.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    buffer: Bytes,
    spans: Vec<Span>,
}

impl Fields {
    /// Fields whose names and values are ranges of `buffer`.
    ///
    /// Ranges that do not lie in `buffer` read as empty.
    #[must_use]
    pub fn from_spans<I>(buffer: Bytes, spans: I) -> Self
    where
        I: IntoIterator<Item = ((u32, u32), (u32, u32))>,
    {
        let spans = spans.into_iter().map(|(name, value)| Span { name, value }).collect();
        Self { buffer, spans }
    }

    /// Fields copied from pairs of name and value.
    pub fn from_pairs<'a, I>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (&'a [u8], &'a [u8])>,
    {
        let mut builder = FieldsBuilder::new(false);
        for (name, value) in pairs {
            builder.push(name, value);
        }
        builder.finish()
    }

    /// Pairs of name and value, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.spans.iter().map(|span| (self.slice(span.name), self.slice(span.value)))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The values of every field called `name`, compared without case, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field called `name`, compared without case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Whether any field called `name` lists `token`, both compared without case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The comma-separated members of every field called `name`, trimmed, empty ones left out.
    pub fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|item| !item.is_empty())
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        self.buffer.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Collects fields into one buffer.
#[derive(Debug)]
pub struct FieldsBuilder {
    buffer: Vec<u8>,
    spans: Vec<Span>,
    lower_case: bool,
}

impl FieldsBuilder {
    /// An empty list; with `lower_case`, names are made lower-case as HTTP/2 demands.
    #[must_use]
    pub fn new(lower_case: bool) -> Self {
        Self { buffer: Vec::with_capacity(1024), spans: Vec::with_capacity(16), lower_case }
    }

    /// Adds one field at the end.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.buffer.len();
        let name = put(&mut self.buffer, name);
        if self.lower_case {
            self.buffer.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
        }
        let value = put(&mut self.buffer, value);
        self.spans.push(Span { name, value });
    }

    /// The fields.
    #[must_use]
    pub fn finish(self) -> Fields {
        Fields { buffer: self.buffer.into(), spans: self.spans }
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

fn put(buffer: &mut Vec<u8>, bytes: &[u8]) -> (u32, u32) {
    let start = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(bytes);
    (start, u32::try_from(buffer.len()).unwrap_or(u32::MAX))
}

/// The head of a request, as received or as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, exactly as sent.
    pub method: Bytes,
    /// The request target exactly as sent; for HTTP/2 the `:path`.
    pub target: Bytes,
    /// The `:scheme` of HTTP/2; HTTP/1 has none.
    pub scheme: Option<Bytes>,
    /// The `:authority` of HTTP/2; HTTP/1 has none (see its `Host` field).
    pub authority: Option<Bytes>,
    /// The version it was or will be sent with.
    pub version: Version,
    /// Every field in order, pseudo-headers apart.
    pub fields: Fields,
}

/// The head of a response, final or interim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase of HTTP/1, empty where there is none.
    pub reason: Bytes,
    /// The version it was or will be sent with.
    pub version: Version,
    /// Every field in order, pseudo-headers apart.
    pub fields: Fields,
}
