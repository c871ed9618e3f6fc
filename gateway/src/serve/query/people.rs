//! People: colours, sizes, durations and times as a person reads them.

use std::io::IsTerminal as _;

use clap::builder::styling::{AnsiColor, Style};

/// For whom output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For programs.
    Json,
    /// For people.
    People(Paint),
}

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// With ANSI colours.
    Colour,
}

/// What a piece of text says, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Normal,
    Quiet,
    Strong,
    Good,
    Warning,
    Bad,
}

impl Paint {
    /// Colour if standard output is a terminal that has it and nobody set `NO_COLOR`.
    #[must_use]
    pub fn for_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb {
            Self::Colour
        } else {
            Self::Plain
        }
    }

    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Normal => return text.to_owned(),
            Tone::Quiet => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warning => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("{style}{text}{style:#}"),
        }
    }
}

/// A size: `812 B`, `12.3 kB`, `64.0 MB`; a kB is 1000 bytes.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut scale = 1_000_u64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // Rounded to tenths, 999_950 is already the next unit.
    while bytes.saturating_add(scale / 20) / scale >= 1_000 {
        let Some(next) = units.next() else { break };
        unit = next;
        scale = scale.saturating_mul(1_000);
    }
    format!("{} {unit}", tenths(bytes, scale))
}

/// A duration: `840 us`, `12.3 ms`, `1.2 s`, `2 min 3 s`, `1 h 2 min`.
pub(super) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds.saturating_add(500_000_000) / 1_000_000_000;
    match nanoseconds {
        0..999_500 => format!("{} us", nanoseconds.saturating_add(500) / 1_000),
        999_500..999_950_000 => format!("{} ms", tenths(nanoseconds, 1_000_000)),
        999_950_000..59_950_000_000 => format!("{} s", tenths(nanoseconds, 1_000_000_000)),
        _ if seconds < 3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn tenths(value: u64, scale: u64) -> String {
    let tenths = value.saturating_add(scale / 20) / (scale / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The tone of an exchange's outcome and status.
pub(super) fn tone(outcome: &str, status: Option<u16>) -> Tone {
    match (outcome, status) {
        ("complete", Some(200..400)) => Tone::Good,
        ("open", _) => Tone::Quiet,
        ("complete", Some(101)) => Tone::Good,
        ("complete" | "client_cancelled", Some(100..500)) => Tone::Warning,
        _ => Tone::Bad,
    }
}
