//! Scopes that are closed: what stays closed, until when, and what is said where the journal takes nothing.

use std::fs;
use std::io::Read as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sealtap_tests::gate::{OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::volume::{self, Volume};
use sealtap_tests::{leaves, programs, verify};
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::{CURL, USER, config, covered, healthz, home, model, wait_for, with_canary};

/// Sends a datagram to the port in its argument, or says why not.
const DATAGRAM: &str = "python3 -c 'import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
try: s.sendto(b\"x\",(\"127.0.0.1\",int(sys.argv[1]))); print(\"sent\")
except PermissionError: print(\"denied\")' \"$0\"";

/// Says that it begins, sends datagrams to the port in its argument until it is told to end, and says how many went
/// and how many not.
const DATAGRAMS: &str = "exec python3 -c 'import signal,socket,sys
told=[]
signal.signal(signal.SIGTERM,lambda *a: told.append(1))
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
went=denied=0
print(\"begins\",flush=True)
while not told:
 try: s.sendto(b\"x\",(\"127.0.0.1\",int(sys.argv[1]))); went+=1
 except PermissionError: denied+=1
print(went,denied)' \"$0\"";

/// What the gateway of that process has pinned.
fn pinned(process: u32) -> Option<String> {
    let folders = fs::read_dir("/sys/fs/bpf/sealtap").ok()?.flatten();
    let mut names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    names.find(|name| name.split('-').nth(1) == Some(&process.to_string()))
}

/// What cannot be led is denied, seen by the canary too; an orderly end opens what was closed.
pub(crate) fn what_cannot_be_led_is_denied_in_enforce_mode() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let upstream = model();
    let text = with_canary(&cgroup, "1h", "").replace("observe", "enforce");
    let gateway =
        Options::default().config(text).argument(format!("--user={}", USER.0)).start_in(home());
    wait_for(&gateway, "the canary is back");
    assert_eq!(cgroup.run(DATAGRAM, &port), "denied\n");
    let line =
        poll("the live line", || gateway.live().into_iter().find(|line| line["event"] == "bypass"));
    assert_eq!(line["denied"], true, "{line}");
    wait_for(&gateway, "denied: it did not go to the gateway");
    assert!(!gateway.stderr().contains("went around"), "{}", gateway.stderr());
    let url = format!("http://{}/led", upstream.address());
    assert_eq!(cgroup.run(CURL, &url), "/led");
    let process = gateway.pid();
    assert!(pinned(process).is_some());
    let home = gateway.terminate();
    assert_eq!(pinned(process), None);
    assert_eq!(cgroup.run(DATAGRAM, &port), "sent\n", "the control: it is open again");
    let covered = covered(&home).remove(0);
    assert_eq!((&covered["mode"], &covered["end"]), (&json!("enforce"), &json!("ended")));
    let ways = covered["canary"]["ways"].as_array().expect("a list");
    let udp = ways.iter().find(|way| way["way"] == "udp4").expect("it is listed");
    assert_eq!(udp["outcome"], "denied", "{covered}");
    // By the filter at a device: by the loopback's, where none stands, it would have been a false alarm.
    let packet = ways.iter().find(|way| way["way"] == "packet").expect("it is listed");
    let said = packet["outcome"].as_str().expect("a word").to_owned();
    let found = (packet["control"].as_bool().expect("said"), said);
    assert_eq!(found, crate::canary::frames("denied"), "{covered}");
    assert!(
        ways.iter().all(|way| way["outcome"] != "passed" || way["way"] == "vsock"),
        "{covered}"
    );
    assert_eq!(upstream.finish().len(), 1);
}

/// A gateway that is killed leaves its scopes closed, until somebody opens them.
pub(crate) fn a_killed_gateway_leaves_its_scopes_closed() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let text = config(&cgroup, "").replace("observe", "enforce");
    let user = format!("--user={}", USER.0);
    let gateway = Options::default().config(text).argument(&user).start_in(home());
    let process = gateway.pid();
    let home = gateway.crash();
    assert_eq!(cgroup.run(DATAGRAM, &port), "denied\n");
    let name = pinned(process).expect("pins outlive the gateway");
    let status = Command::new(programs::sealtap())
        .args(["kernel", "detach", "--instance", name.split('-').next().expect("a name")])
        .status();
    assert!(status.expect("it can be run").success());
    assert_eq!(cgroup.run(DATAGRAM, &port), "sent\n");
    Options::default().argument(user).start_in(home).finish();
}

/// A server of datagrams, and its port.
fn server() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    (server, port)
}

fn enforced(scopes: &[&Cgroup]) -> String {
    let list: Vec<String> = scopes.iter().map(|cgroup| format!("\"/{}\"", cgroup.name)).collect();
    let text = config(scopes[0], "").replace("observe", "enforce");
    text.replace(&format!("\"/{}\"", scopes[0].name), &list.join(","))
}

fn start(home: Arc<Home>, text: String) -> Gateway {
    Options::default().config(text).argument(format!("--user={}", USER.0)).start_in(home)
}

/// One that starts again after a kill takes over what the one before it left closed, and opens it at its end.
pub(crate) fn a_gateway_that_starts_again_takes_over() {
    let cgroup = Cgroup::new();
    let ((_server, port), upstream) = (server(), model());
    let first = start(home(), enforced(&[&cgroup]));
    let process = first.pid();
    let home = first.crash();
    let url = format!("http://{}/again", upstream.address());
    let fails = cgroup.command(CURL, &url).output().expect("a shell can be run");
    assert!(!fails.status.success(), "the control: led to a port where nobody listens");
    // Sends without a pause while one takes over from the other: nothing is open in between.
    let mut sends = cgroup.command(DATAGRAMS, &port);
    let mut sends = sends.stdout(Stdio::piped()).spawn().expect("a shell can be run");
    // Not before it hears what it is told.
    let mut said = [0; "begins\n".len()];
    sends.stdout.as_mut().expect("piped").read_exact(&mut said).expect("it begins");
    let again = start(home, enforced(&[&cgroup]));
    wait_for(&again, "took over");
    assert_eq!(pinned(process), None);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&sends),
        rustix::process::Signal::TERM,
    )
    .expect("it runs");
    let sent = sends.wait_with_output().expect("it ends");
    let sent = String::from_utf8_lossy(&sent.stdout).into_owned();
    let (open, denied) = sent.trim().split_once(' ').expect("two numbers");
    assert_eq!(open, "0", "{sent}");
    assert!(denied.parse::<u64>().expect("a number") > 100, "{sent}");
    assert_eq!(cgroup.run(DATAGRAM, &port), "denied\n");
    assert_eq!(cgroup.run(CURL, &url), "/again");
    let own = again.pid();
    let home = Arc::clone(again.home());
    assert_eq!(again.finish().len(), 1);
    assert_eq!(pinned(own), None);
    assert_eq!(cgroup.run(DATAGRAM, &port), "sent\n");
    assert_eq!(covered(&home).last().expect("a coverage")["end"], "ended");
    assert_eq!(upstream.finish().len(), 1);
}

