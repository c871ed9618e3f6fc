use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex};

use super::*;

fn welcome_to(address: &str) -> Welcome {
    Welcome {
        address: address.parse().unwrap(),
        observe: None,
        tls: false,
        upstreams: vec!["local".to_owned(), "openai".to_owned()],
        data: PathBuf::from("sealtap-data"),
        origin: "example.com/log".to_owned(),
        durability: "strict",
    }
}

fn exchange(id: &str) -> Finished {
    Finished {
        id: id.to_owned(),
        run: "r".to_owned(),
        started_us: 1_700_000_000_123_456,
        method: "POST".to_owned(),
        url: "https://api.openai.com/v1/chat/completions".to_owned(),
        status: Some(200),
        outcome: "complete",
        error: None,
        request_bytes: 1234,
        response_bytes: 65_536,
        duration_ns: 812_345_678,
        ttfb_ns: Some(102_300_000),
        leaf: None,
        ingress: "reverse",
        tunnel: None,
    }
}

/// Text without what colours it.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn line(finished: &Finished) -> String {
    let mut text = String::new();
    text::finished(&mut text, finished);
    plain(&text)
}

#[test]
fn columns_stay_aligned() {
    assert_eq!(
        line(&exchange("a")),
        "22:13:20.123Z  200  POST       1.2 KiB >  64.0 KiB    812 ms (  102 ms)  pending  \
         https://api.openai.com/v1/chat/completions\n"
    );
    let refused = Finished {
        method: "DELETE".to_owned(),
        url: "/nope".to_owned(),
        status: None,
        outcome: "refused",
        error: Some("unknown_upstream"),
        request_bytes: 0,
        response_bytes: 3 << 30,
        duration_ns: 65_000_000_000,
        ttfb_ns: None,
        leaf: Some(1234),
        ..exchange("b")
    };
    assert_eq!(
        line(&refused),
        "22:13:20.123Z  ---  DELETE         0 B >   3.0 GiB    1m 05s (       -)    #1234  \
         /nope  refused  unknown_upstream\n"
    );
}

#[test]
fn numbers_read_well_at_their_edges() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        ((1 << 20) - 1, "1023.9 KiB"),
        (u64::MAX, "17179869183.9 GiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
    for (nanoseconds, text) in [
        (0, "0.0 ms"),
        (99_999_999, "99.9 ms"),
        (100_000_000, "100 ms"),
        (1_000_000_000, "1.0 s"),
        (59_999_999_999, "59.9 s"),
        (60_000_000_000, "1m 00s"),
    ] {
        assert_eq!(duration(nanoseconds), text);
    }
    assert_eq!(time(u64::MAX), "--:--:--.---Z");
}

#[test]
fn a_target_cannot_command_the_terminal() {
    assert_eq!(
        shown("/a\u{1b}[2J\r\n\u{9b}\u{202e}b\u{e9}"),
        "/a\\u{1b}[2J\\u{d}\\u{a}\\u{9b}\\u{202e}b\u{e9}"
    );
}

#[test]
fn the_welcome_teaches_an_address_that_can_be_reached() {
    let mut text = String::new();
    text::welcome(&mut text, &welcome_to("0.0.0.0:4141"));
    let text = plain(&text);
    assert!(text.contains("listens on 0.0.0.0:4141 (strict)"), "{text}");
    assert!(text.contains("export OPENAI_BASE_URL=http://127.0.0.1:4141/openai/v1"), "{text}");
    assert!(text.lines().count() <= 6);
}

/// Shares what is written to it; writing waits while the gate is shut.
#[derive(Clone, Default)]
struct Output {
    written: Arc<Mutex<Vec<u8>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    waiting: Option<Sender<()>>,
}

