//! Reload: another configuration while the gateway runs, whole or not at all, and no stream is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::programs;
use sealtap_tests::tls::{Authority, LISTENER};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::text;
use sealtap_tests::wire::Wire;
use serde_json::Value;

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "the new configuration is refused";

/// An upstream that answers everything with `name`.
fn called(name: &'static str) -> Upstream {
    Upstream::answering(move |session, _| {
        let length = name.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
        session.send(name);
    })
}

fn upstreams(names: &[(&str, &Upstream)]) -> String {
    let line = |(name, upstream): &(&str, &Upstream)| {
        format!("[upstreams.{name}]\nurl = \"{}\"\n", upstream.url())
    };
    names.iter().map(line).collect()
}

fn file(gateway: &Gateway) -> std::path::PathBuf {
    gateway.home().path().join("sealtap.toml")
}

/// Waits until `what` was said `times` times on standard error.
fn said(gateway: &Gateway, what: &str, times: usize) -> String {
    poll(what, || {
        let stderr = gateway.stderr();
        (stderr.matches(what).count() >= times).then_some(stderr)
    })
}

/// Waits until `what` was said of `times` hang-ups. Some time after each the gateway sees by itself that the file
/// changed, reads it once more, and says the same of that: no answer to the next one.
fn answered(gateway: &Gateway, what: &str, times: usize) -> String {
    poll(what, || {
        let stderr = gateway.stderr();
        (answers(&stderr, what) >= times).then_some(stderr)
    })
}

/// How often `what` was said of a hang-up.
fn answers(stderr: &str, what: &str) -> usize {
    let is_one = |line: &&str| line.contains(what) && line.contains("why=\"SIGHUP\"");
    stderr.lines().filter(is_one).count()
}

/// Gives the gateway another configuration and has it read it at once.
fn hang_up(gateway: &Gateway, config: &str, what: &str, times: usize) -> String {
    // In one step, or a look of its own could find a file without a word.
    let whole = file(gateway).with_extension("whole");
    fs::write(&whole, config).expect("the configuration can be written");
    fs::rename(&whole, file(gateway)).expect("the configuration can be put in place");
    gateway.signal(Signal::HUP);
    answered(gateway, what, times)
}

fn ask(client: &mut Wire, target: &str) -> Message {
    client.send(head(format!("GET {target} HTTP/1.1"), &[("Host", "x")]));
    client.response("GET")
}

fn answer(gateway: &Gateway, target: &str) -> (u16, String) {
    let mut client = Wire::connect(gateway.address());
    let answer = ask(&mut client, target);
    (answer.status(), String::from_utf8_lossy(answer.bytes()).into_owned())
}

#[test]
fn a_stream_runs_on_while_upstreams_change() {
    let gate = Gate::default();
    let script = gate.clone();
    let first = Upstream::answering(move |session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
        session.send_chunk("before");
        script.wait(1);
        session.send_chunk(" and after");
        session.send("0\r\n\r\n");
    });
    let (second, third) = (called("second"), called("third"));
    let gateway = Options::default().config(upstreams(&[("up", &first)])).start();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/stream HTTP/1.1", &[("Host", "x")]));
    let (_, answered) = client.response_head();
    let mut body = client.body(answered.response_framing("GET"));
    assert_eq!(body.at_least(6).bytes(), b"before");

    let config = upstreams(&[("up", &second), ("third", &third)]);
    let stderr = hang_up(&gateway, &config, RELOADED, 1);
    assert!(stderr.contains("why=\"SIGHUP\" changed=\"[upstreams]\""), "{stderr}");
    assert_eq!(answer(&gateway, "/up/x"), (200, "second".to_owned()));
    assert_eq!(answer(&gateway, "/third/x"), (200, "third".to_owned()));

    gate.open();
    assert_eq!(body.finish().content.bytes(), b"before and after");
    // The same connection's next exchange goes where the new configuration says.
    assert_eq!(ask(&mut client, "/up/next").bytes(), b"second");
    drop(client);

    // An upstream that is gone is one that was never there.
    hang_up(&gateway, &upstreams(&[("up", &second)]), RELOADED, 2);
    assert_eq!(answer(&gateway, "/third/x").0, 404);
    let (_, metrics) = answer(&gateway, "/metrics");
    let counted = "sealtap_exchanges_total{upstream=\"third\",outcome=\"complete\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 5);
    let streamed = format!("{}/stream", first.url());
    let streamed = exchanges.iter().find(|exchange| exchange.text("/url") == streamed);
    let streamed = streamed.expect("it is recorded where it went");
    assert_eq!((streamed.text("/outcome"), streamed.number("/response/bytes")), ("complete", 16));
    for upstream in [first, second, third] {
        upstream.finish();
    }
}

