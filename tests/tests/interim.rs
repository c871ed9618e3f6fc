//! Interim answers: the upstream's own 100 or final status decides, 102 and 103 pass.

use std::future::poll_fn;

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::client_http2::Client;
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{End, head};
use sealtap_tests::http2;
use sealtap_tests::records::{self, Exchange};
use sealtap_tests::upstream_http1::Upstream;

cases! {
    fn the_upstream_says_continue(path) {
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "2")]);
        let reply = [answer_head.as_slice(), b"ok"].concat();
        let gate = Gate::default();
        let ready = gate.clone();
        let bench = Bench::scripted(path, move |mut session| {
            let request = session.next_head().expect("a request comes");
            assert_eq!(request.one("expect"), Some("100-continue"));
            // Nobody else may say it: the client's body waits until this gate is open.
            assert!(session.is_silent());
            ready.wait(1);
            session.send("HTTP/1.1 100 Go ahead\r\nX-Why: because\r\n\r\n");
            session.rest_of_request(request);
            session.send(&reply);
            session.drain();
        });
        let fields = [("Expect", "100-continue"), ("Content-Length", "4")];
        let request = bench.head("POST", "/expect", &fields);
        let mut client = bench.client();
        client.send(&request);
        assert!(client.is_silent(), "nothing comes before the upstream has spoken");
        gate.open();
        let interim = client.head();
        assert_eq!(interim.raw, b"HTTP/1.1 100 Go ahead\r\nX-Why: because\r\n\r\n");
        client.send("body");
        let received = client.response("POST");
        assert!(received.interim.is_empty(), "100 comes once");
        drop(client);
        bench.finish(&[Call::new(request, "body", answer_head, "ok", &received)]);
    }

    fn the_upstream_refuses_the_body(path) {
        let answer_head = head(
            "HTTP/1.1 417 Expectation Failed", &[("Connection", "close"), ("Content-Length", "2")],
        );
        let reply = [answer_head.as_slice(), b"no"].concat();
        let bench = Bench::scripted(path, move |mut session| {
            let head = session.next_head().expect("a request comes");
            session.send(&reply);
            session.half_close();
            let body = session.body(head.request_framing()).finish();
            assert_eq!((body.content.length(), body.end), (0, End::Cut));
            session.log(sealtap_tests::http1::Message { interim: Vec::new(), head, body });
        });
        let fields = [("Expect", "100-continue"), ("Content-Length", "4")];
        let request = bench.head("POST", "/refused", &fields);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("POST");
        assert!(received.interim.is_empty());
        assert_eq!(received.body.end, End::Complete);
        // The client keeps its body, as it may.
        drop(client);
        let call = Call::new(request, "", answer_head, "no", &received)
            .ends("complete", "client_cancelled", "complete");
        bench.finish(&[call]);
    }

    fn a_client_that_does_not_wait(path) {
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "0")]);
        let reply = answer_head.clone();
        let bench = Bench::answering(path, move |session, _| session.send(&reply));
        let fields = [("Expect", "100-continue"), ("Content-Length", "4")];
        let request = bench.head("POST", "/impatient", &fields);
        let mut client = bench.client();
        client.send([request.as_slice(), b"body"].concat());
        let received = client.response("POST");
        assert!(received.interim.is_empty(), "no 100 that the upstream did not send");
        drop(client);
        bench.finish(&[Call::new(request, "body", answer_head, "", &received)]);
    }

    fn processing_and_early_hints_pass_at_once(path) {
        const INTERIM: [&str; 3] = [
            "HTTP/1.1 102 Processing\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b.js>\r\n\r\n",
            "HTTP/1.1 102 Still\r\nX-Progress: 50%\r\n\r\n",
        ];
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "4")]);
        let reply = [answer_head.as_slice(), b"done"].concat();
        let gate = Gate::default();
        let seen = gate.clone();
        let bench = Bench::scripted(path, move |mut session| {
            session.request();
            for (index, interim) in INTERIM.iter().enumerate() {
                session.send(interim);
                seen.wait(index as u64 + 1);
            }
            session.send(&reply);
            session.drain();
        });
        let request = bench.head("GET", "/hints", &[]);
        let mut client = bench.client();
        client.send(&request);
        for interim in INTERIM {
            assert_eq!(String::from_utf8_lossy(&client.head().raw), interim);
            gate.open();
        }
        let received = client.response("GET");
        drop(client);
        let exchanges = bench.finish(&[Call::new(request, "", answer_head, "done", &received)]);
        for exchange in exchanges {
            let shown = exchange.show();
            let text = shown.to_string();
            assert!(text.contains("Early Hints") && text.contains("</b.js>"), "{text}");
        }
    }

    fn an_interim_answer_in_pieces(path) {
        let answer_head = head("HTTP/1.1 204 Nothing", &[]);
        let reply = answer_head.clone();
        let bench = Bench::answering(path, move |session, _| {
            for piece in ["HTTP/1.1 1", "03 Early", "\r", "\nA: b\r\n", "\r\nHTTP/1"] {
                session.send(piece);
            }
            session.send(&reply[6..]);
        });
        let request = bench.head("GET", "/pieces", &[]);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        assert_eq!(received.interim.len(), 1);
        assert_eq!(received.interim[0].raw, b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n");
        drop(client);
        bench.finish(&[Call::new(request, "", answer_head, "", &received)]);
    }
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </seen.css>\r\n\r\n";

/// The record binds the hint that the client saw, and there is no response.
fn only_a_hint(exchange: &Exchange, outcome: &str) {
    assert_eq!(exchange.text("/outcome"), outcome, "{}", exchange.json);
    assert!(exchange.json["response"].is_null() && exchange.json["status"].is_null());
    let shown = exchange.show();
    assert_eq!(shown["interim"][0]["status"], 103, "{shown}");
    assert_eq!(shown["interim"][0]["headers"][0][1], "</seen.css>", "{shown}");
}

/// An upstream that says one hint and then nothing more.
fn hinting() -> Upstream {
    Upstream::start(|mut session| {
        if session.next_request().is_some() {
            session.send(HINT);
            session.drain();
        }
    })
}

/// What a client saw before a crash is bound, final head or not: the next start seals it.
#[test]
fn a_hint_and_then_a_crash() {
    let upstream = hinting();
    let start = |url: String| Options::default().upstream("up", url);
    let gateway = start(upstream.url()).start();
    let mut client = sealtap_tests::wire::Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().raw, HINT.as_bytes());
    // A hint passes at once; what the crash must keep is in the journal soon after.
    let home = gateway.home().clone();
    poll("the hint in the journal", || {
        let rows = records::list(&home);
        let shown = rows.first()?.show();
        (shown["interim"][0]["status"] == 103).then_some(())
    });
    let home = gateway.crash();
    drop(client);
    let gateway = start(upstream.url()).start_in(home);
    only_a_hint(&gateway.wait_sealed(1)[0], "interrupted");
    gateway.finish();
    upstream.finish();
}

