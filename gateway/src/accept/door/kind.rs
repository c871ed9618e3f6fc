//! What the first bytes in a tunnel are the beginning of.
//!
//! HTTP is taken as widely as any server takes it, not as strictly as it is read afterwards: what a
//! host would answer must not pass as something else. What the reader then does not like is answered,
//! recorded, and not sent on.

use super::heads::has_version;
use crate::wire::http1::{Opening, opening};

/// The longest first line of a request with an unknown method that is waited for.
const LINE: usize = 8 << 10;

/// Methods that are recognised before their line is complete.
const METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];

/// What bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TLS.
    Tls,
    /// HTTP, of this version.
    Http(Opening),
    /// As only a request does, as far as it is there.
    Request,
    /// Neither of these.
    Neither,
    /// It cannot be said yet.
    Undecided,
}

/// How far a client's bytes were looked at: what more of them comes is looked at alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looked {
    /// Blanks in front of the first line.
    blanks: usize,
    /// Bytes of that line, none of which ends it.
    unended: usize,
}

impl Looked {
    /// What bytes from a client begin, where `tls` may be what they begin. They are those of the last look, with
    /// more behind them.
    pub(super) fn kind(&mut self, seen: &[u8], tls: bool) -> Kind {
        kind(self, seen, tls)
    }

    /// The first line that is not blank, and what is behind it.
    fn line<'a>(&mut self, seen: &'a [u8]) -> &'a [u8] {
        let line = seen.get(self.blanks..).unwrap_or_default().trim_ascii_start();
        self.blanks = seen.len().saturating_sub(line.len());
        line
    }

    /// Where that line ends.
    fn end(&mut self, line: &[u8]) -> Option<usize> {
        let new = line.get(self.unended..).unwrap_or_default();
        let end = memchr::memchr(b'\n', new).and_then(|end| self.unended.checked_add(end));
        self.unended = end.unwrap_or(line.len());
        end
    }
}

fn kind(looked: &mut Looked, seen: &[u8], tls: bool) -> Kind {
    match seen {
        [] => return Kind::Undecided,
        // A record of the handshake (RFC 8446 section 5.1). Not all servers look at its version.
        [0x16] | [0x16, 0..0x10, ..] if tls => return Kind::Tls,
        // A hello in the clothes of SSL 2, which some servers of TLS still read (RFC 5246 appendix E.2).
        [0x80..=0xff, _, 1, 3, ..] if tls => return Kind::Tls,
        // Anything may begin so, and wait for an answer.
        [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] if tls => return Kind::Undecided,
        _ => {}
    }
    match opening(seen) {
        Opening::Http2 => return Kind::Http(Opening::Http2),
        Opening::Undecided => return Kind::Request,
        Opening::Http1 => {}
    }
    // Empty lines may stand before a request (RFC 9112 section 2.2); some servers take half of one,
    // and some take blanks.
    let line = looked.line(seen);
    if line.is_empty() {
        // Some servers drop as many as come; whoever reads them as HTTP does not.
        return if seen.len() <= LINE { Kind::Request } else { Kind::Http(Opening::Http1) };
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = line.iter().position(|byte| !token(byte)).unwrap_or(line.len());
    let (method, rest) = line.split_at_checked(end).unwrap_or_default();
    let known = METHODS.contains(&method);
    match rest {
        [] if METHODS.iter().any(|known| known.starts_with(method)) => Kind::Request,
        [] if method.len() <= 64 => Kind::Undecided,
        [b' ' | b'\t' | 0x0b | 0x0c, ..] if known => Kind::Http(Opening::Http1),
        [b' ' | b'\t', ..] if !method.is_empty() => match looked.end(line) {
            Some(end) if has_version(line.get(..end).unwrap_or_default()) => {
                Kind::Http(Opening::Http1)
            }
            Some(_) => Kind::Neither,
            None if line.len() <= LINE => Kind::Undecided,
            None => Kind::Http(Opening::Http1),
        },
        _ => Kind::Neither,
    }
}

/// How far a client's bytes were looked at for the end of the first request's head: what more of them comes is looked
/// at alone, but for a byte or two of an end that is not whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// Where its first line begins, once what stands there is no blank.
    begins: Option<usize>,
    /// Whether that line has ended, in a version.
    has_line: bool,
    looked: usize,
}

