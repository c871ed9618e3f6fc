//! Door: a way from a client to its server through sealtap. Opening one starts sealtap and says where
//! the client finds it; closing it verifies the log and lists what was captured.

use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::launch::CLEARED;
use sealtap_tests::records::{self, Exchange};
use sealtap_tests::{programs, verify};
use serde_json::Value;

use crate::servers::Trust;

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// A base URL of the gateway, in cleartext on both sides.
    Reverse,
    /// A base URL of the gateway, TLS on both sides.
    ReverseTls,
    /// The gateway as proxy of a server in cleartext: targets in absolute form, or CONNECT where a
    /// client prefers it.
    Forward,
    /// The gateway as proxy of a server with TLS, which it opens.
    Connect,
    /// `sealtap run`, the server with TLS.
    Run,
    /// The same where the kernel leads connections to the gateway, and the client is told of no proxy.
    Kernel,
}

/// Every door.
pub(crate) const DOORS: [Door; 6] =
    [Door::Reverse, Door::ReverseTls, Door::Forward, Door::Connect, Door::Run, Door::Kernel];

impl Door {
    /// The word in the names of tests.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
            Self::ReverseTls => "reverse_tls",
            Self::Forward => "forward",
            Self::Connect => "connect",
            Self::Run => "run",
            Self::Kernel => "kernel",
        }
    }

    /// Whether the server is reached over TLS.
    pub(crate) fn tls(self) -> bool {
        matches!(self, Self::ReverseTls | Self::Connect | Self::Run | Self::Kernel)
    }

    /// Opens the door to the server at `upstream`, whose authority sealtap is told to trust.
    pub(crate) fn open(self, upstream: &str, trust: &Trust) -> Opened {
        let authority = |options: Options| match self.tls() {
            true => options.argument("--upstream-ca").argument(trust.authority()),
            false => options,
        };
        match self {
            Self::Reverse => {
                let gateway = Options::default().upstream("up", upstream).start();
                let base = format!("http://{}/up", gateway.address());
                Opened::gateway(base, Vec::new(), gateway)
            }
            Self::ReverseTls => {
                let [certificate, key] = trust.identity();
                let tls = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
                let options = Options::default().upstream("up", upstream).config(tls);
                let gateway = authority(options).start();
                let base = format!("https://localhost:{}/up", gateway.address().port());
                Opened::gateway(base, trust.variables(), gateway)
            }
            Self::Forward | Self::Connect => {
                let options = Options::default().argument("--capture").argument("all");
                let gateway = authority(options).start();
                let proxy = format!("http://{}", gateway.address());
                let variables = printed(gateway.home(), &proxy);
                Opened::gateway(upstream.to_owned(), variables, gateway)
            }
            Self::Run | Self::Kernel => {
                let home = Arc::new(Home::new());
                let mut before: Vec<OsString> = vec![programs::sealtap().into(), "run".into()];
                before.extend(["--data".into(), home.data().into()]);
                before.extend(["--lock".into(), home.lock().into()]);
                before.extend(["--capture".into(), "all".into()]);
                before.extend(["--upstream-ca".into(), trust.authority().into()]);
                if self == Self::Kernel {
                    before.extend(["--kernel".into(), "require".into()]);
                }
                before.push("--".into());
                if self == Self::Kernel {
                    before.extend(CLEARED.map(Into::into));
                }
                let variables = Vec::new();
                let (base, led) = (upstream.to_owned(), self == Self::Kernel);
                Opened { base, before, variables, held: Held::Home(home), led }
            }
        }
    }
}

/// The variables that `sealtap ca` prints for clients of the gateway at `proxy`.
fn printed(home: &Home, proxy: &str) -> Vec<(String, String)> {
    let output = Command::new(programs::sealtap())
        .args(["ca", "--json", "--proxy", proxy, "--data"])
        .arg(home.data())
        .output()
        .expect("sealtap can be run");
    assert!(output.status.success(), "sealtap ca failed: {}", verify::text(&output));
    let said: Value = serde_json::from_slice(&output.stdout).expect("it prints one JSON value");
    let variables = said["environment"].as_array().expect("a list of variables");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    variables.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

/// A door that stands open.
pub(crate) struct Opened {
    /// What the client takes for its server.
    pub(crate) base: String,
    /// The program that the client runs under, with its arguments.
    pub(crate) before: Vec<OsString>,
    /// Variables of the client's environment.
    pub(crate) variables: Vec<(String, String)>,
    held: Held,
    /// Whether the kernel leads to it.
    led: bool,
}

/// Where what was captured lies.
enum Held {
    /// With a gateway that runs until the door is closed.
    Gateway(Box<Gateway>),
    /// In the home of a `sealtap run`, which ends with its client.
    Home(Arc<Home>),
}

impl Opened {
    fn gateway(base: String, variables: Vec<(String, String)>, gateway: Gateway) -> Self {
        let held = Held::Gateway(Box::new(gateway));
        Self { base, before: Vec::new(), variables, held, led: false }
    }

    /// Closes it, verifies the log and lists what was captured: behind the kernel's door, by that alone.
    ///
    /// # Panics
    /// If the log is not valid, or an exchange is not in it.
    pub(crate) fn close(self) -> Vec<Exchange> {
        match self.held {
            Held::Gateway(gateway) => gateway.finish(),
            Held::Home(home) => {
                home.assert_valid();
                let list = records::list(&home);
                for exchange in &list {
                    assert!(exchange.sealed(), "left unsealed at exit: {}", exchange.json);
                    if self.led {
                        assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
                    }
                }
                list
            }
        }
    }
}
