//! Asked: a run in a network of its own with real servers of names, and what is held of it afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rusqlite::Connection;
use sealtap_common::commit::{self, BodyKey, UnitKind};
use sealtap_common::leaf::Leaf;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::{coverage, leaves, records, seen, verify};
use serde_json::Value;

use super::{ANOTHER, RESOLVER, RESOLVER_6, SERVER};

/// A run, and what the servers heard.
pub(crate) struct Asked {
    pub(crate) launched: Launched,
    pub(crate) heard: Vec<String>,
}

/// Runs a command in a network of its own that has the servers, under sealtap.
pub(crate) fn ask(flags: &[&str], resolver: &str, line: &[&str]) -> Asked {
    ask_while(flags, resolver, line, &[])
}

/// The same; whenever one of these numbers of packets was read, with who sent them, a file `seen.NUMBER` says so
/// to whoever stays until then.
pub(crate) fn ask_while(flags: &[&str], resolver: &str, line: &[&str], counts: &[u64]) -> Asked {
    let home = &Arc::new(Home::new());
    let (conf, switch) = (home.path().join("resolv.conf"), home.path().join("nsswitch.conf"));
    fs::write(&conf, format!("nameserver {resolver}\noptions timeout:20 attempts:1\n"))
        .expect("a configuration");
    fs::write(&switch, "hosts: files dns\n").expect("a configuration");
    let heard = home.path().join("heard");
    let prepare = format!(
        "ip link set lo up mtu 1500 && ip addr add {RESOLVER}/32 dev lo && \
         ip addr add {ANOTHER}/32 dev lo && ip -6 addr add {RESOLVER_6}/128 dev lo nodad && \
         mount --bind {} /etc/resolv.conf && mount --bind {} /etc/nsswitch.conf && exec \"$@\"",
        conf.display(),
        switch.display()
    );
    let inner = Launch::new(home, flags).telling().command(line);
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", &prepare, "sh"]);
    command.arg(std::env::current_exe().expect("this program")).arg(SERVER).arg(&heard);
    command.args([RESOLVER, RESOLVER_6, ANOTHER, "--"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().expect("a home"));
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().expect("it can be run");
    for count in counts {
        seen::asked(home, *count);
        fs::write(home.path().join(format!("seen.{count}")), "").expect("written");
    }
    let output: Output = running.wait_with_output().expect("it ends");
    let heard = fs::read_to_string(&heard).unwrap_or_default();
    let heard = heard.lines().map(str::to_owned).collect();
    Asked { launched: Launched::new(Arc::clone(home), output), heard }
}

pub(crate) fn python(flags: &[&str], resolver: &str, script: &str) -> Asked {
    ask(flags, resolver, &["python3", "-c", script])
}

impl Asked {
    pub(crate) fn expect(self, code: i32) -> Self {
        Self { launched: self.launched.expect(code), ..self }
    }

    /// What `sealtap names` lists.
    pub(crate) fn names(&self) -> Vec<Value> {
        records::names(&self.launched.home)
    }

    /// How often each name was asked for, by its type.
    pub(crate) fn counts(&self) -> BTreeMap<(String, String), u64> {
        let word = |value: &Value| value.as_str().expect("a word").to_owned();
        let mut counts = BTreeMap::new();
        for name in self.names() {
            let count = name["count"].as_u64().expect("a number");
            *counts.entry((word(&name["name"]), word(&name["type"]))).or_default() += count;
        }
        counts
    }

    pub(crate) fn count(&self, name: &str, kind: &str) -> u64 {
        self.counts().get(&(name.to_owned(), kind.to_owned())).copied().unwrap_or(0)
    }

    /// A number of the account.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let value = &self.launched.account["coverage"]["names"][name];
        value.as_u64().unwrap_or_else(|| panic!("no {name}: {}", self.launched.account))
    }

    pub(crate) fn connections(&self, name: &str) -> u64 {
        coverage::connections(&self.launched, name)
    }

    pub(crate) fn heard_by(&self, server: &str) -> usize {
        self.heard.iter().filter(|line| line.split(' ').next() == Some(server)).count()
    }

    /// The verifier takes the log and says of it what the account does; every unit opens its leaf, and no
    /// name stands in the log or in what was said on the way.
    pub(crate) fn holds(&self) -> Value {
        let home = &self.launched.home;
        let report = verify::valid(home);
        assert!(report["bodies"]["units"].as_u64() >= Some(1), "the names were opened: {report}");
        let queries = report["queries"].as_array().expect("a list");
        let sum =
            |name: &str| -> u64 { queries.iter().filter_map(|each| each[name].as_u64()).sum() };
        for name in ["seen", "parsed", "unparsable", "lost", "cut", "questions"] {
            assert_eq!(self.number(name), sum(name), "{name}: {report}");
        }
        let covered = &report["coverage"][0];
        assert_eq!(covered["end"], "ended", "{covered}");
        assert_eq!(covered["packets"]["allowed"].as_u64(), Some(self.number("seen")), "{covered}");
        let listed: u64 = self.counts().values().sum();
        assert_eq!(listed + sum("omitted"), self.number("questions"), "{report}");
        self.units_open_their_leaves();
        let said = self.launched.stderr();
        let log = everything(&home.log());
        for name in self.names() {
            let name = name["name"].as_str().expect("a name");
            if name.len() > 8 {
                assert!(!said.contains(name), "{said}");
                let found = memchr::memmem::find(&log, name.as_bytes());
                assert_eq!(found, None, "{name} stands in the log");
            }
        }
        report["queries"].clone()
    }

    fn units_open_their_leaves(&self) {
        let store = self.launched.home.data().join("store/exchanges.db");
        let store = Connection::open(store).expect("a store");
        let mut rows = store.prepare("SELECT leaf, key, bytes FROM aside").expect("a table");
        let rows = rows.query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let units: BTreeMap<_, _> = rows
            .expect("rows")
            .map(|row| row.expect("a row"))
            .map(|(leaf, key, bytes)| (leaf, (key, bytes)))
            .collect();
        for (index, leaf) in (0..).zip(leaves::bytes(&self.launched.home.log())) {
            let Ok(Leaf::DnsQueries(leaf)) = Leaf::decode(&leaf) else { continue };
            let Some(bound) = leaf.names else { continue };
            let (key, bytes) = units.get(&index).expect("its unit is kept");
            assert_eq!(commit::unit(&BodyKey::new(*key), UnitKind::Questions, bytes), bound);
        }
    }
}

/// All bytes of all files below a folder.
fn everything(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => bytes.extend(everything(&path)),
            false => bytes.extend(fs::read(path).unwrap_or_default()),
        }
    }
    bytes
}