impl Head {
    /// Whether the head is there as a whole, by the widest reading: what it says of its host does not change any
    /// more. One of HTTP/0.9 is its first line, and so is a command of another protocol that begins with the same
    /// word. The bytes are those of the last look, with more behind them.
    pub(super) fn is_whole(&mut self, seen: &[u8]) -> bool {
        let new = |looked: usize| seen.get(looked..).unwrap_or_default();
        let begins = match self.begins {
            Some(begins) => begins,
            None => {
                let request = new(self.looked).trim_ascii_start();
                self.looked = seen.len().saturating_sub(request.len());
                if request.is_empty() {
                    return false;
                }
                *self.begins.insert(self.looked)
            }
        };
        while let Some(end) = memchr::memchr(b'\n', new(self.looked)) {
            let end = self.looked.saturating_add(end);
            let line = || seen.get(begins..end).unwrap_or_default();
            if !self.has_line && !has_version(line()) {
                return true;
            }
            self.has_line = true;
            self.looked = end;
            match new(end.saturating_add(1)) {
                // A line feed may stand for both.
                [b'\n', ..] | [b'\r', b'\n', ..] => return true,
                // It may become one.
                [] | [b'\r'] => return false,
                _ => self.looked = end.saturating_add(1),
            }
        }
        self.looked = seen.len();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(seen: &[u8], tls: bool) -> Kind {
        Looked::default().kind(seen, tls)
    }

    /// However the bytes come, each look says what one look at all of them says, and looks at no byte twice.
    #[test]
    fn looks_that_go_on_say_what_one_look_says() {
        let blanks = [b' '; LINE + 2];
        let long = [b"PURGE /".as_slice(), &[b'x'; LINE]].concat();
        for (whole, step) in [
            (b"PURGE /x HTTP/1.1\r\nHost: x\r\n".as_slice(), 1),
            (b"PURGE me\r\nGET / HTTP/1.1\r\n", 1),
            (b" \r\n\n\rpost\t/\thttp/1.1 \r\n", 1),
            (b"\n\nDELETE /", 1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1),
            (b"PRI * HTTP/2.1 x\nHTTP/1.1\n", 1),
            (b"\x80\x2e\x01\x03\x01", 1),
            (b"EHLO mail.example\r\n", 1),
            (&blanks, 61),
            (&long, 61),
        ] {
            let ends: Vec<usize> = (0..whole.len()).step_by(step).chain([whole.len()]).collect();
            let at_once: Vec<_> = ends.iter().map(|end| kind(&whole[..*end], true)).collect();
            // Piece by piece, and in each two pieces.
            let mut looked = Looked::default();
            for (end, expected) in ends.iter().zip(&at_once) {
                let (shown, before) = (whole[..*end].escape_ascii(), looked);
                assert_eq!(looked.kind(&whole[..*end], true), *expected, "{shown}");
                assert!(before.blanks <= looked.blanks && before.unended <= looked.unended);
            }
            for first in &ends {
                let mut looked = Looked::default();
                looked.kind(&whole[..*first], true);
                let last = looked.kind(whole, true);
                assert_eq!(Some(&last), at_once.last(), "{} at {first}", whole.escape_ascii());
            }
        }
        let (mut looked, open) = (Looked::default(), &long[..LINE]);
        assert_eq!(looked.kind(open, true), Kind::Undecided);
        assert_eq!((looked.blanks, looked.unended), (0, LINE), "nothing of it is looked at again");
        assert_eq!(looked.kind(&blanks[..LINE], true), Kind::Request);
        assert_eq!(looked.blanks, LINE, "nor of blanks");
    }

    #[test]
    fn http_is_recognised_by_its_first_bytes_and_other_things_are_not() {
        let http1 = Kind::Http(Opening::Http1);
        for (bytes, expected) in [
            (b"GET / HTTP/1.1\r\n".as_slice(), http1),
            (b"POST ", http1),
            (b"\r\nGET /", http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind::Http(Opening::Http2)),
            (b"PURGE /x HTTP/1.1\r\n", http1),
            (b"PURGE /x", Kind::Undecided),
            (b"PURGE me\r\n", Kind::Neither),
            (b"SSH-2.0-OpenSSH_9.2 Debian\r\n", Kind::Neither),
            (b"EHLO mail.example\r\n", Kind::Neither),
            (b"CONNECT\naccept-version:1.2\n", Kind::Neither),
            (b"\x00\x00\x00\x08", Kind::Neither),
            (b"\x16", Kind::Tls),
            (b"\x16\x03\x01\x02", Kind::Tls),
            (b"\x16\x10", Kind::Neither),
            (b"", Kind::Undecided),
        ] {
            assert_eq!(kind(bytes, true), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(kind(b"\x16\x03\x01", false), Kind::Neither);
        assert_eq!(kind(&[b'A'; 65], true), Kind::Neither);
    }

    #[test]
    fn a_head_is_whole_at_its_empty_line() {
        for whole in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1 x\n\n",
            "GET /\thttp/1.0\n\r\n",
            "GET key\r\n",
        ] {
            let whole = whole.as_bytes();
            let mut head = Head::default();
            for end in 0..=whole.len() {
                let (shown, is_whole) = (whole[..end].escape_ascii(), end == whole.len());
                assert_eq!(Head::default().is_whole(&whole[..end]), is_whole, "{shown}");
                assert_eq!(head.is_whole(&whole[..end]), is_whole, "{shown}, byte by byte");
            }
        }
    }

    /// A head that comes slowly costs no more than one that comes at once: nothing but an end that is not whole is
    /// looked at again.
    #[test]
    fn a_head_is_looked_at_once() {
        for (line, begins) in [("X: y\r\n", 1), ("xxxxxxxx", 1), ("\n\n\n\n", 0)] {
            let begin = "GET / HTTP/1.1\r\n".repeat(begins);
            let whole = [begin, line.repeat(4096)].concat();
            let (mut head, mut looked) = (Head::default(), 0);
            for end in 1..=whole.len() {
                let before = head.looked;
                assert!(!head.is_whole(&whole.as_bytes()[..end]));
                looked += end - before;
                assert!(before <= head.looked && end - head.looked <= 2, "{end}: {head:?}");
            }
            assert!(looked <= 3 * whole.len(), "{looked} of {}", whole.len());
        }
    }

    /// What some server somewhere answers as HTTP or as TLS.
    #[test]
    fn what_a_lenient_server_takes_is_taken_for_what_it_is() {
        let http1 = Kind::Http(Opening::Http1);
        for (bytes, expected) in [
            (b"\nPOST / HTTP/1.1\r\n".as_slice(), http1),
            (b"\r\n\n\rPOST / HTTP/1.1\r\n", http1),
            (b" GET / HTTP/1.1\r\n", http1),
            (b"POST\t/ HTTP/1.1\r\n", http1),
            (b"post\t/\thttp/1.1 \r\n", http1),
            (&[b'\n'; LINE + 1], http1),
            (&[b"post /".as_slice(), &[b'x'; LINE]].concat(), http1),
            (b"\x16\x04\x00", Kind::Tls),
            (b"\x80", Kind::Undecided),
            (b"\x80\x2e\x01", Kind::Undecided),
            (b"\x80\x2e\x01\x03\x01", Kind::Tls),
        ] {
            assert_eq!(kind(bytes, true), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(kind(b"\x80\x2e\x07", true), Kind::Neither);
        assert_eq!(kind(b"\x80\x2e\x01\x03\x01", false), Kind::Neither);
    }

    /// However slowly it comes, no byte of it makes it something else.
    #[test]
    fn the_beginning_of_a_request_is_one_byte_for_byte() {
        for whole in
            ["POST /x HTTP/1.1", "\r\nGET /", "\nDELETE /", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        {
            for end in 1..=whole.len() {
                let found = kind(&whole.as_bytes()[..end], true);
                assert!(
                    matches!(found, Kind::Request | Kind::Http(_)),
                    "{:?}: {found:?}",
                    &whole[..end]
                );
            }
        }
    }
}
