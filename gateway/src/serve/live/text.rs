//! Live lines for people: aligned columns, the URL last because it has any length.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Around, Finished, Welcome};
use crate::serve::query::TunnelView;

const GOOD: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// How to point a client at the gateway.
pub(super) fn welcome(text: &mut String, welcome: &Welcome) {
    let scheme = if welcome.tls { "https" } else { "http" };
    // Every interface is reached by loopback; a client cannot connect to 0.0.0.0 everywhere.
    let mut address = welcome.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let base = format!("{scheme}://{address}");
    let Welcome { upstreams, data, origin, durability, .. } = welcome;
    let (data, names) = (data.display(), upstreams.join(" "));
    let lines = [
        format!("{STRONG}sealtap{STRONG:#} listens on {} ({durability})", welcome.address),
        format!("  record   {data}   log {origin}"),
        format!("  openai   export OPENAI_BASE_URL={base}/openai/v1"),
        format!("  claude   export ANTHROPIC_BASE_URL={base}/anthropic"),
        format!("  others   {base}/NAME/path   {FAINT}{names}{FAINT:#}"),
        format!("  look     sealtap ls --data {data}   sealtap verify {data}"),
    ];
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
}

/// Something that did not come to the gateway.
pub(super) fn around(text: &mut String, around: &Around) {
    let became = if around.denied { "DENIED" } else { "AROUND" };
    let _ = writeln!(
        text,
        "{FAINT}{}{FAINT:#}  {BAD}{became}{BAD:#}  {:<7} {:<5} {} {FAINT}by{FAINT:#} {}",
        time(around.at_us),
        around.unit().as_str(),
        shown(&around.way),
        around.destination,
        shown(&around.whose().to_string()),
    );
}

/// One exchange.
pub(super) fn finished(text: &mut String, finished: &Finished) {
    let status = finished.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let style = match finished.status {
        _ if finished.outcome != "complete" => BAD,
        Some(200..=399) => GOOD,
        Some(100..=199 | 400..=499) => ODD,
        _ => BAD,
    };
    let first = finished.ttfb_ns.map_or_else(|| "-".to_owned(), duration);
    let leaf = finished.leaf.map_or_else(|| "pending".to_owned(), |leaf| format!("#{leaf}"));
    let _ = write!(
        text,
        "{FAINT}{}{FAINT:#}  {style}{status}{style:#}  {:<7}  {:>9} > {:>9}  {:>8} {FAINT}({:>8}) \
         {leaf:>8}{FAINT:#}  {}",
        time(finished.started_us),
        shown(&finished.method),
        size(finished.request_bytes),
        size(finished.response_bytes),
        duration(finished.duration_ns),
        first,
        shown(&finished.url),
    );
    if finished.outcome != "complete" {
        let _ = write!(text, "  {BAD}{}{BAD:#}", finished.outcome);
    }
    if let Some(error) = finished.error {
        let _ = write!(text, "  {BAD}{error}{BAD:#}");
    }
    if let Some(tunnel) = &finished.tunnel {
        let tunnel = TunnelView::new(tunnel);
        let _ = write!(text, "  {ODD}{}{ODD:#}", tunnel.said());
        if let Some(hint) = tunnel.hint {
            let _ = write!(text, "\n    {FAINT}{hint}{FAINT:#}");
        }
    }
    text.push('\n');
}

/// Lines that did not fit into the queue.
pub(super) fn missed(text: &mut String, lines: u64) {
    let noun = if lines == 1 { "line" } else { "lines" };
    let _ = writeln!(
        text,
        "{ODD}{lines} {noun} not shown: the terminal was behind; `sealtap ls` has them all{ODD:#}"
    );
}

/// The time of day in UTC, to the millisecond.
#[must_use]
pub fn time(microseconds: u64) -> String {
    let timestamp = i64::try_from(microseconds).ok().map(Timestamp::from_microsecond);
    match timestamp {
        Some(Ok(time)) => time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3fZ").to_string(),
        _ => "--:--:--.---Z".to_owned(),
    }
}

/// A size as people read it: `64 B`, `1.2 KiB`, `64.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 30_u32), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in units {
        if bytes >> shift > 0 {
            // Tenths, rounded down: 1023.99 KiB must not read as 1024.0 KiB.
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// A duration as people read it: `0.8 ms`, `812 ms`, `12.3 s`, `4 min 5 s`.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1_000;
    let (milliseconds, seconds) = (microseconds / 1_000, microseconds / 1_000_000);
    match seconds {
        0 if milliseconds < 100 => {
            format!("{}.{} ms", milliseconds, microseconds % 1_000 / 100)
        }
        0 => format!("{milliseconds} ms"),
        1..=59 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        _ => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

/// `text` with what a terminal would obey, or show as nothing, made visible: targets come from
/// clients.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => shown.push(character),
            _ if character.is_alphanumeric() => shown.push(character),
            _ => shown.extend(character.escape_unicode()),
        }
    }
    shown
}
