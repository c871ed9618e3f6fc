//! The variables by which the command finds the gateway.
//!
//! In: the caller's environment, the flags, where the gateway listens. Out: what the command has
//! instead, a table of upstreams that goes with it, and what there is to say about it afterwards.
//! Never: changes this process's own environment, or repeats a value that may hold a password.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::child::Variable;
use crate::accept::authority::{self, Authority, AuthorityError, RootsSince};
use crate::command::Failure;
use crate::command::run::Start;
use crate::config::{Capture, Config, UpstreamConfig, Url};
use crate::data::DataDir;
use crate::identify::Launch;
use crate::route::Table;

/// Variables that name a proxy, in every spelling that some runtime reads alone.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name what goes past the proxy.
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The variable that tells a command under which run it is recorded.
const RUN: &str = "SEALTAP_RUN";

/// The variable with the gateway's own base URL, for whoever addresses it by an upstream's name.
const URL: &str = "SEALTAP_URL";

/// Variables by which SDKs take a base URL: the upstream's name, and the path that the SDK expects at
/// the end of it.
const BASE_URLS: [(&str, &str, &str); 9] = [
    ("ANTHROPIC_BASE_URL", "anthropic", ""),
    ("CO_API_URL", "cohere", ""),
    ("GOOGLE_GEMINI_BASE_URL", "gemini", ""),
    ("GROQ_BASE_URL", "groq", ""),
    ("OLLAMA_HOST", "ollama", ""),
    ("OPENAI_API_BASE", "openai", "/v1"),
    ("OPENAI_BASE_URL", "openai", "/v1"),
    ("TOGETHER_BASE_URL", "together", "/v1"),
    ("XAI_BASE_URL", "xai", "/v1"),
];

/// Where the files are that make the command trust the gateway.
pub(super) struct Trust {
    certificate: PathBuf,
    bundle: PathBuf,
    /// Where they are for such a command, as long as it runs.
    _folder: Option<TempDir>,
}

/// The same while the machine's roots are looked at, which needs no gateway.
pub(super) struct TrustToBe {
    trust: Trust,
    reading: Option<JoinHandle<RootsSince>>,
}

impl Trust {
    /// Begins to look at the machine's roots, beside the gateway's start.
    pub(super) fn begin(data: &DataDir) -> TrustToBe {
        // The command may change its directory.
        let folder = data.ca();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let (certificate, bundle) = (folder.join("ca.pem"), folder.join("bundle.pem"));
        let path = bundle.clone();
        let reading = thread::Builder::new().name("roots".to_owned());
        // Without a thread they are read once they are needed.
        let reading = reading.spawn(move || RootsSince::look(&path)).ok();
        TrustToBe { trust: Self { certificate, bundle, _folder: None }, reading }
    }

    /// The same for a command that does not get into the data directory.
    ///
    /// # Errors
    ///
    /// They cannot be copied.
    pub(super) fn for_anybody(self) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sealtap-ca-").tempdir()?;
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let copied = |from: &Path, name: &str| {
            let path = folder.path().join(name);
            fs::copy(from, &path).and_then(|_| mode(&path, 0o644)).map(|()| path)
        };
        let certificate = copied(&self.certificate, "ca.pem")?;
        let bundle = copied(&self.bundle, "bundle.pem")?;
        mode(folder.path(), 0o755)?;
        Ok(Self { certificate, bundle, _folder: Some(folder) })
    }
}

impl TrustToBe {
    /// Writes the files: the authority's certificate, and the machine's roots with it.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn write(self, authority: &Authority) -> Result<Trust, AuthorityError> {
        let Self { trust, reading } = self;
        let roots = reading.and_then(|reading| reading.join().ok());
        let roots = roots.unwrap_or_else(|| RootsSince::look(&trust.bundle));
        authority::write_certificate(authority, &trust.certificate)?;
        roots.bundle(authority)?;
        Ok(trust)
    }
}

