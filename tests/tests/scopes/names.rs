//! Names that the processes of a scope ask the configured resolver for.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

use sealtap_tests::gate::{OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::records::names;
use sealtap_tests::{resolver, verify};

use super::cgroup::Cgroup;
use super::{CURL, USER, config, covered, model, serve};

/// On this machine, at an address of this process's own: nothing else listens at port 53 of it.
fn resolver_address() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 53, high, low)
}

const ASK: &str = "python3 -c \"
import socket,struct,sys
name='sealed-by-serve.example'
m=b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+b''.join(bytes([len(l)])+l.encode() for l in name.split('.'))
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(20)
s.sendto(m+struct.pack('!BHH',0,1,1),(sys.argv[1],53)); assert b'sealed-by-serve' in s.recv(512)
\" \"$0\"";

/// Whether a file below the store has these bytes.
fn holds(home: &Home, wanted: &[u8]) -> bool {
    let files = fs::read_dir(home.data().join("store")).expect("the store can be listed");
    files.flatten().any(|file| {
        let bytes = fs::read(file.path()).unwrap_or_default();
        memchr::memmem::find(&bytes, wanted).is_some()
    })
}

/// They are sealed, an edit of what is kept of them is found, and once they are too old they are gone and
/// all else holds. So it is with who made the connections.
pub(super) fn names_are_sealed_and_go_when_they_are_old() {
    let cgroup = Cgroup::new();
    let address = resolver_address();
    let asks = address.to_string();
    let gateway = serve(&cgroup, &format!("resolver = \"{asks}\"\n"));
    let heard = gateway.home().path().join("heard");
    let status = resolver::around(&[address.into()], cgroup.command(ASK, &asks), &heard);
    assert!(status.success(), "{status}");
    let heard = fs::read_to_string(heard).expect("what was heard");
    assert_eq!(heard.trim(), format!("{asks} udp sealed-by-serve.example 1"));
    let upstream = model();
    cgroup.run(CURL, &format!("{}/led", upstream.url()));
    let listed = poll("the names", || {
        let listed = names(gateway.home());
        (!listed.is_empty()).then_some(listed)
    });
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0]["name"], &listed[0]["count"]),
        (&"sealed-by-serve.example".into(), &1.into())
    );
    let said = gateway.stderr();
    let home = gateway.terminate();
    assert!(!said.contains("sealed-by-serve"), "{said}");
    assert_eq!(covered(&home)[0]["packets"]["allowed"], 1);
    let report = verify::report(&home.data(), &home.keys());
    assert_eq!(
        (&report["verdict"], &report["bodies"]["units"]),
        (&"valid".into(), &2.into()),
        "{report}"
    );

    let store = home.data().join("store/exchanges.db");
    let edit = |text: &str| {
        let database = rusqlite::Connection::open(&store).expect("a store");
        // Or a copy of what is edited stays in its page, where no deletion of rows finds it.
        database.pragma_update(None, "secure_delete", true).expect("it can be edited so");
        assert!(database.execute(text, []).expect("it can be edited") > 0, "{text}");
    };
    for (part, bytes) in [("names", "{\"questions\":"), ("maker", "{\"client\":")] {
        let there = format!("WHERE CAST(bytes AS TEXT) LIKE '{bytes}%'");
        edit(&format!("UPDATE aside SET bytes = CAST(bytes || ' ' AS BLOB) {there}"));
        let report = verify::report(&home.data(), &home.keys());
        let found = report["findings"].as_array().expect("a list");
        assert!(
            found
                .iter()
                .any(|one| one.to_string().contains(&format!(", {part}: its bytes or key"))),
            "{report}"
        );
        let whole = "CAST(substr(bytes, 1, length(bytes) - 1) AS BLOB)";
        edit(&format!("UPDATE aside SET bytes = {whole} {there}"));
    }
    home.assert_valid();

    let retention = "[retention]\nmax_age = \"1s\"\n[log]\ncheckpoint = \"50ms\"\n";
    let gateway = Options::default()
        .config(config(&cgroup, retention))
        .argument(format!("--user={}", USER.0))
        .start_in(Arc::clone(&home));
    poll_for(OF_A_GATEWAY, "names that are gone", || names(&home).is_empty().then_some(()));
    poll_for(OF_A_GATEWAY, "a store without them", || {
        // Who made the connection may become too old a little later, and goes by another statement.
        let left = [&b"sealed-by-serve"[..], b"{\"client\":"];
        (!left.iter().any(|bytes| holds(&home, bytes))).then_some(())
    });
    gateway.terminate();
    let report = verify::report(&home.data(), &home.keys());
    assert_eq!(
        (&report["verdict"], &report["bodies"]["units"]),
        (&"valid".into(), &0.into()),
        "{report}"
    );
    upstream.finish();
    cgroup.remove();
}
