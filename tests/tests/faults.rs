//! Faults: an error or a kill at each write, sync and rename in turn, by `strace`.
//!
//! A small load runs while one call fails or kills the gateway. The gateway may refuse, stop or go
//! on; what it may not do is promise something and lose it. Afterwards it starts again without
//! the fault, the log verifies, and everything a client saw finished is there.
//!
//! By default a few calls of each kind are hit; `SEALTAP_FAULTS_ALL=1` hits each one.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use sealtap_tests::gate::poll;
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::load::Seen;
use sealtap_tests::records::{self, Exchange};
use sealtap_tests::trace;

/// Calls that change what is on disk, on this system or another one.
const CHANGES: [&str; 13] = [
    "pwrite64",
    "pwritev",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "link",
];

/// Calls a load makes.
const LOAD: usize = 4;

const CONFIG: &str = "[journal]\nfile_size = \"1MiB\"\n";

fn load(seen: &Seen, gateway: &sealtap_tests::gateway::Gateway) {
    for _ in 0..LOAD {
        if !seen.call(gateway.address()) {
            return;
        }
    }
}

/// How often the busiest thread makes each call, from start to the end of the load.
fn counts() -> BTreeMap<String, usize> {
    let seen = Seen::default();
    let upstream = seen.upstream();
    let home = Arc::new(Home::new());
    let file = trace::file(home.path());
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config(CONFIG)
        .under(trace::strace(&CHANGES.join(","), &[], &file))
        .start_in(home);
    load(&seen, &gateway);
    gateway.wait_sealed(LOAD);
    let pid = gateway.pid();
    let home = gateway.terminate();
    let mut by_thread: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for call in trace::read(&trace::file(home.path()), pid) {
        *by_thread.entry((call.name, call.thread)).or_default() += 1;
    }
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for ((name, _), count) in by_thread {
        let entry = most.entry(name).or_default();
        *entry = count.max(*entry);
    }
    assert!(most.contains_key("fdatasync") && most.contains_key("pwrite64"), "{most:?}");
    most
}

/// Runs the load with this fault at the `when`th call of each thread; whether it struck.
fn hit(call: &str, fault: &str, when: usize) -> bool {
    let what = format!("{call}:{fault}:when={when}");
    let seen = Seen::default();
    let upstream = seen.upstream();
    let home = Arc::new(Home::new());
    let options = || Options::default().upstream("up", upstream.url()).config(CONFIG);
    let file = trace::file(home.path());
    let started = options()
        .under(trace::strace(call, std::slice::from_ref(&what), &file))
        .try_start_in(Arc::clone(&home));
    let mut ended = started.is_err();
    if let Ok(mut gateway) = started {
        load(&seen, &gateway);
        if seen.finished() == LOAD {
            // What comes after the answers: leaves, tiles, the store.
            poll("sealed, or the end", || {
                ended = gateway.has_ended();
                let sealed = || gateway.live().len() > LOAD && settled(&home);
                (ended || sealed()).then_some(())
            });
        }
        ended |= gateway.has_ended();
        gateway.crash();
    }
    let gateway = match options().try_start_in(Arc::clone(&home)) {
        Ok(gateway) => gateway,
        Err((status, stderr)) => panic!("after {what}, no restart: {status}: {stderr}"),
    };
    // It works again, whatever it was.
    assert!(seen.call(gateway.address()), "after {what}");
    let before = seen.finished();
    assert!(before >= 1, "after {what}");
    let records = gateway.finish();
    let account = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seen.account(&records)));
    assert!(account.is_ok(), "after {what}, see above");
    ended || std::fs::read_to_string(file).is_ok_and(|trace| trace.contains("(INJECTED)"))
}

/// Whether every exchange listed is in the tree.
fn settled(home: &Arc<Home>) -> bool {
    let list = records::list(home);
    list.len() >= LOAD && list.iter().all(Exchange::sealed)
}

/// Which of `count` calls to hit.
fn chosen(count: usize) -> Vec<usize> {
    if std::env::var_os("SEALTAP_FAULTS_ALL").is_some() {
        return (1..=count).collect();
    }
    let mut few: Vec<usize> = [1, count / 2, count].into_iter().filter(|when| *when > 0).collect();
    few.dedup();
    few
}

fn each(fault: &str, spared: &[&str]) {
    let mut failed = Vec::new();
    let (mut tried, mut struck) = (0, 0);
    for (call, count) in counts() {
        if spared.contains(&call.as_str()) {
            continue;
        }
        for when in chosen(count) {
            let run = std::panic::catch_unwind(|| hit(&call, fault, when));
            tried += 1;
            struck += usize::from(matches!(run, Ok(true)));
            if run.is_err() {
                failed.push(format!("{call}:{fault}:when={when}"));
            }
        }
    }
    println!("{fault}: {struck} of {tried} struck, {} failed", failed.len());
    // The last call of a thread in one run may not come in another; most do.
    assert!(struck + failed.len() > tried / 2, "the faults did not strike: {struck} of {tried}");
    assert!(failed.is_empty(), "lost or stuck after: {failed:?}");
}

fn killed_at_each_call() {
    each("signal=SIGKILL", &[]);
}

fn input_output_error_at_each_call() {
    // `write` also wakes threads and prints lines, which are not files.
    each("error=EIO", &["write"]);
}

fn no_space_at_each_call() {
    each("error=ENOSPC", &["write", "fsync", "unlink", "unlinkat"]);
}

fn main() -> ExitCode {
    trace::main(&[
        ("killed_at_each_call", killed_at_each_call),
        ("input_output_error_at_each_call", input_output_error_at_each_call),
        ("no_space_at_each_call", no_space_at_each_call),
    ])
}