/// What the command will find.
pub(super) struct Plan {
    /// Where its requests go.
    pub(super) table: Table,
    /// Variables with a base URL: the upstream's name and the path behind it.
    base_urls: Vec<(&'static str, String)>,
    exempt: Option<String>,
    drop_exempt: bool,
    notes: Vec<String>,
}

impl Plan {
    /// Reads the caller's environment.
    ///
    /// # Errors
    ///
    /// The table of upstreams cannot be made.
    pub(super) fn new(start: &Start) -> Result<Self, Failure> {
        let caller = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self::for_caller(start.base_urls, &start.gateway.config, &caller)
    }

    fn for_caller(
        base_urls: bool,
        config: &Config,
        caller: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut config = config.clone();
        let mut notes = Vec::new();
        let base_urls = match base_urls {
            true => pointed(&mut config, caller, &mut notes),
            false => Vec::new(),
        };
        let replaced: Vec<_> = PROXIES.into_iter().filter(|name| caller(name).is_some()).collect();
        if !replaced.is_empty() {
            notes.push(format!(
                "the caller's {} replaced and not used: the gateway connects to upstreams by itself",
                replaced.join(", ")
            ));
        }
        let exempt = EXEMPT.iter().find_map(|name| caller(name));
        let drop_exempt = config.capture == Capture::All;
        Ok(Self { table: Table::new(&config)?, base_urls, exempt, drop_exempt, notes })
    }

    /// The command's variables, for a gateway at `address`.
    pub(super) fn variables(
        &self,
        address: SocketAddr,
        launch: &Launch,
        trust: &Trust,
    ) -> Vec<Variable> {
        let proxy = format!("http://{address}");
        let mut variables: Vec<Variable> = Vec::new();
        let mut set =
            |name: &str, value: Option<OsString>| variables.push((name.to_owned(), value));
        for name in PROXIES {
            set(name, Some(proxy.clone().into()));
        }
        for (name, value, _) in authority::environment(&proxy, &trust.certificate, &trust.bundle) {
            set(name, Some(value.into()));
        }
        if self.drop_exempt {
            for name in EXEMPT {
                set(name, None);
            }
        }
        for (name, path) in &self.base_urls {
            set(name, Some(format!("{proxy}/{path}").into()));
        }
        set(URL, Some(proxy.into()));
        set(RUN, Some(launch.name().into()));
        variables
    }

    /// What there is to say about it.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        match &self.exempt {
            Some(_) if self.drop_exempt => {
                notes.push("NO_PROXY of the caller was taken away (--capture all)".to_owned());
            }
            Some(hosts) => notes.push(format!(
                "NO_PROXY of the caller holds: {hosts} went around the gateway (--capture all takes it \
                 away)"
            )),
            None => {}
        }
        notes
    }
}

/// Where each base URL is to point. One that the caller has set already leads where it led, through
/// the gateway: its upstream takes the place of the known one.
fn pointed(
    config: &mut Config,
    caller: &dyn Fn(&str) -> Option<String>,
    notes: &mut Vec<String>,
) -> Vec<(&'static str, String)> {
    let given = config.upstreams.clone();
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    let mut pointed = Vec::new();
    for (variable, name, path) in BASE_URLS {
        let Some(value) = caller(variable) else {
            if !taken.contains_key(name) {
                pointed.push((variable, format!("{name}{path}")));
            }
            continue;
        };
        // What was said on the command line wins.
        if given.contains_key(name) {
            pointed.push((variable, format!("{name}{path}")));
            continue;
        }
        match value.parse::<Url>() {
            Ok(_) if taken.get(name).is_some_and(|other| *other != value) => notes.push(format!(
                "{variable} was left as it is: it leads elsewhere than the other variable of {name}"
            )),
            Ok(url) => {
                config.upstreams.insert(name.to_owned(), UpstreamConfig::new(url));
                taken.insert(name, value);
                pointed.push((variable, name.to_owned()));
            }
            Err(_) => notes.push(format!(
                "{variable} was left as it is: it is no URL that an upstream can have"
            )),
        }
    }
    // The variables of an upstream that the caller led elsewhere: not to the known one any more.
    pointed.retain(|(variable, path)| {
        let name = path.split('/').next().unwrap_or_default();
        caller(variable).is_some() || !taken.contains_key(name)
    });
    pointed
}
