//! HTTP/2 on both sides: fields, targets, interim answers, answers without a body.

use std::future::poll_fn;
use std::sync::Arc;

use http::HeaderMap;
use sealtap_tests::bench_http2::{Bench, grpc, record};
use sealtap_tests::cases;
use sealtap_tests::client_http2::{Client, answer};
use sealtap_tests::content::Content;
use sealtap_tests::gateway::Options;
use sealtap_tests::http2::{fields, run};

cases! {
    fn heads_keep_their_fields(path) {
        let many: Vec<(String, String)> =
            (0..1000).map(|index| (format!("x-field-{index}"), format!("value {index}"))).collect();
        let sent = Arc::new(many);
        let answered = Arc::clone(&sent);
        let bench = Bench::new(path, move |mut exchange| {
            let answered = Arc::clone(&answered);
            async move {
                exchange.read().await;
                let mut all: Vec<(&str, &str)> = vec![("set-cookie", "a=1"), ("vary", "x"), ("set-cookie", "b=2")];
                all.extend(answered.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                exchange.answer(404, &all, true);
            }
        });
        run(async {
            let mut client = bench.client().await;
            let mut all = vec![("x-twice", "1"), ("x-between", "2"), ("x-twice", "3"), ("cookie", "a=1"), ("cookie", "b=2")];
            all.extend(sent.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let request = client.head("GET", &bench.target("/fields"), &all);
            let answer = client.call(request, b"", None).await;
            assert_eq!(answer.status(), 404);
            let mut expected = HeaderMap::new();
            for (name, value) in [("set-cookie", "a=1"), ("vary", "x"), ("set-cookie", "b=2")] {
                expected.append(name, value.parse().expect("a value"));
            }
            for (name, value) in sent.iter() {
                let name: http::HeaderName = name.parse().expect("a name");
                expected.append(name, value.parse().expect("a value"));
            }
            assert_eq!(fields(&answer.head.headers), fields(&expected));
            client.close().await;
        });
        let (_, requests) = bench.finish();
        let got = fields(&requests[0].0.headers);
        let start: Vec<(&str, &str)> =
            got.iter().take(5).map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // The `h2` crate groups the values of one name; nothing else is between.
        let expected =
            [("x-twice", "1"), ("x-twice", "3"), ("x-between", "2"), ("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(start, expected);
        assert_eq!(got[5..], sent[..]);
    }

    fn odd_targets(path) {
        let targets = ["/", "//a//", "/a/../b", "/%00%2f", "/?", "/a?b?c", "/a;b=c", "/x?a=%20&a=+", "/*", "/~!$&'()*,=:@"];
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            exchange.answer(204, &[], true);
        });
        run(async {
            let mut client = bench.client().await;
            for target in targets {
                let request = client.head("GET", &bench.target(target), &[]);
                assert_eq!(client.call(request, b"", None).await.status(), 204, "{target}");
            }
            client.close().await;
        });
        let authority = bench.upstream.authority();
        for ((head, _), target) in bench.finish().1.iter().zip(targets) {
            assert_eq!(head.uri.path_and_query().expect("a path").as_str(), target);
            assert_eq!(head.uri.authority().expect("an authority").as_str(), authority);
            assert_eq!(head.uri.scheme_str(), Some("http"));
        }
    }

    fn heads_without_bodies(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            let status = if exchange.head.method == "HEAD" { 200 } else { 304 };
            exchange.answer(status, &[("content-length", "5000"), ("etag", "\"x\"")], true);
        });
        run(async {
            let mut client = bench.client().await;
            for (method, status) in [("HEAD", 200), ("GET", 304)] {
                let request = client.head(method, &bench.target("/none"), &[]);
                let answer = client.call(request, b"", None).await;
                assert_eq!((answer.status(), answer.content().length()), (status, 0));
                assert_eq!(answer.head.headers["content-length"], "5000");
                assert_eq!(answer.body.reset, None);
            }
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::default(), &Content::default());
        }
    }

    fn an_answer_of_a_head_alone(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            exchange.answer(200, &[("grpc-status", "12")], true);
        });
        run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/alone"), &[]);
            let answer = client.call(request, &grpc(b"x"), None).await;
            assert_eq!(answer.head.headers["grpc-status"], "12");
            assert_eq!((answer.content().length(), answer.body.reset), (0, None));
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::of(grpc(b"x")), &Content::default());
        }
    }

    fn interim_answers_pass(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            for (status, value) in [(102, "a"), (103, "</style.css>; rel=preload")] {
                let interim = http::Response::builder().status(status).header("link", value);
                exchange.respond.send_informational(interim.body(()).expect("sound")).expect("taken");
            }
            exchange.read().await;
            exchange.answer(200, &[], true);
        });
        run(async {
            let mut client = bench.client().await;
            let request = client.head("GET", &bench.target("/hints"), &[]);
            let (mut response, _) = client.start(request, true).await;
            let mut seen = Vec::new();
            while let Some(interim) = poll_fn(|context| response.poll_informational(context)).await {
                let interim = interim.expect("an interim answer");
                seen.push((interim.status().as_u16(), fields(interim.headers())));
            }
            let link = |value: &str| vec![("link".to_owned(), value.to_owned())];
            assert_eq!(seen, [(102, link("a")), (103, link("</style.css>; rel=preload"))]);
            assert_eq!(answer(response).await.status(), 200);
            client.close().await;
        });
        bench.finish();
    }
}

/// What the gateway answers by itself, it answers in HTTP/2 as well.
#[test]
fn an_unknown_name() {
    let gateway = Options::default().start();
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/nowhere/x", &[]);
        let answer = client.call(request, b"a body nobody wants", None).await;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.head.headers["content-type"], "application/json");
        let text = String::from_utf8_lossy(answer.content().bytes()).into_owned();
        assert!(text.contains("openai"), "{text}");
        client.close().await;
    });
    let records = gateway.finish();
    assert_eq!(records[0].text("/outcome"), "refused");
}
