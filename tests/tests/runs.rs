//! Runs: how a run is named, and that its name never reaches the model's side.

use sealtap_tests::gateway::Options;
use sealtap_tests::http1::head;
use sealtap_tests::records::Exchange;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// The exchanges of these requests, each a target and fields, on `connections` connections.
fn exchanges(requests: &[(&str, &[(&str, &str)])], one_connection: bool) -> Vec<Exchange> {
    let upstream = Upstream::answering(|session, request| {
        assert_eq!(
            request.head.target(),
            b"/v1/chat?x=1",
            "the run's name is not for the upstream"
        );
        assert!(request.head.all("sealtap-run").is_empty());
        session.send(head("HTTP/1.1 204 Done", &[]));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    for (target, fields) in requests {
        let mut all = vec![("Host", "x")];
        all.extend_from_slice(fields);
        client.send(head(format!("GET {target} HTTP/1.1"), &all));
        assert_eq!(client.response("GET").status(), 204);
        if !one_connection {
            client = Wire::connect(gateway.address());
        }
    }
    drop(client);
    let exchanges = gateway.finish();
    upstream.finish();
    exchanges
}

fn run(exchange: &Exchange) -> String {
    exchange.json["run"].to_string()
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_run_is_named_by_path_or_header() {
    let list = exchanges(
        &[
            ("/run/alpha/up/v1/chat?x=1", &[]),
            ("/run/alpha/up/v1/chat?x=1", &[]),
            ("/up/v1/chat?x=1", &[("sealtap-run", "beta")]),
            ("/up/v1/chat?x=1", &[("Sealtap-Run", "alpha")]),
        ],
        false,
    );
    assert!(run(&list[0]).contains("alpha"), "{}", run(&list[0]));
    assert_eq!(run(&list[0]), run(&list[1]));
    assert!(run(&list[2]).contains("beta"), "{}", run(&list[2]));
    assert!(run(&list[3]).contains("alpha"), "{}", run(&list[3]));
}

#[test]
fn a_trace_is_a_run_and_goes_on_untouched() {
    let upstream = Upstream::answering(|session, request| {
        assert_eq!(request.head.one("traceparent"), Some(TRACE));
        session.send(head("HTTP/1.1 204 Done", &[]));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x"), ("traceparent", TRACE)]));
    assert_eq!(client.response("GET").status(), 204);
    drop(client);
    let list = gateway.finish();
    assert!(run(&list[0]).contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{}", run(&list[0]));
    upstream.finish();
}

#[test]
fn without_a_name_a_connection_is_a_run() {
    let request: (&str, &[(&str, &str)]) = ("/up/v1/chat?x=1", &[]);
    let same = exchanges(&[request, request], true);
    assert_eq!(run(&same[0]), run(&same[1]));
    let apart = exchanges(&[request, request], false);
    assert_ne!(run(&apart[0]), run(&apart[1]));
}

#[test]
fn ls_lists_one_run_alone() {
    let upstream = Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 Done", &[])));
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    for name in ["one", "two", "one"] {
        client.send(head(format!("GET /run/{name}/up/x HTTP/1.1"), &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 204);
    }
    drop(client);
    let home = gateway.terminate();
    let output = std::process::Command::new(sealtap_tests::programs::sealtap())
        .args(["ls", "--json", "--run", "one", "--data"])
        .arg(home.data())
        .output()
        .expect("sealtap can be run");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    upstream.finish();
}
