//! Secrets: keys and cookies reach the upstream and no file of the gateway.

use std::path::Path;

use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// Long enough, and unlike anything else, to be found wherever they would be.
const SECRETS: [&str; 9] = [
    "sk-authorization-7f3a9c1e5b",
    "xapikey-2d8e6f4a0c1b",
    "cookie-a-9b7d5f3e1c",
    "cookie-b-8a6c4e2f0d",
    "setcookie-1f3d5b7a9c",
    "querykey-6e4c2a0f8d",
    "basic-5d7f9b1a3c",
    "configured-header-4b6d8f0a2c",
    "configured-query-3a5c7e9f1d",
];

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory can be listed") {
        let entry = entry.expect("an entry can be read");
        if entry.file_type().expect("an entry has a type").is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn assert_absent(bytes: &[u8], place: &str) {
    for secret in SECRETS {
        let found = memchr::memmem::find(bytes, secret.as_bytes());
        assert!(found.is_none(), "{secret} stands in {place}");
    }
}

fn assert_files_clean(directory: &Path) {
    let mut found = Vec::new();
    files(directory, &mut found);
    assert!(found.len() > 5, "{found:?}");
    for path in found {
        // A running gateway may have replaced it meanwhile.
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert_absent(&bytes, &path.display().to_string());
    }
}

#[test]
fn no_file_holds_a_secret() {
    let upstream = Upstream::answering(|session, request| {
        // Everything arrives.
        let raw = String::from_utf8_lossy(&request.head.raw).into_owned();
        for (index, secret) in SECRETS.iter().enumerate().filter(|(index, _)| *index != 4) {
            assert!(raw.contains(secret), "secret {index} did not reach the upstream");
        }
        session.send(head(
            "HTTP/1.1 200 OK",
            &[("Set-Cookie", &format!("id={}; Path=/", SECRETS[4])), ("Content-Length", "4")],
        ));
        session.send("body");
    });
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[secrets]\nheaders = [\"X-House-Key\"]\nquery = [\"house\"]\n")
        .start();
    let mut client = Wire::connect(gateway.address());
    let target = format!("/up/v1?a=1&key={}&house={}&b=2", SECRETS[5], SECRETS[8]);
    let request = head(
        format!("POST {target} HTTP/1.1"),
        &[
            ("Host", "x"),
            ("Authorization", &format!("Bearer {}", SECRETS[0])),
            ("x-api-key", SECRETS[1]),
            ("Cookie", &format!("a={}; b={}", SECRETS[2], SECRETS[3])),
            ("Proxy-Authorization", &format!("Basic {}", SECRETS[6])),
            ("X-House-Key", SECRETS[7]),
            ("X-Plain", "plainvalue"),
            ("Content-Length", "4"),
        ],
    );
    client.send(&request);
    client.send("body");
    let answer = client.response("POST");
    assert!(answer.head.one("set-cookie").is_some_and(|value| value.contains(SECRETS[4])));
    // A request that is refused names secrets too.
    let mut refused = Wire::connect(gateway.address());
    refused.send(head(
        format!("GET /nowhere?key={} HTTP/1.1", SECRETS[5]),
        &[("Host", "x"), ("Authorization", SECRETS[0])],
    ));
    assert_eq!(refused.response("GET").status(), 404);
    drop((client, refused));
    gateway.wait_sealed(2);
    // While it runs, the journal may hold what was not stored yet.
    assert_files_clean(gateway.home().path());
    let live = gateway.live().iter().map(ToString::to_string).collect::<String>();
    assert_absent(live.as_bytes(), "the live lines");
    let home = std::sync::Arc::clone(gateway.home());
    let exchanges = gateway.finish();
    assert_files_clean(home.path());
    for exchange in &exchanges {
        // What is stored compressed comes out here as it went in.
        let shown = exchange.show().to_string();
        assert_absent(shown.as_bytes(), "show --json");
        assert_absent(exchange.json.to_string().as_bytes(), "ls --json");
    }
    let shown = exchanges[0].show().to_string();
    assert!(
        shown.contains("plainvalue") && shown.to_lowercase().contains("x-house-key"),
        "{shown}"
    );
    upstream.finish();
}

