//! `sealtap run`: the command's own end, terminal and signals; and what it sends, as one run.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use sealtap_tests::bundle::{report, runs};
use sealtap_tests::gate::{OF_A_GATEWAY, poll_for};
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use serde_json::json;

const ANSWER: &str = r#"{"object":"chat.completion","model":"echo-1-0613"}"#;

fn upstream() -> Upstream {
    Upstream::answering(|session, _| {
        let length = ANSWER.len().to_string();
        let fields = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        session.send(head("HTTP/1.1 200 OK", &fields));
        session.send(ANSWER);
    })
}

fn home() -> Arc<Home> {
    Arc::new(Home::new())
}

/// A call of `curl` through the gateway's own address.
const CALL: &str =
    "curl -sS --noproxy '*' -o /dev/null -d '{\"model\":\"echo-1\"}' $SEALTAP_URL/up/v1/chat";

fn up(upstream: &Upstream) -> String {
    format!("--upstream=up={}", upstream.url())
}

/// The same where no signal is ignored: whoever runs the tests may ignore one (`nohup` does, and a job in the
/// background), and then it stays ignored.
fn with_every_signal(inner: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// Starts a command that says on its first line that it is ready.
fn start(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");
    (child, stdout)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("sent");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let home = home();
    for code in [0, 1, 7, 255] {
        let launched = Launch::new(&home, &[]).shell(&format!("exit {code}")).expect(code);
        assert_eq!(launched.account["exit"]["code"], code);
        assert_eq!(launched.account["bundle"], json!(null), "{}", launched.account);
    }
    assert_eq!(Launch::new(&home, &[]).run(["sealtap-no-such"]).code(), Some(127));
    assert_eq!(Launch::new(&home, &[]).run(["./no/such"]).code(), Some(127));
    assert_eq!(Launch::new(&home, &[]).run(["/"]).code(), Some(126));
    std::fs::write(home.path().join("plain"), "#!/bin/sh\n").expect("written");
    assert_eq!(Launch::new(&home, &[]).run(["./plain"]).code(), Some(126));
    for number in [15, 9, 2, 6] {
        let script = format!("exec env --default-signal sh -c 'kill -{number} $$'");
        let launched = Launch::new(&home, &[]).shell(&script);
        assert_eq!(launched.output.status.signal(), Some(number), "{}", launched.stderr());
        assert!(launched.account["exit"]["signal"].is_string(), "{}", launched.account);
    }
    home.assert_valid();
}

/// Where the boot before said goodbye, a gateway that nobody calls adds nothing to the log; with the
/// first call it begins, also where much time has passed.
#[test]
fn a_command_that_makes_no_call_adds_nothing_to_the_log() {
    let upstream = upstream();
    let home = home();
    let checkpoint = || std::fs::read(home.data().join("log/checkpoint")).expect("a log");
    let launched = Launch::new(&home, &[]).run(["true"]).expect(0);
    launched.captured(0);
    let begun = checkpoint();
    for _ in 0..2 {
        let launched = Launch::new(&home, &[]).run(["true"]).expect(0);
        assert_eq!(
            (&launched.account["calls"], &launched.account["bundle"]),
            (&0.into(), &json!(null))
        );
        assert_eq!(checkpoint(), begun);
    }
    let script = format!("sleep 0.5; {CALL}; {CALL}");
    Launch::new(&home, &[&up(&upstream)]).shell(&script).expect(0).captured(2);
    assert_ne!(checkpoint(), begun);
    // What is wrong is found before the command runs all the same.
    let store = home.data().join("store/exchanges.db");
    let kept = std::fs::read(&store).expect("a store");
    std::fs::write(&store, "no database, but long enough to be looked at").expect("written");
    let launched = Launch::new(&home, &[]).shell("touch ran").expect(125);
    assert!(!home.path().join("ran").exists(), "{}", launched.stderr());
    std::fs::write(&store, kept).expect("written");
    home.assert_valid();
    upstream.finish();
}

#[test]
fn what_cannot_be_had_is_refused_before_the_command_runs() {
    let home = home();
    let refused = |flags: &[&str], code: i32, says: &str| {
        let launched = Launch::new(&home, flags).shell("touch ran");
        assert!(launched.stderr().contains(says), "{}", launched.stderr());
        let launched = launched.expect(code);
        assert!(!home.path().join("ran").exists(), "{}", launched.stderr());
    };
    refused(&["--enforce"], 125, "--kernel off");
    refused(&["--name", "no name"], 64, "cannot be the name of a run");
    refused(&["--disclose", "what"], 64, "is no pointer");
    refused(&["--upstream", "nothing"], 64, "--upstream");
    // One writer: a gateway has the data directory.
    let gateway = Options::default().start_in(Arc::clone(&home));
    refused(&[], 125, "--data DIR");
    gateway.finish();
}

#[test]
fn all_that_a_command_and_its_children_send_is_one_run() {
    let upstream = upstream();
    let home = home();
    let flags = [&up(&upstream), "--name", "nightly", "--disclose", "all"];
    let script = format!(
        "{CALL} & {CALL} & wait; curl -sS --noproxy '*' -o /dev/null $SEALTAP_URL/nowhere/x; echo $SEALTAP_RUN"
    );
    let launched = Launch::new(&home, &flags).shell(&script).expect(0);
    assert_eq!(launched.stdout(), "nightly\n", "nothing else is written there");
    assert_eq!(launched.stderr(), "", "the account went into its file");
    launched.captured(3);
    let run = &runs(&home)[0];
    assert_eq!((&run["name"], &run["by"]), (&"nightly".into(), &"launch".into()), "{run}");
    assert_eq!((&run["state"], &run["exchanges"]), (&"closed".into(), &3.into()), "{run}");
    let account = &launched.account;
    assert_eq!(
        (&account["calls"], &account["refused"]["unknown_upstream"]),
        (&2.into(), &1.into())
    );
    let upstreams = &account["upstreams"][0];
    assert_eq!(upstreams["origin"], upstream.url(), "{account}");
    let models = json!([{ "asked": "echo-1", "answered": "echo-1-0613", "calls": 2 }]);
    assert_eq!(upstreams["models"], models, "{account}");
    assert_eq!(account["coverage"]["level"], "observed_only", "{account}");
    let bundle = home.path().join(account["bundle"].as_str().expect("a bundle"));
    assert!(bundle.starts_with(home.data().join("bundles")), "{}", bundle.display());
    let report = report(&home, &bundle);
    assert_eq!(report["isolation"], json!({ "level": "same_user", "basis": "launched" }));
    assert_eq!(report["withheld"], 0, "{report}");
    // The same name once more is another run, and its bundle another file.
    let flags = [&up(&upstream), "--name", "nightly"];
    let second = Launch::new(&home, &flags).shell(CALL).expect(0);
    assert_ne!(second.account["bundle"], account["bundle"]);
    assert_eq!(runs(&home).len(), 2);
    assert_eq!(upstream.finish().len(), 3);
}

#[test]
fn the_account_is_text_for_people_on_standard_error() {
    let upstream = upstream();
    let home = home();
    let mut command =
        Launch::new(&home, &[&up(&upstream), "--json=ignored.json"]).command(["true"]);
    drop(command.output().expect("run"));
    let output = Command::new(sealtap_tests::programs::sealtap())
        .args(["run", "--data", "data", "--lock", "lock", &up(&upstream), "--", "sh", "-c", CALL])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("NO_PROXY", "intern.example")
        .env("SEALTAP_KERNEL", "off")
        .output()
        .expect("run");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"".as_slice()));
    let said = String::from_utf8(output.stderr).expect("text");
    for part in [
        "1 call captured",
        &upstream.url(),
        "asked echo-1, answered echo-1-0613: 1",
        "observed only",
        "NO_PROXY of the caller holds: intern.example",
        "data/bundles/sh-",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    home.assert_valid();
    upstream.finish();
}

