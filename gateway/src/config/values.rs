//! Values that are written as strings: durations, sizes, addresses, names.
//!
//! Each function says what is wrong and what would be right; none of them has a default.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a duration looks like.
pub(super) const DURATION: &str = "a duration such as \"500ms\", \"30s\", \"10min\" or \"1h\"";
/// What a duration that may be left out looks like.
pub(super) const DURATION_OR_NONE: &str = "a duration such as \"30s\" or \"10min\", or \"none\"";
/// What a size looks like.
pub(super) const SIZE: &str = "a size such as \"512KiB\", \"64MiB\" or \"1GiB\"";
/// What an age looks like.
pub(super) const AGE: &str = "an age such as \"12h\", \"30d\" or \"none\"";
/// What a size that may be left out looks like.
pub(super) const SIZE_OR_NONE: &str = "a size such as \"500MiB\" or \"50GiB\", or \"none\"";
/// What an address looks like.
pub(super) const ADDRESS: &str = "an address with a port such as \"127.0.0.1:4141\"";

/// A duration with its unit, within `range`.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text).ok_or_else(|| format!("wants {DURATION}"))?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("wants {DURATION}")),
    };
    let value = number.checked_mul(unit).map(Duration::from_millis);
    value
        .filter(|value| range.contains(value))
        .ok_or_else(|| format!("wants a duration from {:?} to {:?}", range.start(), range.end()))
}

/// A duration within `range`, or `none`.
pub(super) fn duration_or_none(
    text: &str,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, String> {
    if text == "none" { Ok(None) } else { duration(text, range).map(Some) }
}

/// A duration within `range` that may be given in days, or `none`.
pub(super) fn age_or_none(
    text: &str,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, String> {
    let Some((days, "d")) = number_and_unit(text) else { return duration_or_none(text, range) };
    let age = days.checked_mul(86_400).map(Duration::from_secs);
    let most = range.end().as_secs() / 86_400;
    age.filter(|age| range.contains(age)).map(Some).ok_or(format!("wants 1d to {most}d"))
}

/// A size within `range`, or `none`.
pub(super) fn size_or_none(text: &str, range: &RangeInclusive<u64>) -> Result<Option<u64>, String> {
    if text == "none" { Ok(None) } else { size(text, range).map(Some) }
}

/// A size in bytes with its unit, within `range` (bytes).
pub(super) fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text).ok_or_else(|| format!("wants {SIZE}"))?;
    let unit: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("wants {SIZE}")),
    };
    let value = number.checked_mul(unit);
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        format!("wants a size from {}KiB to {}KiB", range.start() >> 10, range.end() >> 10)
    })
}

/// An IP address with a port; names are not resolved here.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let fix = "0.0.0.0:PORT listens on every interface";
        format!("wants {ADDRESS} or \"[::1]:4141\"; {fix}")
    })
}

/// The origin line of a log: the C2SP signed-note key name rules.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
    if text.is_empty() || text.len() > 200 || !text.bytes().all(plain) {
        return Err("wants 1 to 200 visible ASCII characters without `+`, \
                    such as \"example.com/sealtap\""
            .to_owned());
    }
    Ok(text.to_owned())
}

/// A header name (RFC 9110 section 5.6.2, token), in lower case.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err("wants a header name such as \"x-internal-token\"".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// The name of a query parameter, exactly as it stands in a target.
pub(super) fn query_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"&=#".contains(&byte);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("wants the name of a query parameter as it stands in a target, \
                    without `&`, `=`, `#` or blanks"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// One of `choices`.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    Err(format!("wants {}", names.join(" or ")))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}