/// Whatever messages are asked for, the libraries' included: no line has a secret or a body in it, and
/// those of our own are there.
#[test]
fn no_message_holds_a_secret_at_any_level() {
    let body = "body-of-a-request-8e2a4c6f";
    let upstream = Upstream::answering(move |session, _| {
        session.send(head(
            "HTTP/1.1 200 OK",
            &[("Set-Cookie", &format!("id={}", SECRETS[4])), ("Content-Length", "26")],
        ));
        session.send(body);
    });
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .argument("--log-format")
        .argument("json")
        .under(["env", "SEALTAP_LOG=trace"])
        .start();
    let target = format!("/up/v1/things?key={}&a=1", SECRETS[5]);
    let authorization = format!("Bearer {}", SECRETS[0]);
    let mut client = Wire::connect(gateway.address());
    for _ in 0..2 {
        let length = body.len().to_string();
        let fields = [
            ("Host", "x"),
            ("Authorization", authorization.as_str()),
            ("x-api-key", SECRETS[1]),
            ("Cookie", SECRETS[2]),
            ("Content-Length", length.as_str()),
        ];
        client.send(head(format!("POST {target} HTTP/1.1"), &fields));
        client.send(body);
        assert_eq!(client.response("POST").status(), 200);
    }
    sealtap_tests::http2::run(async {
        let mut client = sealtap_tests::client_http2::Client::connect(gateway.address()).await;
        let request = http::Request::post(format!("http://x{target}"))
            .header("authorization", &authorization)
            .header("cookie", SECRETS[3])
            .body(())
            .expect("sound");
        let answer = client.call(request, body.as_bytes(), None).await;
        assert_eq!(answer.status(), 200);
        client.close().await;
    });
    let mut refused = Wire::connect(gateway.address());
    refused.send(head(
        format!("GET /nowhere?key={} HTTP/1.1", SECRETS[5]),
        &[("Host", "x"), ("Authorization", SECRETS[0])],
    ));
    assert_eq!(refused.response("GET").status(), 404);
    drop((client, refused));
    gateway.wait_sealed(4);
    // That an exchange ended is told once its answer is out, that a checkpoint is published once it can be seen:
    // either may come after the exchange is listed as sealed. The last line may be being written.
    let (said, lines) = poll("what is told of four exchanges and of their seal", || {
        let mut said = gateway.stderr();
        said.truncate(said.rfind('\n')? + 1);
        let lines: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let ended = lines.iter().filter(|line| line["message"] == "exchange ended").count();
        let of_them = |line: &serde_json::Value| {
            line["message"] == "checkpoint published" && line["size"].as_u64() > Some(1)
        };
        (ended >= 4 && lines.iter().any(of_them)).then_some((said, lines))
    });
    gateway.finish();
    assert_absent(said.as_bytes(), "standard error");
    assert!(!said.contains(body) && !said.contains("Bearer"), "{said}");
    let told = |message: &str| {
        let found: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
        assert!(!found.is_empty(), "{message} is not told: {said}");
        found
    };
    told("connection accepted");
    told("an idle connection is used again");
    let opened = told("connection opened")[0];
    assert_eq!(
        (&opened["server.address"], &opened["upstream"]),
        (&"127.0.0.1".into(), &"up".into())
    );
    assert!(told("checkpoint published").iter().any(|line| line["size"].as_u64() > Some(1)));
    assert!(told("batches synced")[0]["duration_us"].is_u64());
    let mut ended = told("exchange ended");
    // As they came; those of two connections may be told of the other way round.
    ended.sort_by_key(|line| line["number"].as_u64());
    assert_eq!(ended.len(), 4);
    assert_eq!(ended[0]["http.request.method"], "POST");
    assert_eq!(ended[0]["url.path"], "/v1/things");
    assert_eq!(ended[0]["http.response.status_code"], 200);
    assert_eq!(ended[3]["error.type"], "unknown_upstream");
    upstream.finish();
}

