//! What runs from an overlay: its digest is that of what ran where the overlay stands in the tree of mounts that the
//! loader is in, and unknown where somebody has mounted it in a tree of their own, maybe over files that they make up.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::launch::Launch;
use sealtap_tests::seen;
use serde_json::Value;

use super::attribution::{digest, resolved};
use super::{REQUIRE, home, run};

/// An overlay mounted elsewhere, gone with the process.
const APART: &[&str] =
    &["-m", "mount", "-t", "overlay", "overlay", "-o", "lowerdir=/usr:/etc", "/mnt"];

/// Why there are no overlays here.
pub(super) fn missing() -> Option<String> {
    let mounted = Command::new("unshare").args(APART).output();
    let fails = mounted.map_or(true, |output| !output.status.success());
    fails.then(|| "no overlay can be mounted here (unshare, mount, overlayfs)".to_owned())
}

pub(super) fn what_is_on_an_overlay_of_its_own_has_no_digest() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::clone(&home);
    let served = std::thread::spawn(move || {
        for count in 1..=2 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.read(&mut [0; 999]).expect("a request");
            // It is there until it was looked at.
            seen::connections(&asked, count);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
                .expect("the answer leaves");
        }
    });
    for folder in ["lower", "empty", "merged"] {
        fs::create_dir(home.path().join(folder)).expect("a folder");
    }
    let (curl, copy) = (resolved("curl"), home.path().join("lower/curl"));
    fs::copy(&curl, &copy).expect("a copy");
    // The first in a tree of its own, the second in the loader's.
    let script = format!(
        "asks() {{ mount -t overlay overlay -o lowerdir=lower:empty merged && \
         merged/curl -sS --noproxy '*' http://127.0.0.1:{port}/; umount -l merged; }}; \
         case $1 in in) asks;; *) unshare -m sh asks.sh in && asks;; esac"
    );
    fs::write(home.path().join("asks.sh"), script).expect("written");
    let launched =
        run(Launch::new(&home, &[REQUIRE]).telling(), &["sh", "asks.sh", "out"]).expect(0);
    served.join().expect("both were served");
    assert_eq!(launched.stdout(), "yesyes", "{}", launched.stderr());
    let all = launched.captured(2);
    let mut digests: Vec<Value> =
        all.iter().map(|one| one.json["maker"]["sha256"].clone()).collect();
    digests.sort_by_key(|one| one.is_string());
    assert_eq!(digests, [Value::Null, digest(&copy).into()], "{}", launched.account);
    for one in &all {
        let executable = one.json["maker"]["executable"].as_str().expect("its path is known");
        assert!(executable.ends_with("merged/curl"), "{executable}");
    }
    let said = launched.account.to_string();
    assert!(said.contains("on an overlay that is mounted elsewhere"), "{said}");
}
