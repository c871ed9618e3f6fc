//! Cgroups that come and go, and what was there before they were watched.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Options;
use sealtap_tests::leaves;
use serde_json::Value;

use crate::cgroup::Cgroup;
use crate::{
    CURL, USER, config, covered, field, healthz, model, plain, serve, state, threads, wait_for,
};

/// The control: what is in no scope goes its own way.
pub(crate) fn what_is_in_no_scope_is_left_alone() {
    let (inside, outside) = (Cgroup::new(), Cgroup::new());
    let upstream = model();
    let gateway = serve(&inside, "");
    let url = format!("http://{}/outside", upstream.address());
    assert_eq!(outside.run(CURL, &url), "/outside");
    let home = Arc::clone(gateway.home());
    assert_eq!(gateway.finish().len(), 0);
    assert_eq!(covered(&home)[0]["connections"]["seen"], 0);
    assert_eq!(upstream.finish().len(), 1);
}

/// A service that is started later, and again, has another cgroup each time.
pub(crate) fn scopes_that_come_and_go_are_followed() {
    let cgroup = Cgroup::unmade();
    let upstream = model();
    let gateway = serve(&cgroup, "");
    wait_for(&gateway, "not there yet");
    let mut ids = Vec::new();
    for round in 0..2 {
        cgroup.make();
        ids.push(fs::metadata(&cgroup.path).expect("made").ino());
        let watched = format!("id={}", ids[round]);
        poll("the cgroup is watched", || {
            let said = gateway.stderr();
            let mut lines = said.lines();
            lines.any(|l| l.contains("watched by") && plain(l).contains(&watched)).then_some(())
        });
        let url = format!("http://{}/{round}", upstream.address());
        assert_eq!(cgroup.run(CURL, &url), format!("/{round}"));
        cgroup.remove();
        let gone = format!("id={}", ids[round]);
        poll("it is gone", || {
            let said = gateway.stderr();
            let mut lines = said.lines();
            lines.any(|l| l.contains("gone:") && plain(l).contains(&gone)).then_some(())
        });
    }
    assert_ne!(ids[0], ids[1]);
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|exchange| exchange.text("/ingress") == "transparent"));
    assert_eq!(covered(&home)[0]["connections"]["via_gateway"], 2);
    assert_eq!(upstream.finish().len(), 2);
}

/// Whoever owns the folder above may close it to the gateway's user: what is watched stays so, and one that
/// starts then says that it cannot look.
pub(crate) fn a_folder_that_is_closed_opens_nothing() {
    let above = Cgroup::new();
    let inner = Cgroup { path: above.path.join("inner"), name: format!("{}/inner", above.name) };
    inner.make();
    let permit = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&above.path, mode).expect("it is root's");
    };
    let upstream = model();
    let gateway = serve(&inner, "");
    permit(0);
    wait_for(&gateway, "not all of the scopes is seen");
    let url = format!("http://{}/closed", upstream.address());
    assert_eq!(inner.run(CURL, &url), "/closed");
    permit(0o755);
    wait_for(&gateway, "seen and watched again");
    assert!(!gateway.stderr().contains("gone:"), "{}", gateway.stderr());
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].text("/ingress"), "transparent");
    let covered = covered(&home).remove(0);
    assert_eq!(covered["connections"]["via_gateway"], 1, "{covered}");
    assert_eq!(covered["end"], "ended", "{covered}");
    permit(0);
    let options = Options::default().config(config(&inner, ""));
    let refused = options.argument(format!("--user={}", USER.0)).try_start_in(home);
    permit(0o755);
    let Err((_, said)) = refused else { panic!("it starts") };
    assert!(said.contains(&format!("cannot use the cgroup {}", inner.path.display())), "{said}");
    assert_eq!(upstream.finish().len(), 1);
}

/// A folder that the gateway's user cannot look into keeps it from nothing where the container is found elsewhere;
/// where it is not, it may be in there.
pub(crate) fn a_closed_folder_elsewhere_is_passed_over() {
    let (closed, parent) = (Cgroup::new(), Cgroup::new());
    fs::set_permissions(&closed.path, fs::Permissions::from_mode(0o0)).expect("it is root's");
    // As engines without systemd call them.
    let id = format!("{:08x}{:056}", std::process::id(), 7);
    let container = Cgroup { path: parent.path.join(&id), name: format!("{}/{id}", parent.name) };
    container.make();
    let (upstream, scope) = (model(), format!("container:{id}"));
    let gateway = crate::serve_scopes(std::slice::from_ref(&scope));
    wait_for(&gateway, "passed over");
    let url = format!("http://{}/elsewhere", upstream.address());
    assert_eq!(container.run(CURL, &url), "/elsewhere");
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].text("/ingress"), "transparent");
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(upstream.finish().len(), 1);
    container.remove();
    let refused = crate::scopes(&[scope]).try_start_in(home);
    let Err((_, said)) = refused else { panic!("it starts") };
    assert!(said.contains("may hold what scope"), "{said}");
    assert!(said.contains(&closed.path.display().to_string()), "{said}");
}

/// One that holds the gateway itself by now is not watched any more, and the log says so.
pub(crate) fn a_scope_that_comes_to_hold_the_gateway_ends_coverage() {
    let cgroup = Cgroup::new();
    let gateway = serve(&cgroup, "");
    let list = cgroup.path.join("cgroup.procs");
    fs::write(list, gateway.pid().to_string()).expect("root may");
    wait_for(&gateway, "NOT watched");
    wait_for(&gateway, "coverage is over");
    assert!(healthz(gateway.address()).contains("led back to it"), "it says why");
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "unwatched", "{covered}");
}

