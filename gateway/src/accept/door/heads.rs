//! Heads: what is looked for in what passes on unread, because a captured host could be named in it.
//!
//! In: a client's bytes, as they come. Out: whether they may go on. Of a connection that leads to a bare
//! address without TLS only the names in its requests tell whether a captured host is meant, and any
//! request may name another: [`Heads`]. What may still have become HTTP or TLS to a captured host when
//! patience ended may yet become it: [`Beginning`]. Bodies are not told from heads by their lengths, which
//! servers read in more ways than one: a field of that name behind what looks like a request's first
//! line counts wherever it stands. Neither keeps more than a line.

use super::kind::{Kind, Looked};
use crate::forward::{Look, Saw};

/// How much of one line is kept, from its end: of a head, and of what is none, where a request's first line may
/// stand behind anything.
const LINE: usize = 64 << 10;
const FIRST_LINE: usize = 16 << 10;

/// The longest head that servers take unless they are told otherwise. Behind it is no head.
const HEAD: usize = 1 << 20;

/// The hosts in one field that are looked at; more are not meant to be read.
const HOSTS: usize = 64;

/// Whether a host of that name, in lower case, is captured.
pub(super) type Captures = Box<dyn Fn(&str) -> bool + Send>;

/// Looks for names of captured hosts in requests of HTTP/1.
pub(super) struct Heads {
    captures: Captures,
    place: Place,
    /// What came of the line that is not whole.
    line: Vec<u8>,
    /// Whether the last line was of a field that names hosts, and may go on (RFC 9112 section 5.2).
    names: bool,
    /// Bytes of the head so far.
    taken: usize,
}

/// Where the next line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first request.
    Begin,
    /// In a head.
    Head,
    /// Behind one.
    Behind,
}

impl Heads {
    /// Nothing came so far of what begins like HTTP.
    pub(super) fn new(captures: Captures) -> Self {
        Self { captures, place: Place::Begin, line: Vec::new(), names: false, taken: 0 }
    }

    /// The same of what does not, and may still hold requests.
    pub(super) fn within(captures: Captures) -> Self {
        Self { place: Place::Behind, ..Self::new(captures) }
    }

    /// What a whole line says.
    fn whole(&mut self, line: &[u8]) -> Saw {
        let first = self.place == Place::Begin;
        self.taken = self.taken.saturating_add(line.len()).saturating_add(1);
        if self.place == Place::Head && self.taken > HEAD {
            self.place = Place::Behind;
        }
        match self.place {
            Place::Begin if blank(line) => return Saw::Nothing,
            // Only what ends a head for everybody ends it.
            Place::Head if matches!(line, [] | [b'\r']) => {
                self.place = Place::Behind;
                return Saw::Nothing;
            }
            Place::Begin | Place::Head | Place::Behind => {}
        }
        let captured = self.place == Place::Head && self.is_named(line);
        let begins = first || has_version(line);
        if captured || begins && targets(line, first).any(|host| self.is_captured(host)) {
            return Saw::Captured;
        }
        if begins && self.place != Place::Head {
            (self.place, self.names, self.taken) = (Place::Head, false, 0);
        }
        // The preface of HTTP/2, as behind an upgrade.
        match begins && trim(line) == b"PRI * HTTP/2.0" {
            true => Saw::Undecided,
            false => Saw::Nothing,
        }
    }

    /// Whether a line of a head names a captured host. Some servers end lines at a carriage return, too.
    fn is_named(&mut self, line: &[u8]) -> bool {
        let goes_on = self.names && matches!(line, [b' ' | b'\t', ..]);
        let mut captured = goes_on && self.lists(line);
        for line in trim(line).split(|byte| *byte == b'\r') {
            let end = memchr::memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at_checked(end).unwrap_or_default();
            let names = trim(name).eq_ignore_ascii_case(b"host");
            self.names = names || goes_on;
            captured |= names && self.lists(value);
        }
        captured
    }

    /// Whether one of the hosts in a field's value is captured: some servers take lists.
    fn lists(&self, value: &[u8]) -> bool {
        let hosts = value.split(|byte| is_blank(*byte) || *byte == b',');
        let mut hosts = hosts.filter(|host| !host.is_empty()).enumerate();
        let host = |host| self.is_captured(<[u8]>::strip_prefix(host, b":").unwrap_or(host));
        hosts.any(|(number, one)| number >= HOSTS || host(one))
    }

    /// Whether it names a captured host: its port and who asks are not told from it too strictly.
    fn is_captured(&self, authority: &[u8]) -> bool {
        // Whoever reads a path or a port off it does so before who asks.
        let whole = authority.split(|byte| b"/?#\\".contains(byte)).next().unwrap_or(authority);
        let host = whole.rsplit(|byte| *byte == b'@').next().unwrap_or(whole);
        let host = match host.strip_prefix(b"[") {
            Some(host) => host.split(|byte| *byte == b']').next(),
            None => host.split(|byte| *byte == b':').next(),
        };
        let host = host.and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
        !host.is_empty() && (self.captures)(&host.to_ascii_lowercase())
    }
}