/// What would be opened by that, or belongs to one that lives, is left alone: the start fails and says so.
pub(crate) fn what_is_not_its_own_is_not_taken_over() {
    let (one, other) = (Cgroup::new(), Cgroup::new());
    let first = start(home(), enforced(&[&one, &other]));
    let refused = |text: String| {
        let user = format!("--user={}", USER.0);
        let refused = Options::default().config(text).argument(user).try_start_in(home());
        let Err((status, said)) = refused else { panic!("it starts") };
        assert_eq!(status.code(), Some(1), "{said}");
        said
    };
    let said = refused(enforced(&[&one]));
    assert!(said.contains(&format!("process {} watches", first.pid())), "{said}");
    // What lies within one of its scopes is watched by it as well.
    let inner = Cgroup { path: one.path.join("inner"), name: format!("{}/inner", one.name) };
    inner.make();
    let said = refused(enforced(&[&inner]));
    assert!(said.contains(&format!("process {} watches", first.pid())), "{said}");
    let process = first.pid();
    let home = first.crash();
    let said = refused(enforced(&[&inner, &other]));
    assert!(said.contains("kernel detach") && said.contains(&one.name), "{said}");
    let said = refused(enforced(&[&one]));
    assert!(said.contains("kernel detach") && said.contains(&other.name), "{said}");
    assert!(pinned(process).is_some(), "nothing was taken away");
    // Both are its own.
    let again = start(home, enforced(&[&one, &other]));
    assert_eq!(pinned(process), None);
    again.finish();
}