/// Every other place and spelling: escapes, trailers, interim answers, URLs in fields, an authority
/// with a password, targets that lead nowhere, and what is said of them.
#[test]
fn no_place_and_no_spelling_keeps_a_secret() {
    let upstream = Upstream::answering(|session, request| {
        let raw = String::from_utf8_lossy(&request.head.raw).into_owned();
        assert!(raw.contains(&format!("%6bey={}", SECRETS[5])), "{raw}");
        let early = format!("Set-Cookie: early={}", SECRETS[4]);
        session.send(format!("HTTP/1.1 103 Early Hints\r\n{early}\r\n\r\n"));
        let location = format!("https://u:{}@x/?X-Amz-Signature={}", SECRETS[6], SECRETS[5]);
        session.send(head(
            "HTTP/1.1 200 OK",
            &[("Location", &location), ("Transfer-Encoding", "chunked")],
        ));
        session.send(format!("2\r\nok\r\n0\r\nX-Trailer-Token: {}\r\n\r\n", SECRETS[1]));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    let target = format!("/up/v1?%6bey={}&a=1;token={}", SECRETS[5], SECRETS[0]);
    client.send(head(format!("GET {target} HTTP/1.1"), &[("Host", "x")]));
    let (interim, _) = client.response_head();
    assert_eq!(interim.len(), 1);
    let body = client.body(sealtap_tests::http1::Framing::Chunked).finish();
    assert_eq!(body.content.length(), 2);
    for line in [
        format!("GET http://u:{}@elsewhere/x?key={} HTTP/1.1", SECRETS[6], SECRETS[5]),
        format!("GET ftp://elsewhere/x?key={} HTTP/1.1", SECRETS[5]),
        format!("GET up?key={} HTTP/1.1", SECRETS[5]),
        format!("CONNECT u:{}@elsewhere:443 HTTP/1.1", SECRETS[6]),
    ] {
        let mut refused = Wire::connect(gateway.address());
        refused.send(head(line, &[("Host", "elsewhere")]));
        let answer = refused.response("GET");
        assert!((400..600).contains(&answer.status()));
        assert_absent(answer.bytes(), "an answer of the gateway's own");
    }
    sealtap_tests::http2::run(async {
        let mut client = sealtap_tests::client_http2::Client::connect(gateway.address()).await;
        let uri = format!("http://u:{}@x/up/v1", SECRETS[6]);
        let request = http::Request::get(uri).body(()).expect("sound");
        let answer = client.call(request, b"", None).await;
        assert_eq!(answer.status(), 400);
        assert_absent(answer.content().bytes(), "an answer over HTTP/2");
        client.close().await;
    });
    drop(client);
    gateway.wait_sealed(6);
    assert_files_clean(gateway.home().path());
    let live = gateway.live().iter().map(ToString::to_string).collect::<String>();
    assert_absent(live.as_bytes(), "the live lines");
    assert_absent(gateway.stderr().as_bytes(), "standard error");
    for exchange in gateway.finish() {
        assert_absent(exchange.show().to_string().as_bytes(), "show --json");
        assert_absent(exchange.json.to_string().as_bytes(), "ls --json");
    }
    upstream.finish();
}

/// Fragments, names joined in other ways, URLs without a scheme, and names of runs that are none.
#[test]
fn what_servers_call_a_secret_is_one() {
    let upstream = Upstream::answering(|session, _| {
        let link = format!("<https://a.example/>; rel=prev, <https://u:{}@b/>", SECRETS[6]);
        session.send(head(
            "HTTP/1.1 200 OK",
            &[
                ("Location", &format!("//u:{}@h/x", SECRETS[6])),
                ("Refresh", &format!("0; url=//u:{}@b/", SECRETS[6])),
                ("Link", &link),
                ("X-Original-URL", &format!("/x?api_key={}", SECRETS[5])),
                ("X-Plain", "plainvalue"),
                ("Content-Length", "0"),
            ],
        ));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let key = SECRETS[5];
    let mut sent = 0;
    let mut ask = |target: &str, field: (&str, &str), served: bool| {
        let mut client = Wire::connect(gateway.address());
        client.send(head(format!("GET {target} HTTP/1.1"), &[("Host", "x"), field]));
        let answer = client.response("GET");
        assert_eq!(answer.status() == 200, served, "{target} {field:?}: {}", answer.status());
        if !served {
            assert_absent(answer.bytes(), "an answer of the gateway's own");
        }
        sent += 1;
    };
    for parameter in ["accessToken", "apiToken", "access-token", "auth-token", "access_key"] {
        ask(&format!("/up/x?{parameter}={key}"), ("Accept", "*/*"), true);
    }
    for parameter in ["client_assertion", "session_id"] {
        ask(&format!("/up/x?max_tokens=17&{parameter}={key}"), ("Accept", "*/*"), true);
    }
    for field in ["X-ApiKey", "Helicone-Auth", "X-Ms-Authorization-Auxiliary", "Token"] {
        ask("/up/x", (field, SECRETS[1]), true);
    }
    ask("/up/x", ("Referer", &format!("//u:{}@h/", SECRETS[6])), true);
    ask("/up/x", ("X-Forwarded-Uri", &format!("/x?api_key={key}")), true);
    ask(&format!("/up#access_token={key}"), ("Accept", "*/*"), true);
    ask(&format!("/up/x#access_token={key}"), ("Accept", "*/*"), true);
    for target in ["/nosuch", "/azure/res_", "http://elsewhere", "/run/a%20b", "/run/", "/run"] {
        ask(&format!("{target}#access_token={key}"), ("Accept", "*/*"), false);
        ask(&format!("{target}?access_token={key}"), ("Accept", "*/*"), false);
    }
    ask("/up/x", ("sealtap-run", &format!("x?token={key}")), false);
    gateway.wait_sealed(sent);
    assert_files_clean(gateway.home().path());
    let live = gateway.live().iter().map(ToString::to_string).collect::<String>();
    assert_absent(live.as_bytes(), "the live lines");
    assert_absent(gateway.stderr().as_bytes(), "standard error");
    let mut shown = String::new();
    for exchange in gateway.finish() {
        let one = exchange.show().to_string();
        assert_absent(one.as_bytes(), "show --json");
        assert_absent(exchange.json.to_string().as_bytes(), "ls --json");
        shown.push_str(&one);
    }
    // What is no secret is kept.
    assert!(shown.contains("max_tokens=17") && shown.contains("plainvalue"));
    upstream.finish();
}