impl Look for Heads {
    fn look(&mut self, bytes: &[u8]) -> Saw {
        let (mut saw, mut rest) = (Saw::Nothing, bytes);
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (until, after) = rest.split_at_checked(end).unwrap_or_default();
            rest = after.get(1..).unwrap_or_default();
            let mut line = std::mem::take(&mut self.line);
            if line.is_empty() {
                saw = saw.max(self.whole(until));
                continue;
            }
            line.extend_from_slice(until);
            saw = saw.max(self.whole(&line));
        }
        self.line.extend_from_slice(rest);
        let kept = if self.place == Place::Head { LINE } else { FIRST_LINE };
        if self.line.len() > 2 * kept {
            let mut line = std::mem::take(&mut self.line);
            // What is dropped may name one that blanks follow.
            if self.place == Place::Head && self.is_named(&line) {
                saw = Saw::Captured;
            }
            self.taken = self.taken.saturating_add(line.len().saturating_sub(kept));
            line.drain(..line.len().saturating_sub(kept));
            line.shrink_to(2 * kept);
            self.line = line;
        }
        saw
    }
}

/// What the fuzzer calls: the most that is seen in any bytes that come in pieces of that length, where this host is
/// captured; as what begins like HTTP, as what does not, and as what had been open.
#[doc(hidden)]
pub fn look_at_any(bytes: &[u8], piece: usize, host: &'static str) -> [Saw; 3] {
    let captures = || -> Captures { Box::new(move |name| name == host) };
    let looks: [Box<dyn Look>; 3] = [
        Box::new(Heads::new(captures())),
        Box::new(Heads::within(captures())),
        Box::new(Beginning::new(true)),
    ];
    looks.map(|mut look| {
        bytes.chunks(piece).map(|piece| look.look(piece)).max().unwrap_or(Saw::Nothing)
    })
}

/// Looks whether what had been open becomes HTTP, or TLS, after all.
pub(super) struct Beginning {
    seen: Vec<u8>,
    looked: Looked,
    tls: bool,
    open: bool,
}

impl Beginning {
    /// Where `tls` may be what it becomes.
    pub(super) fn new(tls: bool) -> Self {
        Self { seen: Vec::new(), looked: Looked::default(), tls, open: true }
    }
}

impl Look for Beginning {
    fn look(&mut self, bytes: &[u8]) -> Saw {
        if !self.open {
            return Saw::Nothing;
        }
        self.seen.extend_from_slice(bytes);
        match self.looked.kind(&self.seen, self.tls) {
            Kind::Tls | Kind::Http(_) => return Saw::Captured,
            Kind::Request | Kind::Undecided => {}
            Kind::Neither => {
                self.open = false;
                self.seen = Vec::new();
            }
        }
        Saw::Nothing
    }
}

/// Whether the first requests that came name a captured host, as a field or in a target: an address alone
/// says little, and taking a client's word for a name only captures more.
pub(super) fn captured_by_host(captures: Captures, seen: &[u8]) -> bool {
    let mut heads = Heads::new(captures);
    // The last line need not be whole.
    heads.look(seen).max(heads.look(b"\n")) == Saw::Captured
}

/// Blanks as servers take them.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || byte == 0
}

fn blank(line: &[u8]) -> bool {
    line.iter().all(|byte| is_blank(*byte))
}

fn trim(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    let to = text.iter().rposition(|byte| !is_blank(*byte)).map_or(from, |last| last + 1);
    text.get(from..to).unwrap_or_default()
}

/// Whether a line may be a request's first one, whatever stands before it in the same line.
pub(super) fn has_version(line: &[u8]) -> bool {
    memchr::memchr_iter(b'/', line).any(|slash| {
        let before = line.get(..slash).unwrap_or_default();
        let name = before.len().checked_sub(5).and_then(|from| before.get(from..));
        name.and_then(<[u8]>::split_first)
            .is_some_and(|(blank, name)| is_blank(*blank) && is_protocol(name))
    })
}

/// The protocols that are taken for HTTP: some servers of it read requests of RTSP.
fn is_protocol(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"http") || name.eq_ignore_ascii_case(b"rtsp")
}

/// The authorities in a request's first line: the target of CONNECT, and what stands behind a scheme in any word,
/// since some servers take blanks within a target. Of the `first` one no version is asked for (HTTP/0.9 has
/// none); later ones end with it, or any text could be one.
fn targets(line: &[u8], first: bool) -> impl Iterator<Item = &[u8]> {
    let words = || line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let version = words().next_back().unwrap_or_default();
    let ends = version.get(..4).is_some_and(is_protocol) && version.get(4) == Some(&b'/');
    let may_be = first || ends;
    let asked = words().zip(words().skip(1)).filter_map(|(method, target)| {
        let from = method.len().checked_sub(7)?;
        method.get(from..)?.eq_ignore_ascii_case(b"connect").then_some(target)
    });
    let absolute = words().filter_map(|word| {
        let scheme = memchr::memmem::find(word, b"://")?;
        word.get(scheme.checked_add(3)?..)
    });
    asked.chain(absolute).filter(move |_| may_be)
}

#[cfg(test)]
mod tests;
