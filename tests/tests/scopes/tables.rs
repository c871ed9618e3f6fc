//! Tables of descriptors that are long, and tables that are too long to be looked through in time.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;

use crate::cgroup::Cgroup;
use crate::{CURL, covered, model, serve};

/// Connects to a port and has so many more descriptors, in as many processes with the same as the limit makes
/// of it; says so, and waits for the end of its input.
const HOLDS: &str = "exec python3 -c 'import os,resource,socket,sys
port,all=map(int,sys.argv[1].split())
most=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1],1000000)
resource.setrlimit(resource.RLIMIT_NOFILE,(most,most))
s=socket.create_connection((\"127.0.0.1\",port))
many=min(all,most-100)
for _ in range(many): os.dup(0)
for _ in range(all//many-1):
 if os.fork()==0: sys.stdin.read(); os._exit(0)
print(\"there\",flush=True)
sys.stdin.read()
os._exit(0)' \"$0\"";

/// Processes with a connection and that many descriptors together, and the connection's other end.
fn holds(cgroup: &Cgroup, all: u64) -> (Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut command = cgroup.command(HOLDS, &format!("{port} {all}"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("spawned");
    let mut said = String::new();
    let output = child.stdout.as_mut().expect("piped");
    BufReader::new(output).read_line(&mut said).expect("it says so");
    assert_eq!(said, "there\n");
    (child, listener.accept().expect("it connected").0)
}

fn ended((mut child, stream): (Child, TcpStream)) {
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    drop(stream);
}

/// However many descriptors there are, the one that is a connection is found among them.
pub(crate) fn a_long_table_is_counted_to_its_end() {
    let cgroup = Cgroup::new();
    let held = holds(&cgroup, 300_000);
    let home = serve(&cgroup, "").terminate();
    let covered = covered(&home).remove(0);
    assert_eq!((&covered["older"], &covered["end"]), (&1.into(), &"ended".into()), "{covered}");
    ended(held);
}

/// Tables that nobody can look through in time keep neither the start waiting nor a statement: what is counted
/// is stated, and at the end it is said that not all is known.
pub(crate) fn tables_that_are_too_long_keep_nobody_waiting() {
    let (cgroup, upstream) = (Cgroup::new(), model());
    let held = holds(&cgroup, 25_000_000);
    let gateway = serve(&cgroup, "");
    let url = format!("http://{}/meanwhile", upstream.address());
    assert_eq!(cgroup.run(CURL, &url), "/meanwhile");
    let home = Arc::clone(gateway.home());
    assert_eq!(gateway.finish().len(), 1);
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "numbers_wrong", "{covered}");
    assert_eq!(covered["connections"]["via_gateway"], 1, "the last that are known: {covered}");
    assert_eq!((&covered["older"], &covered["late"]), (&0.into(), &0.into()), "no part of it");
    assert_eq!(upstream.finish().len(), 1);
    ended(held);
}