#[test]
fn a_changed_file_is_enough_and_so_is_a_link_that_is_turned() {
    let (first, second, third) = (called("first"), called("second"), called("third"));
    let home = Arc::new(Home::new());
    let root = home.path().to_owned();
    for (version, upstream) in [("v1", &first), ("v2", &second)] {
        fs::create_dir(root.join(version)).expect("a directory can be made");
        let config = upstreams(&[("up", upstream)]);
        fs::write(root.join(version).join("c.toml"), config).expect("written");
    }
    symlink("v1", root.join("..data")).expect("a link can be made");
    symlink("..data/c.toml", root.join("c.toml")).expect("a link can be made");
    let options = Options::default().argument("--config").argument(root.join("c.toml"));
    let gateway = options.start_in(home);
    assert_eq!(answer(&gateway, "/up/x").1, "first");
    symlink("v2", root.join("..new")).expect("a link can be made");
    fs::rename(root.join("..new"), root.join("..data")).expect("a link can be turned");
    let stderr = said(&gateway, RELOADED, 1);
    assert!(stderr.contains("why=\"a file changed\""), "{stderr}");
    assert_eq!(answer(&gateway, "/up/x").1, "second");
    fs::write(root.join("v2/c.toml"), upstreams(&[("up", &third)])).expect("written");
    said(&gateway, RELOADED, 2);
    assert_eq!(answer(&gateway, "/up/x").1, "third");
    gateway.finish();
    for upstream in [first, second, third] {
        upstream.finish();
    }
}

#[test]
fn a_bad_file_is_refused_with_its_place_and_the_one_before_goes_on() {
    let upstream = called("up");
    let good = upstreams(&[("up", &upstream)]);
    let gateway = Options::default().config(&good).start();
    let cases = [
        ("listn = \"127.0.0.1:1\"\n", "unknown key `listn`; did you mean `listen`?", ":1:1"),
        ("[timeouts]\nconnect = \"soon\"\n", "`timeouts.connect` = \"soon\"", ":2:11"),
        ("[upstreams\n", "not valid TOML", ":1:"),
        ("upstream_ca = [\"none.pem\"]\n", "none.pem: no certificate can be read", "toml"),
        (
            "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n",
            "the certificate chain cannot",
            "toml",
        ),
    ];
    for (index, (bad, what, place)) in cases.into_iter().enumerate() {
        let stderr = hang_up(&gateway, bad, REFUSED, index + 1);
        let last = stderr.lines().rfind(|line| line.contains(REFUSED)).expect("it was said");
        let place = format!("where: {}{place}", file(&gateway).display());
        let place = place.replace("sealtap.tomltoml", "sealtap.toml");
        for part in [what, &place, "fix: "] {
            assert!(last.contains(part), "{part}: {last}");
        }
        assert_eq!(answer(&gateway, "/up/x"), (200, "up".to_owned()));
    }
    fs::remove_file(file(&gateway)).expect("the file can be removed");
    let stderr = said(&gateway, "cannot read the config file", 1);
    assert!(!stderr.contains(RELOADED), "{stderr}");
    assert_eq!(answer(&gateway, "/up/x").0, 200);
    fs::write(file(&gateway), good).expect("written");
    said(&gateway, RELOADED, 1);
    assert_eq!(gateway.finish().len(), 6);
    upstream.finish();
}

