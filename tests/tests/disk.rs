//! A disk that is full, for real, and one that is slow: small file systems, filled under load.
//!
//! Needs root, to mount them. Where that is not to be had every case says so and none passes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use sealtap_tests::bench::NAME;
use sealtap_tests::content::Pattern;
use sealtap_tests::gate::{OF_A_GATEWAY, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{End, head};
use sealtap_tests::load::Seen;
use sealtap_tests::records;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::volume::Volume;
use sealtap_tests::wire::Wire;
use sealtap_tests::{leaves, suite, trace, volume};

/// Small files, so that a small volume holds several; and a log that is written often.
const CONFIG: &str = "[journal]\nfile_size = \"1MiB\"\n\n[log]\ncheckpoint = \"200ms\"\n";

fn options(seen: &Seen) -> (Upstream, Options) {
    let upstream = seen.upstream();
    let options = Options::default().config(CONFIG).upstream(NAME, upstream.url());
    (upstream, options)
}

/// How many gap leaves there are, each for want of room.
fn gaps(home: &Home) -> usize {
    let mut leaves = leaves::all(&home.log());
    leaves.retain(|leaf| leaf["kind"] == "gap");
    assert!(leaves.iter().all(|gap| gap["reason"] == "disk_full"), "{leaves:?}");
    leaves.len()
}

/// Stops the gateway and holds the record against what clients and upstream saw.
fn account(gateway: Gateway, seen: &Seen) -> Arc<Home> {
    let home = gateway.terminate();
    let list = records::list(&home);
    seen.account(&list);
    assert_eq!(seen.unrecorded(&list), Vec::<String>::new(), "forwarded and not recorded");
    home
}

/// The data directory fills while clients call: they are refused, nothing passes unrecorded, and
/// with room again all goes on, although the clients never stop: what is freed goes to the log and
/// the store before the journal takes it for more.
fn a_full_disk_refuses_and_comes_back() {
    let home = Arc::new(Home::new());
    let volume = Volume::mount(&home.data(), 64);
    let seen = Seen::default();
    let (upstream, options) = options(&seen);
    let gateway = options.start_in(home);
    let stop = Arc::new(AtomicBool::new(false));
    // Not ended by an answer that is cut: the load goes on whatever comes.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (seen, stop, address) = (seen.clone(), Arc::clone(&stop), gateway.address());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    seen.call(address);
                }
            })
        })
        .collect();
    for _ in 0..2 {
        let finished = seen.finished() + 20;
        poll_for(OF_A_GATEWAY, "calls that are answered", || {
            (seen.finished() >= finished).then_some(())
        });
        let refused = seen.refused();
        volume.fill();
        poll_for(OF_A_GATEWAY, "calls that are refused", || {
            (seen.refused() > refused + 20).then_some(())
        });
        volume.free();
    }
    let finished = seen.finished() + 20;
    poll_for(OF_A_GATEWAY, "calls that are answered again", || {
        (seen.finished() >= finished).then_some(())
    });
    // Until the room runs short by what is recorded alone: that, too, leaves enough to store it all.
    let refused = seen.refused();
    poll_for(OF_A_GATEWAY, "calls that are refused again", || {
        (seen.refused() > refused + 20).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("a client saw what it should");
    }
    let home = account(gateway, &seen);
    assert!(gaps(&home) >= 2, "the log says nothing of the refusals");
    upstream.finish();
    drop(volume);
}

/// A gateway of which one folder is on a small disk that is full since its first call was sealed.
struct Full {
    volume: Volume,
    seen: Seen,
    upstream: Upstream,
    gateway: Gateway,
}

fn full_under(folder: fn(&Home) -> PathBuf, mebibytes: u64) -> Full {
    let home = Arc::new(Home::new());
    let volume = Volume::mount(&folder(&home), mebibytes);
    let seen = Seen::default();
    let (upstream, options) = options(&seen);
    let gateway = options.start_in(home);
    assert!(seen.call(gateway.address()));
    gateway.wait_sealed(1);
    volume.fill();
    Full { volume, seen, upstream, gateway }
}

fn store(home: &Home) -> PathBuf {
    home.data().join("store")
}

/// Traffic goes on meanwhile, and with room again all of it is sealed.
fn only_delays(full: Full) {
    let Full { volume, seen, upstream, gateway } = full;
    for _ in 0..30 {
        assert!(seen.call(gateway.address()));
    }
    assert_eq!(seen.finished(), 31, "calls were refused");
    volume.free();
    gateway.wait_sealed(31);
    account(gateway, &seen);
    upstream.finish();
    drop(volume);
}

/// The next start in this home.
fn again(home: Arc<Home>, upstream: &Upstream) -> Gateway {
    Options::default().config(CONFIG).upstream(NAME, upstream.url()).start_in(home)
}