#[test]
fn signals_reach_the_command_once() {
    let home = home();
    let script = "n=0; for s in HUP INT QUIT USR1 USR2; do trap \"n=\\$((n+1)); echo $s\" $s; done; \
                  trap 'echo TERM after $n; exit 3' TERM; echo ready; \
                  while :; do sleep 60 & wait $!; kill $! 2>/dev/null; done";
    let command = Launch::new(&home, &[]).command(["sh", "-c", script]);
    let (mut child, mut stdout) = start(with_every_signal(&command));
    let signals = [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::TERM, "TERM after 5"),
    ];
    for (signal, said) in signals {
        send(&child, signal);
        let mut line = String::new();
        stdout.read_line(&mut line).expect("read");
        assert_eq!(line.trim_end(), said);
    }
    let status = poll_for(OF_A_GATEWAY, "the end", || child.try_wait().expect("waited"));
    assert_eq!(status.code(), Some(3));
    home.assert_valid();
}

#[test]
fn a_signal_that_ends_the_command_ends_sealtap_after_sealing() {
    let upstream = upstream();
    let home = home();
    let script = format!("{CALL}; echo ready; exec sleep 60");
    let command = Launch::new(&home, &[&up(&upstream)]).command(["sh", "-c", &script]);
    let (mut child, _stdout) = start(command);
    send(&child, Signal::TERM);
    let status = poll_for(OF_A_GATEWAY, "the end", || child.try_wait().expect("waited"));
    assert_eq!(status.signal(), Some(15));
    let output = std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() };
    let launched = Launched::new(Arc::clone(&home), output);
    assert_eq!(launched.account["exit"]["signal"], "SIGTERM");
    launched.captured(1);
    upstream.finish();
}