/// The same where the client leaves.
#[test]
fn a_hint_and_then_no_client() {
    let upstream = hinting();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("GET", "/up/x", &[]);
        let (mut response, mut stream) = client.start(request, true).await;
        let hint = poll_fn(|context| response.poll_informational(context)).await;
        assert_eq!(hint.expect("a hint").expect("a head").status(), 103);
        stream.send_reset(h2::Reason::CANCEL);
        drop((response, stream));
        client.close().await;
    });
    only_a_hint(&gateway.finish()[0], "client_cancelled");
    upstream.finish();
}

/// And where the upstream leaves: the gateway's own answer follows what it had said.
#[test]
fn a_hint_and_then_no_upstream() {
    let upstream = Upstream::start(|mut session| {
        session.request();
        session.send(HINT);
        session.into_wire().close();
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let mut client = bench.client();
    client.send(bench.head("POST", "/x", &[("Content-Length", "0")]));
    let answer = client.response("POST");
    assert_eq!((answer.status(), answer.interim.len()), (502, 1));
    drop(client);
    let (exchanges, _) = bench.stop();
    let shown = exchanges[0].show();
    assert_eq!(exchanges[0].text("/outcome"), "upstream_failed");
    assert_eq!(shown["interim"][0]["status"], 103, "{shown}");
    assert_eq!(shown["response"]["source"], "gateway", "{shown}");
}

/// Hints without end are cut off while no final head is out, whatever the client speaks: there is no
/// flow control for them, so only a bound keeps them out of memory.
fn endless(hint: String, most: usize, options: Options, http2: bool) {
    let upstream = Upstream::start(move |mut session| {
        session.request();
        // Until the gateway has had enough.
        while session.try_send(&hint).is_ok() {}
    });
    let gateway = options.upstream("up", upstream.url()).start();
    let seen = if http2 {
        http2::run(async {
            let mut client = Client::connect(gateway.address()).await;
            let request = client.head("GET", "/up/x", &[]);
            let (mut response, stream) = client.start(request, true).await;
            let mut seen = 0;
            while let Some(hint) = poll_fn(|context| response.poll_informational(context)).await {
                assert_eq!(hint.expect("a head").status(), 103);
                seen += 1;
            }
            let answer = response.await.expect("an answer");
            assert_eq!(answer.status(), 502);
            http2::read(answer.into_body()).await;
            drop(stream);
            client.close().await;
            seen
        })
    } else {
        let mut client = sealtap_tests::wire::Wire::connect(gateway.address());
        client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = client.response("GET");
        assert_eq!(answer.status(), 502);
        let json: serde_json::Value = serde_json::from_slice(answer.bytes()).expect("JSON");
        assert_eq!(json["error"]["code"], "upstream_protocol", "{json}");
        answer.interim.len()
    };
    assert_eq!(seen, most);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/outcome"), "upstream_failed", "{}", exchanges[0].json);
    assert_eq!(exchanges[0].text("/error"), "upstream_protocol", "{}", exchanges[0].json);
    let shown = exchanges[0].show();
    assert_eq!(shown["interim"].as_array().map(Vec::len), Some(most), "{shown}");
    upstream.finish();
}

#[test]
fn hints_without_end() {
    for http2 in [false, true] {
        endless(HINT.to_owned(), 64, Options::default(), http2);
    }
}

#[test]
fn long_hints_without_end() {
    // Four of them are below 256 KiB.
    let line = format!("Link: <{}>\r\n", "x".repeat(8000));
    let hint = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", line.repeat(7));
    for http2 in [false, true] {
        endless(hint.clone(), 4, Options::default(), http2);
    }
}

/// Behind a hint the upstream's silences are measured as they are within a body.
#[test]
fn a_hint_and_then_silence() {
    let upstream = hinting();
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[timeouts]\nbetween_bytes = \"200ms\"\n")
        .start();
    let mut client = sealtap_tests::wire::Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.response("GET");
    assert_eq!((answer.status(), answer.interim.len()), (504, 1));
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/error"), "upstream_timeout", "{}", exchanges[0].json);
    upstream.finish();
}