/// None of these is read: some never end, and some never begin.
#[test]
fn what_is_no_plain_file_is_refused_and_the_gateway_still_ends() {
    let upstream = called("up");
    let config = upstreams(&[("up", &upstream)]);
    let gateway = Options::default().config(config.clone()).start();
    let path = file(&gateway);
    let made: [fn(&Path); 3] = [
        |path| {
            let made = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
            assert!(made.success());
        },
        |path| symlink("/dev/zero", path).expect("a link can be made"),
        |path| fs::create_dir(path).expect("a directory can be made"),
    ];
    for (times, make) in (1..).zip(made) {
        fs::remove_file(&path).expect("it can be removed");
        make(&path);
        gateway.signal(Signal::HUP);
        answered(&gateway, REFUSED, times);
        assert_eq!(answer(&gateway, "/up/x").0, 200, "the one before goes on");
    }
    fs::remove_dir(&path).expect("it can be removed");
    for named in ["[tls]\ncertificate = \"pipe\"\nkey = \"pipe\"\n", "upstream_ca = [\"pipe\"]\n"] {
        let pipe = gateway.home().path().join("pipe");
        if !pipe.exists() {
            made[0](&pipe);
        }
        let before = answers(&gateway.stderr(), "no plain file");
        let text = if named.starts_with('[') {
            format!("{config}{named}")
        } else {
            format!("{named}{config}")
        };
        hang_up(&gateway, &text, "no plain file", before + 1);
    }
    hang_up(&gateway, &config, RELOADED, 1);
    assert!(!gateway.finish().is_empty());
    upstream.finish();
}

#[test]
fn what_cannot_change_is_refused_and_nothing_else_changes_with_it() {
    let (first, second) = (called("first"), called("second"));
    let gateway = Options::default().config(upstreams(&[("up", &first)])).start();
    let moved = upstreams(&[("up", &second)]);
    let config = format!("durability = \"relaxed\"\norigin = \"example.org/o\"\n{moved}");
    let stderr = hang_up(&gateway, &config, REFUSED, 1);
    let what = "origin, durability cannot change while the gateway runs";
    assert!(stderr.contains(what), "{stderr}");
    assert_eq!(answer(&gateway, "/up/x").1, "first");
    // Flags win over the file, so what they say does not change with it.
    let config = format!("listen = \"127.0.0.1:9\"\ndata = \"elsewhere\"\n{moved}");
    hang_up(&gateway, &config, RELOADED, 1);
    assert_eq!(answer(&gateway, "/up/x").1, "second");
    assert!(gateway.finish().iter().all(|exchange| exchange.text("/outcome") == "complete"));
    first.finish();
    second.finish();
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let upstream = called("up");
    let (before, after) = (Authority::new(), Authority::new());
    let home = Arc::new(Home::new());
    // Whoever looks between certificate and key finds a pair that does not fit, and looks again.
    let write = |authority: &Authority| authority.write_identity(home.path());
    write(&before);
    let config = format!("{LISTENER}{}", upstreams(&[("up", &upstream)]));
    let gateway = Options::default().config(config).start_in(Arc::clone(&home));
    let mut old = Wire::connect_tls(gateway.address(), before.client(&["http/1.1"]));
    assert_eq!(ask(&mut old, "/up/x").bytes(), b"up");
    write(&after);
    said(&gateway, RELOADED, 1);
    let mut new = Wire::connect_tls(gateway.address(), after.client(&["http/1.1"]));
    assert_eq!(ask(&mut new, "/up/x").bytes(), b"up");
    assert_eq!(ask(&mut old, "/up/x").bytes(), b"up");
    drop((old, new));
    assert_eq!(gateway.finish().len(), 3);
    upstream.finish();
}

