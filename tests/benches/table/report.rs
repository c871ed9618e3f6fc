//! The table: medians over the rounds, the bars, and how the figures came about.

use std::fmt::Write as _;

use crate::Run;
use crate::rows::{Measured, Row};
use crate::system::System;

use System::{Direct, Hyper, Mitmdump, Nginx, Relaxed, Strict};

/// One line of the table: a figure of a row, for each system that has it.
struct Line {
    what: &'static str,
    row: Row,
    figure: &'static str,
    /// Digits after the point.
    digits: usize,
    /// Whether what there is without any system is taken off.
    added: bool,
}

const fn line(what: &'static str, row: Row, figure: &'static str, digits: usize) -> Line {
    Line { what, row, figure, digits, added: false }
}

const fn added(what: &'static str, row: Row, figure: &'static str, digits: usize) -> Line {
    Line { what, row, figure, digits, added: true }
}

const LINES: &[Line] = &[
    line("CPU s per 10,000 chats, 1 KB each way", Row::Chats1K, "cpu_s", 3),
    line("CPU s per 10,000 chats, 1 KB, CONNECT, TLS both sides", Row::Chats1KTls, "cpu_s", 3),
    line("CPU s per 10,000 chats, 64 KB up, 1 KB down", Row::Context64K, "cpu_s", 3),
    line("CPU s per 10,000 chats, 64 KB each way", Row::Chats64K, "cpu_s", 3),
    line("compaction: CPU s per 10,000 chats, 1 KB", Row::Chats1K, "store_cpu_s", 3),
    line("compaction: CPU ms per MB, 1 KB chats", Row::Chats1K, "store_ms_per_mb", 1),
    line("compaction: CPU ms per MB, 64 KB chats", Row::Chats64K, "store_ms_per_mb", 1),
    line("chats a second, 1 KB, 32 connections", Row::Chats1K, "per_s", 0),
    added("added to the first byte at 200/s, p50 µs", Row::Latency, "p50_us", 0),
    added("added to the first byte at 200/s, p99 µs", Row::Latency, "p99_us", 0),
    line("CPU s per 10,000 SSE events", Row::Events, "cpu_s", 3),
    added("added to an SSE event, p50 µs", Row::Events, "p50_us", 0),
    line("RSS per held stream, kB (1,000 held)", Row::Held, "kb_per_stream", 1),
    line("held streams in the next row", Row::Held10K, "streams", 0),
    line("RSS with 10,000 streams (or that many) held, MB", Row::Held10K, "mb", 0),
    line("64 MiB up, s", Row::Transfer, "up_s", 3),
    line("64 MiB up, CPU s", Row::Transfer, "up_cpu_s", 3),
    line("64 MiB down, s", Row::Transfer, "down_s", 3),
    line("64 MiB down, CPU s", Row::Transfer, "down_cpu_s", 3),
    line("TLS handshakes with clients a second, certificate cached", Row::Handshakes, "per_s", 0),
    line("TLS handshake with a client, CONNECT included, CPU µs", Row::Handshakes, "cpu_us", 0),
    line("minted leaf, new, µs", Row::Leaf, "cold_us", 1),
    line("minted leaf, kept, µs", Row::Leaf, "cached_us", 2),
    added(
        "added to the first request to a new host, p50 round trips",
        Row::FirstRequest,
        "p50_round_trips",
        2,
    ),
    line("leaves sealed a second behind HTTP", Row::Flood, "sealed_per_s", 0),
    line("leaves sealed a second, journal to log alone", Row::Leaves, "sealed_per_s", 0),
    line("leaves verified a second, one core", Row::Leaves, "verified_per_s", 0),
    line("exchange to witnessed receipt, idle, p50 s", Row::Receipt, "idle_p50_s", 2),
    line("exchange to witnessed receipt, idle, p99 s", Row::Receipt, "idle_p99_s", 2),
    line("exchange to witnessed receipt, under load, p50 s", Row::Receipt, "load_p50_s", 2),
    line("exchange to witnessed receipt, under load, p99 s", Row::Receipt, "load_p99_s", 2),
    line("connect(), no kernel programs, p50 µs", Row::Connect, "bare_us", 1),
    line("connect(), programs attached, out of scope, p50 µs", Row::Connect, "attached_us", 1),
    line("connect(), redirected, p50 µs", Row::Connect, "redirected_us", 1),
    line("programs of a connection out of scope, ns", Row::Connect, "attached_programs_ns", 0),
    line("programs of a redirected connection, ns", Row::Connect, "redirected_programs_ns", 0),
    line("packet out: a program that only counts, ns", Row::Egress, "counted_ns", 0),
    line("packet out, out of scope, ns", Row::Egress, "outside_ns", 0),
    line("packet out, to the gateway, ns", Row::Egress, "gateway_ns", 0),
    line("packet out, to a listed place, ns", Row::Egress, "listed_ns", 0),
    line("packet out, around, in a flood, ns", Row::Egress, "flood_ns", 0),
    line("datagram sent, no kernel programs, ns", Row::Egress, "send_bare_ns", 0),
    line("datagram sent, one that only counts, ns", Row::Egress, "send_counted_ns", 0),
    line("datagram sent, programs attached, out of scope, ns", Row::Egress, "send_outside_ns", 0),
    line("datagram sent, in scope, ns", Row::Egress, "send_flood_ns", 0),
    line("redirected connections a second, plain acceptor", Row::Redirects, "per_s", 0),
    line("redirected connections a second, gateway and back", Row::Redirects, "through_per_s", 0),
    line("redirected to a wrong place", Row::Redirects, "wrong", 0),
];

