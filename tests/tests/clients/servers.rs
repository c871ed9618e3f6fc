//! Servers: real servers of others that the clients talk to, each started once and behind recorders.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use sealtap_tests::tls::Authority;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::{Installed, Language, Server};
use crate::recorder::{Behind, Recorder};

/// The variables that tell the clients here which authority to trust.
const TRUST: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// The running servers.
pub(crate) struct Servers {
    runtime: Arc<Runtime>,
    running: Mutex<BTreeMap<Server, (Process, u16)>>,
    trust: Trust,
}

/// The authority that certificates of the tests come from, in files.
pub(crate) struct Trust {
    authority: Authority,
    folder: TempDir,
}

/// A program that ends with the suite.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Default for Servers {
    fn default() -> Self {
        let folder = TempDir::with_prefix("sealtap-clients-").expect("a folder can be made");
        let authority = Authority::new();
        let identity = authority.identity();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        authority.write(&folder.path().join("authority.pem"));
        write("certificate.pem", &identity.certificate).expect("a file can be written");
        write("key.pem", &identity.key).expect("a file can be written");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = Arc::new(runtime.expect("a runtime can be made"));
        Self { runtime, running: Mutex::default(), trust: Trust { authority, folder } }
    }
}

impl Servers {
    /// A recorder before this server, which is started if it does not run.
    pub(crate) fn recorder(&self, installed: &Installed, server: Server, tls: bool) -> Recorder {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let folder = self.trust.folder.path();
        let (_, port) = running.entry(server).or_insert_with(|| start(installed, server, folder));
        let behind = match server {
            Server::Procedures => Behind::Http2,
            _ => Behind::Http1,
        };
        Recorder::start(&self.runtime, *port, behind, tls.then_some(&self.trust.authority))
    }

    /// What the recorders' certificates come from.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }
}

impl Trust {
    /// The file with the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The files of a certificate for `localhost` and of its key.
    pub(crate) fn identity(&self) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| self.folder.path().join(name))
    }

    /// Variables by which a client trusts these certificates.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let path = self.authority().display().to_string();
        TRUST.iter().map(|name| ((*name).to_owned(), path.clone())).collect()
    }
}

/// What a server says on standard error lies in `folder`: some tell of every failure that is wanted.
fn start(installed: &Installed, server: Server, folder: &Path) -> (Process, u16) {
    let (language, script) = match server {
        Server::Models => (Language::Node, "models.mjs"),
        Server::Plain => (Language::Python, "server.py"),
        Server::Tools => (Language::Python, "tools.py"),
        Server::Procedures => (Language::Python, "procedures.py"),
    };
    let line = installed.line(language, script);
    let mut child = Command::new(&line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join(script)).expect("a file can be made"))
        .spawn()
        .unwrap_or_else(|error| panic!("{script} cannot be run: {error}"));
    let output = child.stdout.take().expect("it is piped");
    let process = Process(child);
    let mut port = String::new();
    BufReader::new(output).read_line(&mut port).expect("a server says where it listens");
    (process, port.trim().parse().unwrap_or_else(|_| panic!("{script} does not listen: {port:?}")))
}
