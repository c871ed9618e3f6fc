//! What people are told: in lines that align, and that steer no terminal.

use std::io;
use std::path::Path;

use sealtap_common::Id;
use sealtap_common::leaf::Ranges;
use sealtap_common::unit::{Maker, NotedBy, ProcessSeen};

use super::super::{Format, Paint, QueryError, people};
use super::{Journal, KEY, Sample, ls, put, query, rich, show_people};
use crate::seal::aside::SealedAside;
use crate::seal::connections::KeptUnit;
use crate::store::tests::fixture::{octets, plain, request_head};
use crate::store::{Slot, Store};

#[test]
fn show_tells_people_what_changed_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let sealed = rich(&mut journal);
    put(directory.path(), std::slice::from_ref(&sealed), &mut journal);
    let text = show_people(&mut query(directory.path()), "nightly");
    for line in [
        "- Connection: keep-alive",
        "  X-Twice: 2",
        "  Authorization: <secret WlpaWlpa>",
        "103 Early  HTTP/1.1  (interim)",
        "  Grpc-Status: 0",
        "- X-Hop: 1",
        "  body 100.0 kB (100000 bytes), complete, bytes/1 in 2 segments",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
    assert!(text.contains("--body response"), "{text}");
}

#[test]
fn nothing_captured_steers_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\r\n\u{202e}";
    let fields = [octets("X-Evil", evil)];
    let target = vec![plain(&format!("/{evil}"))];
    let sealed = Sample::new(0)
        .run_name("\u{1b}[2J")
        .unit(Slot::RequestHead, request_head("GET", target, &fields, &[]))
        .bodies(&mut journal, b"", b"ok");
    put(directory.path(), &[sealed], &mut journal);
    let mut query = query(directory.path());
    let mut out = Vec::new();
    query.list(None, Format::People(Paint::Plain), &mut out).unwrap();
    query.show("\u{1b}[2J", Format::People(Paint::Plain), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
    assert!(text.contains("\\u{1b}]0;owned"), "{text}");
}

/// Only where the kernel led connections here is there anything to say of who made them.
#[test]
fn ls_for_people_says_who_made_the_connections() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch: Vec<_> = (1..=3)
        .map(|leaf| Sample::new(leaf).led().bodies(&mut journal, b"question", b"answer"))
        .collect();
    put(directory.path(), &batch, &mut journal);
    let text = |directory: &Path| {
        let mut out = Vec::new();
        query(directory).list(None, Format::People(Paint::Plain), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(!text(directory.path()).contains("MADE BY"));
    let aside = |leaf: u64, executable: Option<&str>, number: u64| {
        let octets = |text: &str| Some(std::borrow::Cow::Owned(text.as_bytes().to_vec()));
        let process = executable.map(|executable| ProcessSeen {
            executable: octets(executable),
            ..ProcessSeen::default()
        });
        let noted = Some(NotedBy { process: 4_000 + number, user: None });
        let maker = Maker { noted, process, ..Maker::default() };
        let unit = Some(KeptUnit { key: [9; 32], bytes: maker.encode() });
        let carried = Some((Id(batch[0].boot), Ranges::from_numbers([number])));
        SealedAside { leaf, unit, carried, held: None, sealed: 1, weight: 0 }
    };
    let asides = [
        aside(7, Some("/usr/bin/curl\u{1b}[2J"), batch[0].number),
        aside(8, None, batch[1].number),
    ];
    Store::open(directory.path(), &KEY).unwrap().put_asides(&asides).unwrap();
    let text = text(directory.path());
    let lines: Vec<_> = text.lines().collect();
    let column = lines[0].find("MADE BY").unwrap();
    // Aligned by characters: what cannot be printed is shown by one that can.
    let from = |line: &str, column: usize| line.chars().skip(column).collect::<String>();
    let made = |line: usize| from(lines[line], column);
    assert!(made(1).starts_with("curl") && !made(1).contains('\u{1b}'), "{text}");
    assert!(made(1).contains(&format!(" {} ", 4_000 + batch[0].number)), "{text}");
    assert!(made(2).starts_with(&format!("? {} ", 4_000 + batch[1].number)), "{text}");
    assert!(made(3).starts_with("- "), "{text}");
    let what = lines[0].find("WHAT").unwrap();
    let is_aligned = |line: &&str| from(line, what).starts_with("POST https");
    assert!(lines[1..].iter().all(is_aligned), "{text}");
}

#[test]
fn ls_for_people_is_aligned_and_coloured_only_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch: Vec<_> = (0..450_u16)
        .map(|number| {
            let leaf = u64::from(number);
            let sample = Sample::new(leaf).run(u8::try_from(leaf % 3).unwrap());
            let sample = if leaf == 449 { sample.no_response() } else { sample };
            sample.bodies(&mut journal, &vec![b'q'; usize::from(number) * 40], b"answer")
        })
        .collect();
    put(directory.path(), &batch, &mut journal);
    let mut query = query(directory.path());
    let mut plain = Vec::new();
    assert_eq!(query.list(None, Format::People(Paint::Plain), &mut plain).unwrap(), 450);
    let plain = String::from_utf8(plain).unwrap();
    let lines: Vec<_> = plain.lines().collect();
    assert_eq!(lines.len(), 451);
    assert!(lines[0].starts_with("STARTED (UTC)"), "{}", lines[0]);
    let column = lines[0].find("WHAT").unwrap();
    assert!(lines[1..200].iter().all(|line| line[column..].starts_with("POST https")));
    assert!(lines[450].contains("upstream_failed"), "{}", lines[450]);
    assert!(!plain.contains('\u{1b}'));
    let mut colour = Vec::new();
    query.list(None, Format::People(Paint::Colour), &mut colour).unwrap();
    assert!(String::from_utf8(colour).unwrap().contains("\u{1b}["));
    assert_eq!(ls(&mut query, Some(&"01".repeat(16))).len(), 150);
    assert!(matches!(query.list(Some("0"), Format::Json, &mut io::sink()),
        Err(QueryError::Ambiguous { candidates, .. }) if candidates.len() == 3));
    assert!(matches!(
        query.list(Some("nobody"), Format::Json, &mut io::sink()),
        Err(QueryError::NotFound { .. })
    ));
}

#[test]
fn sizes_and_durations_read_well() {
    let sizes = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB")];
    for (bytes, text) in sizes.into_iter().chain([(999_950, "1.0 MB"), (999_949, "999.9 kB")]) {
        assert_eq!(people::size(bytes), text);
    }
    assert_eq!(people::size(u64::MAX), "18446.7 PB");
    for (nanoseconds, text) in [
        (0, "0 us"),
        (1_499, "1 us"),
        (999_499, "999 us"),
        (999_500, "1.0 ms"),
        (12_345_678, "12.3 ms"),
        (999_950_000, "1.0 s"),
        (59_949_999_999, "59.9 s"),
        (59_950_000_000, "1 min 0 s"),
        (3_599_499_999_999, "59 min 59 s"),
        (3_600_000_000_000, "1 h 0 min"),
    ] {
        assert_eq!(people::duration(nanoseconds), text);
    }
}