#[test]
fn timeouts_and_secrets_count_from_the_next_exchange() {
    let upstream = Upstream::start(|mut session| {
        while let Some(request) = session.next_request() {
            if request.head.target() == b"/silent" {
                return session.drain();
            }
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
        }
    });
    let config = upstreams(&[("up", &upstream)]);
    let gateway = Options::default().config(&config).start();
    let call = |target: &str| {
        let mut client = Wire::connect(gateway.address());
        let fields = [("Host", "x"), ("X-Mine", "visible-or-not")];
        client.send(head(format!("GET {target} HTTP/1.1"), &fields));
        client.response("GET").status()
    };
    assert_eq!(call("/up/x"), 200);
    let config =
        format!("{config}[timeouts]\nfirst_byte = \"5s\"\n[secrets]\nheaders = [\"x-mine\"]\n");
    let stderr = hang_up(&gateway, &config, RELOADED, 1);
    assert!(stderr.contains("changed=\"[timeouts], [secrets]\""), "{stderr}");
    // The upstream that answers has to do so within that time, also on a machine that is busy.
    assert_eq!(call("/up/x"), 200);
    assert_eq!(call("/up/silent"), 504);
    gateway.wait_sealed(3);
    let held: Vec<bool> = gateway
        .finish()
        .iter()
        .map(|exchange| exchange.show().to_string().contains("visible-or-not"))
        .collect();
    assert_eq!(held, [true, false, false]);
    upstream.finish();
}

#[test]
fn retention_begins_when_it_is_configured() {
    let upstream = called("up");
    let config = upstreams(&[("up", &upstream)]);
    let gateway = Options::default().config(&config).start();
    assert_eq!(answer(&gateway, "/up/x").0, 200);
    gateway.wait_sealed(1);
    hang_up(&gateway, &format!("{config}[retention]\nmax_age = \"1s\"\n"), RELOADED, 1);
    poll("everything pruned", || {
        let list = gateway.list();
        list.iter().all(|exchange| exchange.json["pruned"].is_object()).then_some(())
    });
    gateway.finish();
    upstream.finish();
}

fn ca(data: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(programs::sealtap());
    command.arg("ca").arg("--json").arg("--data").arg(data).args(arguments);
    let output = command.output().expect("sealtap can be run");
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn an_authority_is_there_before_the_first_start_and_rotates_beside_a_running_gateway() {
    let home = Arc::new(Home::new());
    let made = ca(&home.data(), &[]);
    let upstream = called("up");
    let options = Options::default().upstream("up", upstream.url());
    let gateway = options.start_in(Arc::clone(&home));
    assert_eq!(ca(&home.data(), &[])["fingerprint_sha256"], made["fingerprint_sha256"]);
    let rotated = ca(&home.data(), &["--rotate"]);
    assert_ne!(rotated["fingerprint_sha256"], made["fingerprint_sha256"]);
    assert_eq!(rotated["previous"]["certificate"], made["certificate"]);
    gateway.signal(Signal::HUP);
    let stderr = said(&gateway, RELOADED, 1);
    assert!(stderr.contains("changed=\"nothing\" authority=\"a new one\""), "{stderr}");
    // One that cannot be used is refused, and the one in memory goes on.
    let key = home.data().join("keys/ca.key");
    let permissions = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(&key, permissions(0o644)).expect("a mode can be set");
    gateway.signal(Signal::HUP);
    let stderr = said(&gateway, REFUSED, 1);
    assert!(stderr.contains("chmod 600"), "{stderr}");
    fs::set_permissions(&key, permissions(0o600)).expect("a mode can be set");
    assert_eq!(answer(&gateway, "/up/x").0, 200);
    gateway.finish();
    upstream.finish();
}