#[test]
fn what_the_caller_ignores_stays_ignored() {
    let home = home();
    let inner = Launch::new(&home, &[]).command(["sh", "-c", "kill -HUP $$; echo alive"]);
    let mut outer = Command::new("sh");
    outer.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(inner.get_program());
    outer.args(inner.get_args()).current_dir(home.path()).env("HOME", home.path());
    let output = outer.output().expect("run");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"alive\n".as_slice()));
    home.assert_valid();
}

#[test]
fn the_command_has_the_callers_limits_and_defaults() {
    let home = home();
    let seen = "ulimit -S -n; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let direct = Command::new("sh").args(["-c", seen]).output().expect("run");
    let launched = Launch::new(&home, &[]).shell(seen).expect(0);
    assert_eq!(launched.stdout(), String::from_utf8_lossy(&direct.stdout));
    home.assert_valid();
}

#[test]
fn what_the_command_leaves_behind_is_followed() {
    let upstream = upstream();
    let home = home();
    // Twice removed: its parent has ended too, so that it is nobody's but ours.
    let script = format!("(sh -c 'sleep 0.3; {}' & ) ", CALL.replace('\'', "'\\''"));
    let launched = Launch::new(&home, &[&up(&upstream)]).shell(&script).expect(0);
    launched.captured(1);
    assert_eq!(launched.account["still_running"], json!([]));
    // Beyond the bound it is named, and goes on.
    let script =
        "sleep 60 >/dev/null 2>&1 & while [ $(cat /proc/$!/comm) != sleep ]; do :; done; echo $!";
    let launched = Launch::new(&home, &["--linger", "0"]).shell(script).expect(0);
    let id: i32 = launched.stdout().trim().parse().expect("an id");
    assert_eq!(launched.account["still_running"], json!([{ "id": id, "name": "sleep" }]));
    kill_process(Pid::from_raw(id).expect("an id"), Signal::KILL).expect("it still runs");
    upstream.finish();
}

#[test]
fn a_signal_ends_the_wait_for_what_is_left() {
    let home = home();
    // It is looked at by its name, which it has once the shell's child has become it.
    let script = "sleep 60 >/dev/null 2>&1 & while [ $(cat /proc/$!/comm) != sleep ]; do :; done; \
                  echo ready";
    let command = Launch::new(&home, &["--linger", "3600"]).command(["sh", "-c", script]);
    let (mut child, _stdout) = start(with_every_signal(&command));
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    stderr.read_line(&mut said).expect("read");
    assert!(said.contains("waiting") && said.contains("sleep"), "{said}");
    send(&child, Signal::INT);
    let status = poll_for(OF_A_GATEWAY, "the end", || child.try_wait().expect("waited"));
    assert_eq!(status.code(), Some(0), "the command had ended well before");
    let account = Launched::new(
        Arc::clone(&home),
        std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() },
    )
    .account;
    let id = account["still_running"][0]["id"].as_i64().expect("an id");
    let id = i32::try_from(id).expect("an id");
    kill_process(Pid::from_raw(id).expect("an id"), Signal::KILL).expect("it still runs");
    home.assert_valid();
}

#[test]
fn what_goes_around_is_not_captured_and_not_claimed() {
    let upstream = upstream();
    let home = home();
    let around = format!("curl -sS --noproxy '*' -o /dev/null {}/v1/chat", upstream.url());
    let launched = Launch::new(&home, &[]).shell(&around).expect(0);
    launched.captured(0);
    assert_eq!(
        (&launched.account["calls"], &launched.account["bundle"]),
        (&0.into(), &json!(null))
    );
    assert_eq!(launched.account["coverage"]["level"], "observed_only");
    assert_eq!(upstream.finish().len(), 1);
}

/// A client in Python that reads the proxy variables and the system's roots, as most do.
const PYTHON: &str = "import json, sys, urllib.request as r\n\
    q = r.Request(sys.argv[1], json.dumps({'model': 'echo-1'}).encode(), {'Content-Type': 'application/json'})\n\
    print(json.load(r.urlopen(q))['model'])";

