//! What can be wrong with an HTTP/1 message: one variant for each cause, so that a test, a log
//! line and an answer can name it. No variant carries a value from the message: values are secret.

use super::{MAX_CONNECTION_OPTIONS, MAX_EXTENSIONS, MAX_FIELDS, MAX_HEAD, MAX_TRAILERS};

/// Why a head was refused. Lines are counted from 1, the start line; offsets from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Nothing more is read of a head this long.
    #[error("the head is longer than {MAX_HEAD} bytes: send fewer or shorter fields")]
    TooLarge,
    /// More fields than any real message has.
    #[error("the head has more than {MAX_FIELDS} fields: send fewer")]
    TooManyFields,
    /// The bytes given are not one whole head.
    #[error("the head does not end with one empty line: give the parser exactly one head")]
    Incomplete,
    /// A line feed that no carriage return precedes; parsers disagree on whether it ends a line.
    #[error("a line feed without carriage return at byte {at}: end every line with CR LF")]
    BareLineFeed {
        /// Where it stands.
        at: usize,
    },
    /// A carriage return that no line feed follows.
    #[error("a carriage return without line feed at byte {at}: end every line with CR LF")]
    BareCarriageReturn {
        /// Where it stands.
        at: usize,
    },
    /// A NUL byte; parsers written in C end strings there.
    #[error("a NUL at byte {at}: a head may not hold one")]
    Nul {
        /// Where it stands.
        at: usize,
    },
    /// An empty line where a status line belongs.
    #[error("an empty line stands before the status line: start with HTTP/1.1 and a status")]
    EmptyLineBeforeStatus,
    /// The request line is not method, target and version.
    #[error("the request line lacks its target or version: write METHOD TARGET HTTP/1.1")]
    RequestLineIncomplete,
    /// Whitespace in the request line other than the two single spaces.
    #[error("the request line holds more than its two single spaces: encode spaces as %20")]
    RequestLineWhitespace,
    /// The method is empty or holds a byte no token may hold.
    #[error("the method is not a token: use letters, as in GET or POST")]
    MethodInvalid,
    /// A control byte in the target.
    #[error("the target holds a control byte: percent-encode it")]
    TargetControl,
    /// The target has none of the forms that its method allows (RFC 9112 section 3.2).
    #[error(
        "the target fits no form its method allows: write /path, http://host/path, * with \
         OPTIONS, or host:port with CONNECT"
    )]
    TargetInvalid,
    /// The version is not of the shape `HTTP/d.d`.
    #[error("the start line has no HTTP version: write HTTP/1.1")]
    VersionInvalid,
    /// A version other than 1.0 and 1.1.
    #[error("the HTTP version is neither 1.0 nor 1.1: write HTTP/1.1")]
    VersionUnsupported,
    /// The status is not three digits from 100 up, set off by single spaces.
    #[error("the status line has no status of three digits: write HTTP/1.1 200 OK")]
    StatusInvalid,
    /// A control byte in the reason phrase.
    #[error("the reason phrase holds a control byte: use printable bytes")]
    ReasonControl,
    /// Whitespace before the first field: parsers differ on whether it joins the start line.
    #[error("whitespace stands before the first field: start each line with a field name")]
    WhitespaceBeforeFirstField,
    /// A line that continues the one before (obs-fold).
    #[error("line {line} continues the line before: put each field on one line")]
    FoldedLine {
        /// Which line.
        line: usize,
    },
    /// Whitespace between a field's name and its colon.
    #[error("line {line} has whitespace before its colon: write Name: value")]
    WhitespaceBeforeColon {
        /// Which line.
        line: usize,
    },
    /// A line with no name before its colon.
    #[error("line {line} has no field name: write Name: value")]
    NameEmpty {
        /// Which line.
        line: usize,
    },
    /// A line without a colon.
    #[error("line {line} has no colon: write Name: value")]
    ColonMissing {
        /// Which line.
        line: usize,
    },
    /// A name holding a byte no token may hold.
    #[error("line {line} has a field name that is not a token: use letters, digits and hyphens")]
    NameInvalid {
        /// Which line.
        line: usize,
    },
    /// A control byte other than HTAB in a value.
    #[error("line {line} has a control byte in its value: remove or encode it")]
    ValueControl {
        /// Which line.
        line: usize,
    },
    /// Two `Content-Length` fields, equal or not.
    #[error("two Content-Length fields: send one")]
    LengthRepeated,
    /// A `Content-Length` that lists several lengths.
    #[error("Content-Length holds a list: send one number")]
    LengthList,
    /// A `Content-Length` that is not digits alone.
    #[error("Content-Length is not digits alone: send a plain decimal number")]
    LengthInvalid,
    /// A request's `Content-Length` with leading zeros, octal to some parsers.
    #[error("Content-Length has leading zeros: send the number without them")]
    LengthLeadingZero,
    /// A `Content-Length` above 2^64 - 1.
    #[error("Content-Length is above 2^64 - 1: send a length that a body can have")]
    LengthOverflow,
    /// Both framings at once.
    #[error("Content-Length and Transfer-Encoding in one message: send only one of them")]
    LengthWithTransferEncoding,
    /// A transfer coding this codec does not know; RFC 9112 section 6.1 asks for 501.
    #[error("Transfer-Encoding names a coding other than chunked: send chunked alone")]
    TransferCodingUnknown,
    /// `chunked` applied twice.
    #[error("Transfer-Encoding says chunked twice: send it once")]
    ChunkedTwice,
    /// `chunked` is there but not last, so the end of the body is undefined.
    #[error("Transfer-Encoding does not end in chunked: send chunked alone")]
    ChunkedNotFinal,
    /// A `Transfer-Encoding` with empty members or nothing at all.
    #[error("Transfer-Encoding has an empty member: send chunked alone")]
    TransferEncodingEmpty,
    /// `Transfer-Encoding` in HTTP/1.0, where older parsers ignore it.
    #[error("Transfer-Encoding in HTTP/1.0: send HTTP/1.1 or Content-Length")]
    TransferEncodingInHttp10,
    /// A body announced where none may be: CONNECT, 1xx, 204.
    #[error("a body is announced where none may be: leave out the length and the coding")]
    BodyForbidden,
    /// An HTTP/1.1 request without `Host`.
    #[error("the request has no Host field: send one")]
    HostMissing,
    /// Two `Host` fields.
    #[error("two Host fields: send one")]
    HostRepeated,
    /// A `Host` or an authority that is not host and optional port.
    #[error("Host, or the target's authority, is not host[:port]: send a plain name or address")]
    HostInvalid,
    /// `Connection` names a field that framing or routing rests on.
    #[error("Connection lists Host or Content-Length: those are for the whole path, list neither")]
    ConnectionListsFraming,
    /// `Connection` names too many fields.
    #[error("Connection lists more than {MAX_CONNECTION_OPTIONS} names: list fewer")]
    ConnectionTooLong,
}