/// A program of the kernel that is detached while the disk is full is noticed then, and stated once there is
/// room; connections that were led here and could not be noted are refused, and accounted for.
pub(crate) fn what_is_detached_while_the_disk_is_full_is_noticed() {
    if let Some(why) = volume::unavailable() {
        panic!("{why}");
    }
    let (cgroup, upstream) = (Cgroup::new(), model());
    let home = home();
    // It is on a disk of its own, and the gateway's user's.
    let volume = Volume::mount(&home.data(), 64);
    std::os::unix::fs::chown(home.data(), Some(USER.1), None).expect("root gives it away");
    let text = format!("{}[journal]\nfile_size = \"1MiB\"\n", enforced(&[&cgroup]));
    let gateway = start(home, text);
    let url = format!("http://{}/upload", upstream.address());
    let upload = "head -c 300000 /dev/zero | curl -sS --noproxy '*' --max-time 20 \
                  --data-binary @- \"$0\"";
    assert_eq!(cgroup.run(upload, &url), "/upload");
    volume.fill();
    // Each call may take its whole time.
    poll_for(OF_A_GATEWAY, "the journal takes nothing", || {
        let call = cgroup.command(upload, &url).output().expect("a shell can be run");
        (!call.status.success()).then_some(())
    });
    poll_for(OF_A_GATEWAY, "a connection is refused", || {
        let _ = cgroup.command(CURL, &url).output().expect("a shell can be run");
        gateway.stderr().contains("refused: the journal takes nothing").then_some(())
    });
    // From then on none is begun that could say less than was refused by now.
    wait_for(&gateway, "coverage is stated once it does");
    let pins = Path::new("/sys/fs/bpf/sealtap").join(pinned(gateway.pid()).expect("pins"));
    fs::remove_file(pins.join("sealtap_sendmsg4")).expect("root may");
    wait_for(&gateway, "detached or replaced");
    let said: Value = serde_json::from_str(&healthz(gateway.address())).expect("a document");
    let checks = said["checks"].as_array().expect("a list").iter();
    let mut ended = checks.filter(|check| check["name"] == "coverage" && check["ok"] == false);
    let reason = ended.next().and_then(|check| check["reason"].as_str());
    assert!(reason.is_some_and(|why| why.contains("detached")), "{said}");
    volume.free();
    // Of a log that grows the verifier may not be able to say that it is valid.
    poll("it is stated", || {
        let all = leaves::all(&gateway.home().log());
        let stated =
            |leaf: &Value| leaf["kind"] == "coverage-closed" && leaf["reason"] == "links_changed";
        all.iter().any(stated).then_some(())
    });
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "links_changed", "{covered}");
    assert!(covered["refused_led"].as_u64() >= Some(1), "{covered}");
    assert_eq!(joined(&home)["missed"], 0, "{covered}");
    drop(upstream);
    drop(volume);
}

/// What leaves say of the first coverage's connections.
fn joined(home: &Home) -> Value {
    verify::valid(home)["joined"][0].clone()
}