/// What a bar is held against.
enum Against {
    /// The same figure of another system; ours over theirs.
    System(System),
    /// The same figure of another row; this one over that.
    Row(Row),
    /// What there is without any system; what ours adds to it.
    Direct,
    /// Nothing: the figure itself.
    Itself,
}

/// A bar: at most so much, or at least where more is better.
struct Bar {
    what: &'static str,
    row: Row,
    figure: &'static str,
    against: Against,
    bar: f64,
    aim: f64,
    more_is_better: bool,
}

const fn most(
    what: &'static str,
    row: Row,
    figure: &'static str,
    against: Against,
    bar: f64,
    aim: f64,
) -> Bar {
    Bar { what, row, figure, against, bar, aim, more_is_better: false }
}

const fn least(what: &'static str, row: Row, figure: &'static str, bar: f64, aim: f64) -> Bar {
    Bar { what, row, figure, against: Against::Itself, bar, aim, more_is_better: true }
}

const BARS: &[Bar] = &[
    most("1 KB chat against nginx", Row::Chats1K, "cpu_s", Against::System(Nginx), 2.5, 1.5),
    most(
        "1 KB chat over TLS against plain",
        Row::Chats1KTls,
        "cpu_s",
        Against::Row(Row::Chats1K),
        1.5,
        1.25,
    ),
    most(
        "1 KB chat over TLS against mitmdump",
        Row::Chats1KTls,
        "cpu_s",
        Against::System(Mitmdump),
        1.0 / 15.0,
        1.0 / 15.0,
    ),
    most(
        "round trips added to a first request, p50",
        Row::FirstRequest,
        "p50_round_trips",
        Against::Direct,
        1.0,
        1.0,
    ),
    most("64 KB up against nginx", Row::Context64K, "cpu_s", Against::System(Nginx), 3.0, 2.0),
    most("64 KB each way against nginx", Row::Chats64K, "cpu_s", Against::System(Nginx), 3.0, 2.0),
    most("SSE event against hyper", Row::Events, "cpu_s", Against::System(Hyper), 1.6, 1.2),
    most(
        "1 KB chat against mitmdump",
        Row::Chats1K,
        "cpu_s",
        Against::System(Mitmdump),
        0.05,
        0.025,
    ),
    most("RSS per held stream, kB", Row::Held, "kb_per_stream", Against::Itself, 40.0, 24.0),
    least("leaves sealed a second", Row::Leaves, "sealed_per_s", 10_000.0, 30_000.0),
    least("leaves verified a second", Row::Leaves, "verified_per_s", 20_000.0, 200_000.0),
    most("exchange to receipt, idle, p99 s", Row::Receipt, "idle_p99_s", Against::Itself, 2.5, 1.2),
    most(
        "exchange to receipt, under load, p99 s",
        Row::Receipt,
        "load_p99_s",
        Against::Itself,
        2.5,
        1.2,
    ),
    most(
        "connect(), attached against bare",
        Row::Connect,
        "attached_ratio",
        Against::Itself,
        1.15,
        1.15,
    ),
    most(
        "connect(), redirected against bare",
        Row::Connect,
        "redirected_ratio",
        Against::Itself,
        1.25,
        1.25,
    ),
    most(
        "packet out, beyond counting, the worst, ns",
        Row::Egress,
        "worst_beyond_ns",
        Against::Itself,
        100.0,
        100.0,
    ),
    least("redirected connections a second", Row::Redirects, "per_s", 20_000.0, 20_000.0),
    most("RSS with 10,000 held, MB", Row::Held10K, "mb", Against::Itself, 600.0, 250.0),
];