impl HeadError {
    /// The status that answers a request refused for this cause.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyFields => 431,
            Self::TransferCodingUnknown => 501,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }
}

/// Why a body was refused, or that it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The stream ended before the body did.
    #[error("the stream ended inside the body: the message is incomplete")]
    Cut,
    /// A chunk line that does not start with a hexadecimal digit.
    #[error("a chunk has no size: start each chunk with its length in hexadecimal")]
    ChunkSizeMissing,
    /// A byte in a chunk size that is no hexadecimal digit: a sign, `0x`, a space, `_`.
    #[error("a chunk size is not hexadecimal digits alone: remove signs, prefixes and spaces")]
    ChunkSizeInvalid,
    /// A chunk size of more than 16 digits.
    #[error("a chunk size has more than 16 digits: send smaller chunks without leading zeros")]
    ChunkSizeTooLong,
    /// Chunk extensions beyond the bound, over the whole body.
    #[error("the chunk extensions of this body are longer than {MAX_EXTENSIONS} bytes: drop them")]
    ExtensionsTooLong,
    /// A control byte in a chunk extension.
    #[error("a chunk extension holds a control byte: drop the extension")]
    ExtensionControl,
    /// A line feed without carriage return in a chunk line or the trailers.
    #[error("a chunk or trailer line ends in a bare line feed: end every line with CR LF")]
    BareLineFeed,
    /// A carriage return without line feed in a chunk line.
    #[error("a chunk line holds a bare carriage return: end every line with CR LF")]
    BareCarriageReturn,
    /// A chunk's data is longer than its size said.
    #[error("CR LF does not follow a chunk's data: make the chunk size match the data")]
    ChunkEndMissing,
    /// Trailers beyond the bound.
    #[error("the trailers are longer than {MAX_TRAILERS} bytes: send fewer or shorter ones")]
    TrailersTooLong,
    /// A trailer line no field parser accepts.
    #[error("the trailers are malformed: {0}")]
    TrailerInvalid(HeadError),
    /// A trailer that would change framing, routing or the connection.
    #[error("a trailer names a field that belongs in the head: move it there")]
    TrailerForbidden,
}

/// Why a message cannot be written: what it holds would not read back as the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The method is not a token.
    #[error("cannot send the request: its method is not a token")]
    Method,
    /// The target is empty or holds whitespace or a control byte.
    #[error("cannot send the request: its target holds whitespace or a control byte, or nothing")]
    Target,
    /// HTTP/2 heads are not written as text.
    #[error("cannot send the message: HTTP/2 has no start line")]
    Version,
    /// The status is not three digits.
    #[error("cannot send the response: its status is not from 100 to 999")]
    Status,
    /// The reason phrase holds a control byte.
    #[error("cannot send the response: its reason phrase holds a control byte")]
    Reason,
    /// A field's name is not a token.
    #[error("cannot send the message: a field name is not a token")]
    Name,
    /// A field's value holds a control byte, or whitespace at an end.
    #[error("cannot send the message: a field value holds a control byte or outer whitespace")]
    Value,
    /// Two fields that frame the message, or two hosts.
    #[error("cannot send the message: it would have two framings or two hosts")]
    Ambiguous,
    /// HTTP/2 has no room for a name of 64 KiB or for tens of thousands of fields.
    #[error("cannot send the message: a field is too long for HTTP/2, or there are too many")]
    Unsayable,
    /// A trailer that frames, routes or manages the connection.
    #[error("cannot send the trailers: one names a field that belongs in the head")]
    Trailer,
}