#[test]
fn proxy_variables_lead_through_the_gateway() {
    let upstream = upstream();
    let home = home();
    let url = format!("{}/v1/chat", upstream.url());
    let flags = ["--capture", "all"];
    let script = format!("curl -sS -d '{{\"model\":\"echo-1\"}}' {url} && python3 -c \"$0\" {url}");
    let launched = Launch::new(&home, &flags).run(["sh", "-c", &script, PYTHON]).expect(0);
    assert_eq!(launched.stdout(), format!("{ANSWER}echo-1-0613\n"));
    for exchange in launched.captured(2) {
        assert_eq!((exchange.text("/ingress"), exchange.text("/url")), ("forward", url.as_str()));
    }
    // What the caller exempts goes around and is said, unless all is asked for.
    let call = format!("curl -sS -o /dev/null {url}");
    let direct = |flags: &[&str]| {
        let launch = Launch::new(&home, flags).env("NO_PROXY", "127.0.0.1");
        launch.shell(&call).expect(0).account
    };
    let account = direct(&[]);
    assert_eq!(account["calls"], 0, "{account}");
    assert!(
        account["coverage"]["not_covered"][0]
            .as_str()
            .is_some_and(|note| note.contains("NO_PROXY"))
    );
    assert_eq!(direct(&flags)["calls"], 1);
    home.assert_valid();
    upstream.finish();
}

#[test]
fn tls_is_opened_for_clients_that_read_the_variables() {
    let home = home();
    let authority = Authority::new();
    let roots = home.path().join("upstream-ca.pem");
    authority.write(&roots);
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), |mut session| {
        while session.next_request().is_some() {
            let length = ANSWER.len().to_string();
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
            session.send(ANSWER);
        }
    });
    let url = format!("{}/v1/chat", upstream.url());
    let flags = ["--capture", "all", "--upstream-ca", roots.to_str().expect("a path")];
    let script = format!("curl -sS -d '{{\"model\":\"echo-1\"}}' {url} && python3 -c \"$0\" {url}");
    let launched = Launch::new(&home, &flags).run(["sh", "-c", &script, PYTHON]).expect(0);
    assert_eq!(launched.stdout(), format!("{ANSWER}echo-1-0613\n"));
    for exchange in launched.captured(2) {
        assert_eq!((exchange.text("/ingress"), exchange.text("/url")), ("connect", url.as_str()));
    }
    let models = &launched.account["upstreams"][0]["models"];
    assert_eq!(models, &json!([{ "asked": "echo-1", "answered": "echo-1-0613", "calls": 2 }]));
    // A client that trusts another authority only is named.
    let pinned = format!("curl -s -o /dev/null --cacert {} {url}", roots.display());
    let launched = Launch::new(&home, &flags).shell(&pinned).expect(60);
    let opaque = &launched.account["opaque"][0];
    assert_eq!(opaque["authority"], upstream.authority(), "{}", launched.account);
    let why = opaque["why"].as_str().expect("a reason");
    assert!(why.starts_with("client_rejected"), "{why}");
    home.assert_valid();
    upstream.finish();
}

#[test]
fn base_urls_lead_through_the_gateway() {
    let upstream = upstream();
    let home = home();
    let seen = "echo $OPENAI_BASE_URL $ANTHROPIC_BASE_URL";
    let launched = Launch::new(&home, &[]).shell(seen).expect(0);
    assert_eq!(launched.stdout().trim(), "", "only where asked");
    let launched = Launch::new(&home, &["--base-urls"]).shell(seen).expect(0);
    let said = launched.stdout();
    assert!(said.contains("/openai/v1 ") && said.trim_end().ends_with("/anthropic"), "{said}");
    // One that leads elsewhere already leads there through the gateway.
    let call = "curl -sS --noproxy '*' -o /dev/null -d '{\"model\":\"echo-1\"}' $OPENAI_BASE_URL/chat/completions";
    let launched = Launch::new(&home, &["--base-urls"])
        .env("OPENAI_BASE_URL", format!("{}/prefix/v1", upstream.url()))
        .shell(call)
        .expect(0);
    let exchanges = launched.captured(1);
    assert_eq!(exchanges[0].text("/url"), format!("{}/prefix/v1/chat/completions", upstream.url()));
    upstream.finish();
}

#[test]
fn idle_runs_leave_no_files_behind() {
    let home = home();
    for _ in 0..8 {
        Launch::new(&home, &[]).run(["true"]).expect(0);
    }
    let files = std::fs::read_dir(home.data().join("journal")).expect("listed");
    let files = files.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".journal"))
    });
    assert!(files.count() <= 3);
    home.assert_valid();
}