/// Without room to begin with, a gateway says so and ends; with room it starts.
fn a_disk_full_at_the_start() {
    let home = Arc::new(Home::new());
    let volume = Volume::mount(&home.data(), 16);
    volume.fill();
    let seen = Seen::default();
    let (upstream, full) = options(&seen);
    let Err((status, said)) = full.try_start_in(Arc::clone(&home)) else {
        panic!("a gateway started without room for its journal");
    };
    assert!(!status.success());
    assert!(said.contains("data") && said.contains("space"), "{said}");
    volume.free();
    let gateway = again(home, &upstream);
    for _ in 0..5 {
        assert!(seen.call(gateway.address()));
    }
    account(gateway, &seen);
    upstream.finish();
    drop(volume);
}

/// Where only the lock's disk is full, nothing can be signed: traffic goes on, and is sealed later.
fn a_full_disk_under_the_lock_only_delays_sealing() {
    only_delays(full_under(Home::lock, 2));
}

/// Where only the store's disk is full, the journal keeps everything until there is room.
fn a_full_disk_under_the_store_only_delays_storing() {
    // Large enough for all that is stored in the end.
    only_delays(full_under(store, 32));
}

/// One POST whose body is too large for the room that is left to the store.
fn large_call(gateway: &Gateway) {
    const LENGTH: u64 = 3 << 20;
    let mut wire = Wire::connect(gateway.address());
    let length = LENGTH.to_string();
    let fields = [("Host", "x"), ("Content-Length", length.as_str())];
    wire.send(head("POST /up/load/large HTTP/1.1", &fields));
    for piece in Pattern::new(LENGTH, LENGTH) {
        wire.send(piece);
    }
    let answer = wire.head();
    assert_eq!(answer.status(), 200);
    assert_eq!(wire.body(answer.response_framing("POST")).finish().end, End::Complete);
}

/// What is sealed and not stored when the gateway ends is listed with its leaf and no damage, and the
/// next start stores it: the store takes none that comes later, though it has room for it.
fn what_could_not_be_stored_at_the_end_is_listed_with_its_leaf() {
    let Full { volume, seen, upstream, gateway } = full_under(store, 16);
    large_call(&gateway);
    gateway.wait_sealed(2);
    volume.leave(1 << 20);
    for _ in 0..3 {
        assert!(seen.call(gateway.address()));
    }
    gateway.wait_sealed(5);
    let home = account(gateway, &seen);
    assert_eq!(records::list(&home).len(), 5);
    volume.free();
    let gateway = again(home, &upstream);
    assert!(seen.call(gateway.address()));
    gateway.wait_sealed(6);
    account(gateway, &seen);
    upstream.finish();
    drop(volume);
}

/// Where nothing can be signed when the gateway ends, it says so and fails; the next start seals.
fn what_could_not_be_sealed_at_the_end_is_said() {
    let Full { volume, seen, upstream, gateway } = full_under(Home::lock, 2);
    for _ in 0..5 {
        assert!(seen.call(gateway.address()));
    }
    gateway.signal(Signal::TERM);
    let (status, home) = gateway.ended();
    let list = records::list(&home);
    let sealed = list.iter().filter(|exchange| exchange.sealed()).count();
    assert_eq!((status.code(), list.len(), sealed), (Some(1), 6, 1), "unsealed and not said");
    volume.free();
    let gateway = again(home, &upstream);
    gateway.wait_sealed(6);
    account(gateway, &seen);
    upstream.finish();
    drop(volume);
}

/// A disk whose every sync takes a fifth of a second slows calls down, and loses none.
fn a_slow_disk_loses_nothing() {
    if let Some(reason) = trace::unavailable() {
        panic!("this case needs strace: {reason}");
    }
    let home = Arc::new(Home::new());
    let file = trace::file(home.path());
    let slow = ["fdatasync,fsync:delay_enter=200000".to_owned()];
    let wrapper = trace::strace("fdatasync,fsync", &slow, &file);
    let seen = Seen::default();
    let (upstream, options) = options(&seen);
    let gateway = options.under(wrapper).start_in(home);
    let stop = Arc::new(AtomicBool::new(false));
    let clients = seen.clients(gateway.address(), 16, &stop);
    poll_for(OF_A_GATEWAY, "calls that are answered", || (seen.finished() >= 60).then_some(()));
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("a client saw what it should");
    }
    assert_eq!(seen.refused(), 0, "a slow disk is no reason to refuse");
    account(gateway, &seen);
    upstream.finish();
}

fn main() -> ExitCode {
    let tests: [(&str, fn()); 7] = [
        ("a_full_disk_refuses_and_comes_back", a_full_disk_refuses_and_comes_back),
        ("a_disk_full_at_the_start", a_disk_full_at_the_start),
        (
            "a_full_disk_under_the_lock_only_delays_sealing",
            a_full_disk_under_the_lock_only_delays_sealing,
        ),
        (
            "a_full_disk_under_the_store_only_delays_storing",
            a_full_disk_under_the_store_only_delays_storing,
        ),
        (
            "what_could_not_be_stored_at_the_end_is_listed_with_its_leaf",
            what_could_not_be_stored_at_the_end_is_listed_with_its_leaf,
        ),
        (
            "what_could_not_be_sealed_at_the_end_is_said",
            what_could_not_be_sealed_at_the_end_is_said,
        ),
        ("a_slow_disk_loses_nothing", a_slow_disk_loses_nothing),
    ];
    suite::main(&tests, volume::unavailable())
}
