//! What a bundle discloses: pointers to exchanges, parts and segments.

use std::ops::RangeInclusive;

use sealtap_common::bundle::Part;

/// A text that points at nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pointer:?} is no pointer: {reason}; want all, none, EXCHANGE, EXCHANGE/PART or \
     EXCHANGE/PART/SEGMENTS, such as 2/request-body/0-3"
)]
pub struct PointerError {
    pointer: String,
    reason: String,
}

/// What is disclosed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Disclosure {
    pointers: Vec<Pointer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pointer {
    /// A position in the run; every one where there is none.
    exchange: Option<u64>,
    /// Every part but makers where it is empty.
    parts: Vec<Part>,
    /// Every segment, with the key, where there are none.
    segments: Option<RangeInclusive<u32>>,
}

/// How much of one part is disclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing.
    Nothing,
    /// All of it, with its key.
    Whole,
    /// These segments, ascending, each with its salt.
    Segments(Vec<u32>),
}

impl Disclosure {
    /// Reads pointers, or `all`, or `none`.
    ///
    /// # Errors
    /// [`PointerError`].
    pub(super) fn parse(pointers: &[String]) -> Result<Self, PointerError> {
        let mut read = Vec::new();
        for text in pointers {
            match text.as_str() {
                "none" => {}
                "all" => read.push(Pointer { exchange: None, parts: Vec::new(), segments: None }),
                text => read.push(pointer(text).map_err(|reason| PointerError {
                    pointer: text.to_owned(),
                    reason: reason.to_owned(),
                })?),
            }
        }
        Ok(Self { pointers: read })
    }

    /// How much of this part of the exchange at this position is disclosed, of `segments` segments.
    #[must_use]
    pub(super) fn extent(&self, position: u64, part: Part, segments: u32) -> Extent {
        let mut picked = Vec::new();
        for pointer in &self.pointers {
            let exchange = pointer.exchange.is_none_or(|wanted| wanted == position);
            if !exchange || !(pointer.parts.is_empty() || pointer.parts.contains(&part)) {
                continue;
            }
            match &pointer.segments {
                None => return Extent::Whole,
                Some(range) => picked.extend((0..segments).filter(|at| range.contains(at))),
            }
        }
        picked.sort_unstable();
        picked.dedup();
        if picked.is_empty() { Extent::Nothing } else { Extent::Segments(picked) }
    }

    /// How much is disclosed of who made a connection that carried the exchanges at these positions; or
    /// went around, where there are none: that is about others, so only a pointer to all makers says it.
    /// A command line may hold secrets that no exchange does, so nobody is shown who is not asked for by name.
    #[must_use]
    pub(super) fn maker(&self, carried: &[u64]) -> Extent {
        let mut shown = Extent::Nothing;
        for pointer in self.pointers.iter().filter(|pointer| pointer.parts.contains(&Part::Maker)) {
            if !pointer.exchange.is_none_or(|wanted| carried.contains(&wanted)) {
                continue;
            }
            match &pointer.segments {
                None => return Extent::Whole,
                Some(range) if range.contains(&0) => shown = Extent::Segments(vec![0]),
                Some(_) => {}
            }
        }
        shown
    }

    /// The pointers that name an exchange beyond the last position.
    #[must_use]
    pub(super) fn beyond(&self, last: u64) -> Option<u64> {
        self.pointers.iter().filter_map(|pointer| pointer.exchange).find(|at| *at > last)
    }
}

fn pointer(text: &str) -> Result<Pointer, &'static str> {
    let mut pieces = text.split('/');
    let exchange = match pieces.next() {
        Some("*") => None,
        Some(number) => match number.parse::<u64>() {
            Ok(number) if number > 0 => Some(number),
            _ => return Err("an exchange is a position from 1, or *"),
        },
        None => return Err("it is empty"),
    };
    let parts = match pieces.next() {
        None => Vec::new(),
        Some("request") => side("request"),
        Some("response") => {
            let mut parts = side("response");
            parts.push(Part::Interim);
            parts
        }
        Some(name) => vec![Part::parse(name).ok_or("there is no such part")?],
    };
    let segments = pieces.next().map(|text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
            _ => Err("segments are a number from 0, or two with a hyphen"),
        }
    });
    if pieces.next().is_some() {
        return Err("it has more than three pieces");
    }
    Ok(Pointer { exchange, parts, segments: segments.transpose()? })
}

fn side(prefix: &str) -> Vec<Part> {
    Part::ALL.iter().copied().filter(|part| part.as_str().starts_with(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pointers: &[&str]) -> Result<Disclosure, PointerError> {
        Disclosure::parse(&pointers.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn pointers_pick_what_they_say() {
        let none = parse(&["none"]).unwrap();
        assert_eq!(none.extent(1, Part::RequestBody, 9), Extent::Nothing);
        let all = parse(&["all"]).unwrap();
        assert_eq!(all.extent(7, Part::Context, 1), Extent::Whole);
        let some = parse(&["2/request-body/1-2", "2/request-body/0", "*/response"]).unwrap();
        assert_eq!(some.extent(2, Part::RequestBody, 9), Extent::Segments(vec![0, 1, 2]));
        assert_eq!(some.extent(2, Part::RequestBody, 2), Extent::Segments(vec![0, 1]));
        assert_eq!(some.extent(1, Part::RequestBody, 9), Extent::Nothing);
        assert_eq!(some.extent(1, Part::Interim, 1), Extent::Whole);
        assert_eq!(some.extent(1, Part::RequestHead, 1), Extent::Nothing);
        assert_eq!((some.beyond(2), some.beyond(1)), (None, Some(2)));
        assert_eq!(parse(&["3"]).unwrap().extent(3, Part::RequestHead, 1), Extent::Whole);
    }

    #[test]
    fn makers_are_shown_with_an_exchange_that_they_made() {
        let shown = |pointers: &[&str], carried: &[u64]| parse(pointers).unwrap().maker(carried);
        assert_eq!(shown(&["all", "*", "2"], &[1, 2]), Extent::Nothing, "not by name");
        assert_eq!(shown(&["all", "*/maker"], &[1, 2]), Extent::Whole);
        assert_eq!(shown(&["2/maker"], &[1, 2]), Extent::Whole);
        assert_eq!(shown(&["2/maker/0"], &[1, 2]), Extent::Segments(vec![0]));
        assert_eq!(shown(&["2/maker/1", "3/maker"], &[1, 2]), Extent::Nothing);
        assert_eq!(shown(&["3", "1/request"], &[1, 2]), Extent::Nothing);
        assert_eq!(shown(&["none"], &[1]), Extent::Nothing);
        // Who went around may be somebody else.
        assert_eq!(shown(&["all", "1"], &[]), Extent::Nothing);
        assert_eq!(shown(&["*/maker"], &[]), Extent::Whole);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0", "x", "1/body", "1/request-body/x", "1/request-body/3-1", "1/a/0/0"] {
            assert!(parse(&[text]).is_err(), "{text}");
        }
    }
}
