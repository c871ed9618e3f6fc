use super::*;

fn heads() -> Heads {
    Heads::new(Box::new(|host| host.trim_end_matches('.') == "model.example"))
}

/// What is seen of it, whole and byte by byte.
fn saw(bytes: &[u8]) -> Saw {
    let whole = heads().look(bytes);
    let mut single = heads();
    let all = bytes.iter().map(|byte| single.look(&[*byte])).max();
    assert_eq!(all, Some(whole), "{}", bytes.escape_ascii());
    whole
}

const OTHER: &str = "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";

#[test]
fn a_captured_host_is_seen_however_it_is_spelled() {
    for field in [
        "Host: model.example",
        "host:MODEL.example.",
        "HOST \t: model.example:8080",
        "Host:\r\n model.example",
        "Host:\r\n\t\r\n model.example",
        "Host: other.example\r\n ,model.example",
        "Host: other.example\r\nHost: model.example",
        "Host: other.example, model.example",
        "Host: me@model.example",
        "Host: model.example:port",
        "Host: model.example/x",
        "Host: model.example/@x",
        "Host:\u{b}model.example",
        "X: y\rHost: model.example",
        "X: y\r\r\nHost: model.example",
        "X: y\r\n\r\r\nHost: model.example",
        "X: y\r\n \r\nHost: model.example",
        " Host: model.example",
        "Host\r\n : model.example",
        "Host: a\r\n b\r\n\tmodel.example",
    ] {
        for (before, line) in [
            ("", "GET / HTTP/1.1"),
            ("\r\n\n", "GET /"),
            (OTHER, "GET / HTTP/1.1"),
            (OTHER, "PURGE\t/\thttp/1.1 "),
            (OTHER, "bodyPOST / HTTP/1.0"),
            (OTHER, "\r\nPOST / HTTP/1.1 x"),
            (OTHER, "POST / RTSP/1.0"),
        ] {
            let all = format!("{before}{line}\r\n{field}\r\n\r\n");
            assert_eq!(saw(all.as_bytes()), Saw::Captured, "{all:?}");
            let bare = all.replace("\r\n", "\n");
            // Else it is another text.
            if !bare.contains('\r') {
                assert_eq!(saw(bare.as_bytes()), Saw::Captured, "{bare:?}");
            }
        }
    }
    for line in [
        "GET http://model.example",
        "GET http://model.example/x?y HTTP/1.1",
        "GET HTTP://x@Model.Example:80/ HTTP/1.1",
        "GET ws://model.example/ HTTP/1.1",
        "GET http://model.example\\@x/ HTTP/1.1",
        "GET http://model.example/a b HTTP/1.1",
        "CONNECT model.example:443 HTTP/1.0",
        "connect\tmodel.example:443",
    ] {
        assert_eq!(saw(format!("{line}\r\n").as_bytes()), Saw::Captured, "{line}");
    }
    for line in
        ["GET http://model.example/", "GET http://model.example/a b", "CONNECT model.example"]
    {
        let later = format!("{OTHER}body{line} HTTP/1.1\r\n");
        assert_eq!(saw(later.as_bytes()), Saw::Captured, "{line}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: {}\r\n", "x,".repeat(HOSTS + 1));
    assert_eq!(saw(many.as_bytes()), Saw::Captured);
}

#[test]
fn what_names_none_passes() {
    for body in [
        "",
        "Host: model.example\r\n",
        "{\"text\": \"POST https://model.example/v1 HTTP/1.1\\nHost: model.example\"}\r\n",
        "POST / HTTP/1.1\r\n\r\nHost: model.example\r\n",
        "POST / HTTP/1.1\r\n> Host: model.example\r\n",
        "POST / HTTP/1.1\r\nX-Host: model.example\r\nHost: notmodel.example\r\n",
        "see http://model.example and HTTP/1.1 too\r\n",
    ] {
        let all = format!("{OTHER}{body}{OTHER}");
        assert_eq!(saw(all.as_bytes()), Saw::Nothing, "{all:?}");
    }
    assert_eq!(saw(b"GET model.example\r\nGET key\r\n"), Saw::Nothing);
    assert_eq!(saw(b"\xff\x00\n\n\xfe HTTP/\xff\nhost:\xff\n"), Saw::Nothing);
}

/// A client that ends its side in the middle of a head, behind a line that is not ended, has named a host all
/// the same.
#[test]
fn a_name_counts_without_the_end_of_its_line() {
    let captured = |head: &[u8]| captured_by_host(heads().captures, head);
    for head in [
        b"GET / HTTP/1.1\r\nHost: model.example".as_slice(),
        b"GET / HTTP/1.1\nHost: other.example\nHost: model.example\r",
        b"GET http://model.example/ HTTP/1.1",
        b"CONNECT model.example:443",
    ] {
        assert_eq!(heads().look(head), Saw::Nothing, "{}: the line may go on", head.escape_ascii());
        assert!(captured(head), "{}", head.escape_ascii());
    }
    assert!(!captured(b"GET / HTTP/1.1\r\nHost: other.example"));
    assert!(!captured(b"GET / HTTP/1.1\r\nHost: model.exampl"));
}

/// Names of HTTP/2 are not read.
#[test]
fn what_becomes_http2_says_so() {
    let upgraded = format!("{OTHER}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(saw(upgraded.as_bytes()), Saw::Undecided);
    // What only looks like it hides nothing.
    let text = format!("{upgraded}GET / HTTP/1.1\r\nHost: model.example\r\n");
    assert_eq!(saw(text.as_bytes()), Saw::Captured);
}

#[test]
fn a_line_without_end_takes_no_more_room() {
    for mut heads in [heads(), Heads::within(heads().captures)] {
        for _ in 0..64 {
            assert_eq!(heads.look(&[b'x'; LINE / 8]), Saw::Nothing);
            assert!(heads.line.len() <= 2 * FIRST_LINE && heads.line.capacity() <= 8 * FIRST_LINE);
        }
        let line = b" POST http://model.example/ HTTP/1.1\r\n";
        assert_eq!(heads.look(line), Saw::Captured);
    }
}

#[test]
fn a_name_is_seen_before_any_number_of_blanks() {
    let mut heads = heads();
    assert_eq!(heads.look(b"GET / HTTP/1.1\r\nHost: model.example"), Saw::Nothing);
    let saw = (0..16).map(|_| heads.look(&[b' '; LINE / 4])).max();
    assert_eq!(saw, Some(Saw::Captured));
}

#[test]
fn what_no_server_takes_for_a_head_is_none() {
    let mut heads = heads();
    assert_eq!(heads.look(b"log of x HTTP/1.1\n"), Saw::Nothing);
    for _ in 0..=HEAD / 64 {
        assert_eq!(heads.look(&[[b'y'; 63].as_slice(), b"\n"].concat()), Saw::Nothing);
    }
    assert_eq!(heads.look(b"host: model.example\n"), Saw::Nothing);
}

#[test]
fn what_was_open_may_still_become_what_is_captured() {
    for whole in [b"PURGE /x HTTP/1.1\r\n".as_slice(), b"\x80\x2e\x01\x03", b"\r\nGET /"] {
        let mut beginning = Beginning::new(true);
        let (last, first) = whole.split_last().unwrap();
        let all = first.iter().map(|byte| beginning.look(&[*byte])).collect::<Vec<_>>();
        // A known method is one at its blank.
        assert!(all.ends_with(&[Saw::Captured]) || beginning.look(&[*last]) == Saw::Captured);
    }
    let mut beginning = Beginning::new(true);
    for bytes in [b"PING".as_slice(), b"\r\n", b"GET / HTTP/1.1\r\n"] {
        assert_eq!(beginning.look(bytes), Saw::Nothing);
    }
    assert!(beginning.seen.is_empty());
}
