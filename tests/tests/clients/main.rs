//! Real, unmodified clients through every door.
//!
//! Each client runs twice per door: straight to its server, and through sealtap. Then four things
//! must hold: its own results are the same; the upstream received the same requests (but for what
//! `compare.rs` names); every captured body equals what the upstream received and sent; the log
//! verifies. `cargo xtask clients` installs the clients, at the versions pinned in `tests/clients`,
//! and runs this; without it every test says so and none passes.

mod checks;
mod client;
mod compare;
mod door;
mod recorder;
mod servers;
mod streams;
mod table;
mod transcript;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use sealtap_tests::content::Content;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::suite;

use crate::client::{Client, Installed, Outcome};
use crate::door::{DOORS, Door};
use crate::recorder::Recorder;
use crate::servers::Servers;
use crate::table::CLIENTS;
use crate::transcript::Seen;

/// What a client did without sealtap, and the recorder that saw it.
struct Direct {
    recorder: Recorder,
    results: Vec<Outcome>,
    seen: Vec<Seen>,
}

/// Everything that the tests share.
struct World {
    installed: Installed,
    servers: Servers,
    direct: Mutex<BTreeMap<(&'static str, bool), Arc<Direct>>>,
}

impl World {
    /// The client's direct calls, made once per scheme.
    fn direct(&self, client: &'static Client, tls: bool) -> Arc<Direct> {
        let mut known = self.direct.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let made = known.entry((client.name, tls)).or_insert_with(|| {
            let recorder = self.servers.recorder(&self.installed, client.server, tls);
            let base = recorder.base();
            let variables = self.servers.trust().variables();
            let results = client::run(client, &self.installed, &base, &[], &variables);
            let seen = recorder.take();
            Arc::new(Direct { recorder, results, seen })
        });
        Arc::clone(made)
    }

    fn test(&self, client: &'static Client, door: Door) {
        let direct = self.direct(client, door.tls());
        // A test that failed before this one leaves what it did behind.
        let _left_behind = direct.recorder.take();
        let upstream = direct.recorder.base();
        let opened = door.open(&upstream, self.servers.trust());
        let results =
            client::run(client, &self.installed, &opened.base, &opened.before, &opened.variables);
        let mut exchanges = opened.close();
        let seen = direct.recorder.take();
        let same = compare::results(&direct.results, &results)
            .and_then(|()| compare::requests(client, &direct.seen, &seen));
        // Of where the kernel led it from, the gateway knows the address.
        let asked = match door {
            Door::Kernel => upstream.replace("//localhost:", "//127.0.0.1:"),
            _ => upstream.clone(),
        };
        if door == Door::Kernel {
            exchanges.retain(|exchange| !is_tried_in_vain(exchange, &upstream));
        }
        let same = same.and_then(|()| compare::captured(&asked, &seen, &exchanges));
        same.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

/// Whether a client tried the other address of `localhost`, where nobody listens: by itself it is refused, and
/// here it is led to the gateway before that can be known, which records that nothing came of it.
fn is_tried_in_vain(exchange: &Exchange, upstream: &str) -> bool {
    let port = upstream.rsplit(':').next().unwrap_or_default();
    exchange.text("/method") == "CONNECT"
        && exchange.text("/url") == format!("[::1]:{port}")
        && exchange.body(Direction::Response) == Content::of([])
}

/// What a test does.
type Test<'a> = Box<dyn Fn() + Send + Sync + 'a>;

fn main() -> ExitCode {
    let (world, missing) = match Installed::find() {
        Ok(installed) => {
            let servers = Servers::default();
            (Some(World { installed, servers, direct: Mutex::default() }), None)
        }
        Err(missing) => (None, Some(missing)),
    };
    let mut tests: Vec<(String, Option<String>, Test<'_>)> = Vec::new();
    macro_rules! and {
        ($($name:ident),*) => {
            $(tests.push((
                stringify!($name).to_owned(), missing.clone(), Box::new(checks::$name)
            ));)*
        };
    }
    and![transcripts_are_read, a_changed_request_is_found, a_changed_result_is_found];
    let kernel = missing.clone().or_else(|| suite::without_the_kernel(&[]));
    for client in &CLIENTS {
        for door in DOORS {
            let name = format!("{}_{}", client.name, door.word());
            if let Some((_, reason)) = client.unable.iter().find(|(unable, _)| *unable == door) {
                println!("{name}: this client is not able to: {reason}");
                continue;
            }
            let world = world.as_ref();
            let test = move || world.expect("nothing is missing").test(client, door);
            let lacks = if door == Door::Kernel { &kernel } else { &missing };
            tests.push((name, lacks.clone(), Box::new(test)));
        }
    }
    let tests: Vec<_> =
        tests.iter().map(|(name, lacks, test)| (name.as_str(), lacks.clone(), test)).collect();
    suite::each_with_its_own(&tests)
}