/// Connects to the port in its argument, says so, waits for a line, and sends by that connection.
const OLDER: &str = "exec python3 -c 'import socket,sys
s=socket.create_connection((\"127.0.0.1\",int(sys.argv[1])))
print(\"connected\",flush=True)
sys.stdin.readline()
s.sendall(b\"older\")
s.shutdown(socket.SHUT_WR)
s.recv(1)' \"$0\"";

/// A process with a connection of its own, and the other end of that.
fn connected(cgroup: &Cgroup) -> (Child, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let mut command = cgroup.command(OLDER, &port);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawned");
    (child, listener.accept().expect("it connects").0)
}

fn let_it_send(mut child: Child, mut stream: std::net::TcpStream) {
    drop(child.stdin.take());
    let mut sent = Vec::new();
    stream.read_to_end(&mut sent).expect("it sends");
    stream.write_all(b"x").expect("it listens");
    assert_eq!(sent, b"older", "in observe mode it goes on");
    assert!(child.wait().expect("it ends").success());
}

/// A connection that stands when the gateway starts: stated, and what it sends is seen in packets.
pub(crate) fn a_connection_from_before_the_start_is_stated() {
    let cgroup = Cgroup::new();
    let (child, stream) = connected(&cgroup);
    let gateway = serve(&cgroup, "");
    let_it_send(child, stream);
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(
        (covered["older"].as_u64(), covered["late"].as_u64()),
        (Some(1), Some(0)),
        "{covered}"
    );
    assert_eq!(covered["connections"]["seen"], 0, "it was made before: {covered}");
    assert!(covered["packets"]["bypass_passed"].as_u64() >= Some(1), "{covered}");
    assert_eq!(
        (state(&covered, "tcp"), state(&covered, "older")),
        ("observed_only", "not_covered")
    );
    // The control: one that holds none.
    let other = Cgroup::new();
    let home = serve(&other, "").terminate();
    assert_eq!(crate::covered(&home)[0]["older"], 0);
}

/// A cgroup that is watched only when something runs in it already: how many there were is stated, and what
/// they held; and nothing is called closed that was open until then.
pub(crate) fn what_comes_late_is_stated() {
    let (elsewhere, cgroup) = (Cgroup::new(), Cgroup::unmade());
    let (child, stream) = connected(&elsewhere);
    let upstream = model();
    let gateway = serve(&cgroup, "");
    wait_for(&gateway, "not there yet");
    // While it does not look.
    gateway.signal(Signal::STOP);
    poll("all of it stands still", || {
        let all = threads(gateway.pid());
        all.iter().all(|status| field(status, "State")[0] == "T").then_some(())
    });
    cgroup.make();
    fs::write(cgroup.path.join("cgroup.procs"), child.id().to_string()).expect("root moves it");
    gateway.signal(Signal::CONT);
    wait_for(&gateway, "watched by the kernel");
    let url = format!("http://{}/late", upstream.address());
    assert_eq!(cgroup.run(CURL, &url), "/late");
    // It holds its connection until that is counted: a machine's tables may be long.
    // Of a log that grows the verifier may not be able to say that it is valid.
    poll("it is counted", || {
        let all = leaves::all(&gateway.home().log());
        let counted = |leaf: &Value| leaf["kind"] == "coverage-heartbeat" && leaf["late"] == 1;
        all.iter().any(counted).then_some(())
    });
    let_it_send(child, stream);
    let home = Arc::clone(gateway.home());
    assert_eq!(gateway.finish().len(), 1);
    let covered = covered(&home).remove(0);
    assert_eq!(
        (covered["older"].as_u64(), covered["late"].as_u64()),
        (Some(1), Some(1)),
        "{covered}"
    );
    // Its packets are those of the cgroup that its socket was made in.
    assert_eq!(
        (state(&covered, "tcp"), state(&covered, "older")),
        ("observed_only", "not_covered")
    );
    assert_eq!(upstream.finish().len(), 1);
}

/// Many that come and go at once: each is watched, and none of them stays.
pub(crate) fn many_cgroups_come_and_go() {
    const MANY: usize = 50;
    // As engines without systemd call them.
    let (parent, own) = (Cgroup::new(), format!("{:08x}", std::process::id()));
    let gateway = crate::serve_scopes(&[format!("container:{own}*")]);
    let paths: Vec<_> = (0..MANY).map(|n| parent.path.join(format!("{own}{n:056}"))).collect();
    paths.iter().for_each(|path| fs::create_dir(path).expect("root makes cgroups"));
    let ids = |path: &std::path::PathBuf| fs::metadata(path).expect("made").ino();
    let ids: Vec<_> = paths.iter().map(ids).collect();
    let said = |word: &str| {
        let said = gateway.stderr();
        let lines: Vec<String> =
            said.lines().filter(|line| line.contains(word)).map(plain).collect();
        ids.iter().all(|id| lines.iter().any(|line| line.contains(&format!("id={id}"))))
    };
    poll("all are watched", || said("watched by").then_some(()));
    paths.iter().for_each(|path| fs::remove_dir(path).expect("they are empty"));
    poll("all are gone", || said("gone:").then_some(()));
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["late"], MANY, "{covered}");
}