impl Output {
    fn shut(&self, shut: bool) {
        *self.gate.0.lock().unwrap() = shut;
        self.gate.1.notify_all();
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let written = self.written.lock().unwrap();
        written
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// The lines once there are so many: the end waits for them for a moment only, and the printer may be slow.
    fn once(&self, count: usize) -> Vec<serde_json::Value> {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            assert!(std::time::Instant::now() < deadline, "{lines:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shut = self.gate.0.lock().unwrap();
        if let (true, Some(waiting)) = (*shut, &self.waiting) {
            let _ = waiting.send(());
        }
        drop(self.gate.1.wait_while(shut, |shut| *shut).unwrap());
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn piped_lines_are_json_and_begin_with_the_address() {
    let output = Output::default();
    let live = Live::start_on(output.clone(), Form::Json, welcome_to("127.0.0.1:4141"), 8).unwrap();
    live.lines().show(exchange("e1"));
    live.finish();
    let lines = output.once(2);
    assert_eq!(lines[0]["event"], "listening");
    assert_eq!(lines[0]["address"], "127.0.0.1:4141");
    assert_eq!(lines[1]["event"], "exchange");
    assert_eq!(lines[1]["request"]["bytes"], 1234);
    assert_eq!(lines[1]["response"]["ttfb_ns"], 102_300_000);
    assert_eq!(lines[1]["leaf"], serde_json::Value::Null);
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_blocked_terminal_costs_lines_and_says_how_many_but_never_waits() {
    let (waiting, blocked) = std::sync::mpsc::channel();
    let output = Output { waiting: Some(waiting), ..Output::default() };
    output.shut(true);
    let live = Live::start_on(output.clone(), Form::Json, welcome_to("127.0.0.1:4141"), 4).unwrap();
    blocked.recv_timeout(Duration::from_secs(60)).unwrap();
    let lines = live.lines();
    for index in 0..100 {
        lines.show(exchange(&index.to_string()));
    }
    output.shut(false);
    drop(lines);
    live.finish();
    // The welcome, how many are missing, and the four.
    let printed = output.once(6);
    let shown = printed.iter().filter(|line| line["event"] == "exchange").count();
    let dropped: u64 = printed.iter().filter_map(|line| line["lines"].as_u64()).sum();
    assert_eq!(shown, 4, "the queue holds four");
    assert_eq!(dropped, 96);
}

#[test]
fn a_printer_that_stays_blocked_does_not_hold_the_end_up() {
    let output = Output::default();
    output.shut(true);
    let live = Live::start_on(output.clone(), Form::Text, welcome_to("127.0.0.1:4141"), 4).unwrap();
    let before = std::time::Instant::now();
    live.finish();
    // Two seconds are waited; it stays shut until then.
    assert!(before.elapsed() < Duration::from_secs(5));
    output.shut(false);
}

/// A datagram that goes around is told of twice, and the lines say which is which.
#[test]
fn a_send_and_its_packet_are_told_apart() {
    let around = |packet, process| Around {
        at_us: 1_700_000_000_123_456,
        destination: SocketAddr::from(([192, 0, 2, 1], 53)),
        process,
        executable: (process != 0).then(|| "/bin/x\u{1b}[2J".to_owned()),
        way: "udp".to_owned(),
        packet,
        denied: packet,
    };
    let told = |around: &Around| {
        let (mut text, mut object) = (String::new(), String::new());
        text::around(&mut text, around);
        json::around(&mut object, around);
        (plain(&text), serde_json::from_str::<serde_json::Value>(&object).unwrap())
    };
    let (text, object) = told(&around(false, 7));
    assert!(text.contains("AROUND  connect udp   192.0.2.1:53 by process 7 (/bin/x"), "{text}");
    assert_eq!((&object["unit"], &object["way"]), (&"connect".into(), &"udp".into()), "{object}");
    assert_eq!((&object["process"], object["socket_of"].is_null()), (&7.into(), true), "{object}");
    let (text, object) = told(&around(true, 7));
    assert!(text.contains("DENIED  packet  udp   192.0.2.1:53 by a socket of process 7"), "{text}");
    assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    assert_eq!((&object["socket_of"], object["process"].is_null()), (&7.into(), true), "{object}");
    let (text, object) = told(&around(false, 0));
    assert!(text.ends_with("by a process that is not known\n"), "{text}");
    assert!(object["process"].is_null() && object["socket_of"].is_null(), "{object}");
}