/// The median of one figure.
fn median(all: &[Measured], row: Row, system: System, figure: &str) -> Option<f64> {
    let mut values: Vec<f64> = all
        .iter()
        .filter(|measured| measured.row == row && measured.system == system)
        .filter_map(|measured| measured.figures.get(figure)?.as_f64())
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Everything, in Markdown.
pub(crate) fn table(run: &Run, all: &[Measured], skipped: &[(Row, String)]) -> String {
    let mut text = String::new();
    let command = std::iter::once("cargo xtask bench".to_owned())
        .chain((run.rounds != 3).then(|| format!("--rounds {}", run.rounds)))
        .chain(run.quick.then(|| "--quick".to_owned()))
        .chain((!run.rows.is_empty()).then(|| {
            let names: Vec<String> = run.rows.iter().map(|row| row.name()).collect();
            format!("--rows {}", names.join(" "))
        }));
    let command = command.collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "Measured {} on {}, by `{command}`;", date(), machine());
    let _ =
        writeln!(text, "medians of {} rounds, load and upstream on the same cores.\n", run.rounds);
    let systems = [Nginx, Hyper, Strict, Relaxed, Mitmdump];
    let names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
    let _ = writeln!(text, "| what | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(systems.len()));
    for line in LINES {
        let value = |system| {
            let value = median(all, line.row, system, line.figure)?;
            let base = if line.added { median(all, line.row, Direct, line.figure)? } else { 0.0 };
            Some(value - base)
        };
        let values = systems.map(value);
        if values.iter().all(Option::is_none) {
            continue;
        }
        let shown = values.map(|value| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.*}", line.digits))
        });
        let _ = writeln!(text, "| {} | {} |", line.what, shown.join(" | "));
    }
    let _ = writeln!(text, "\n| sealtap strict | figure | bar | aim | |\n|---|---|---|---|---|");
    for bar in BARS {
        let Some(ours) = median(all, bar.row, Strict, bar.figure) else { continue };
        let figure = match bar.against {
            Against::Itself => Some(ours),
            Against::Row(row) => median(all, row, Strict, bar.figure).map(|theirs| ours / theirs),
            Against::Direct => median(all, bar.row, Direct, bar.figure).map(|theirs| ours - theirs),
            Against::System(system) => {
                median(all, bar.row, system, bar.figure).map(|theirs| ours / theirs)
            }
        };
        let Some(figure) = figure else { continue };
        let reaches = |mark| if bar.more_is_better { figure >= mark } else { figure <= mark };
        // A bar that is its own aim has none beyond it.
        let aims = bar.aim != bar.bar;
        let word = match (aims && reaches(bar.aim), reaches(bar.bar)) {
            (true, _) => "aim reached",
            (false, true) => "within the bar",
            (false, false) => "**misses the bar**",
        };
        let digits = match figure {
            figure if figure < 1.0 => 3,
            figure if figure < 10.0 => 2,
            figure => usize::from(figure < 100.0),
        };
        let rounded = |mark: f64| ((mark * 1e3).round() / 1e3).to_string();
        let (what, bar, aim) =
            (bar.what, rounded(bar.bar), if aims { rounded(bar.aim) } else { "-".to_owned() });
        let _ = writeln!(text, "| {what} | {figure:.digits$} | {bar} | {aim} | {word} |");
    }
    for (row, why) in skipped {
        let _ = writeln!(text, "\nSKIPPED: {}: {why}", row.name());
    }
    text
}

/// Today, in UTC.
fn date() -> String {
    let now = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    now.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The processor and the kernel.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {}, Linux {}", model.unwrap_or("an unknown CPU"), kernel.trim())
}
