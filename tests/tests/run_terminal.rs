//! `sealtap run` at a terminal: the command is interactive, Ctrl-C and Ctrl-Z are for it.

use sealtap_tests::bundle::runs;
use sealtap_tests::http1::head;
use sealtap_tests::terminal::at_terminal;
use sealtap_tests::upstream_http1::Upstream;

#[test]
fn a_terminal_program_has_its_terminal() {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo ready; read line; echo \"got <$line>\"; exit 4";
    let (_, said) = at_terminal("line", &[], script);
    assert!(said.starts_with("exit 4"), "{said}");
}

#[test]
fn ctrl_c_is_for_the_command_and_comes_once() {
    let script = "n=0; trap 'n=$((n+1)); echo interrupted $n' INT; echo ready; \
                  while [ $n -lt 2 ]; do sleep 0.2; done; echo count $n; exit 5";
    let (_, said) = at_terminal("interrupt", &[], script);
    assert!(said.contains("count 2") && said.starts_with("exit 5"), "{said}");
}

#[test]
fn ctrl_c_that_ends_the_command_leaves_a_sealed_run() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let script = "curl -sS --noproxy '*' $SEALTAP_URL/up/v1/chat; echo ready; exec sleep 60";
    let flags = [format!("--upstream=up={}", upstream.url())];
    let (home, said) = at_terminal("die", &[&flags[0]], script);
    assert!(said.starts_with("signal 2"), "{said}");
    let run = &runs(&home)[0];
    assert_eq!((&run["state"], &run["exchanges"]), (&"closed".into(), &1.into()), "{run}");
    upstream.finish();
}

#[test]
fn ctrl_z_stops_both_and_both_go_on() {
    let script = "echo ready; read line; echo \"got <$line>\"";
    let (_, said) = at_terminal("stop", &[], script);
    assert!(said.starts_with("exit 0"), "{said}");
}
