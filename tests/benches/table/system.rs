//! The systems that are compared: how each is started, and how it is stopped.
//!
//! Each stands between the load generator and the upstream, with kept connections on both sides
//! and without buffering: in front of the upstream, or for TLS as a proxy whose tunnels it opens.
//! A system that is not there is an error, never a gap in the table.

use std::fmt;
use std::io::{Error, Result};
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::setting::Setting;

/// How long a system may take to listen, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between client and upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    /// Nothing.
    Direct,
    /// nginx that records nothing.
    Nginx,
    /// Plain hyper that records nothing.
    Hyper,
    /// mitmdump that records.
    Mitmdump,
    /// sealtap, durable before released.
    Strict,
    /// sealtap that does not wait for the disk.
    Relaxed,
}

impl System {
    /// Everything, the way without any of them included.
    pub(crate) const ALL: [Self; 6] =
        [Self::Direct, Self::Nginx, Self::Hyper, Self::Strict, Self::Relaxed, Self::Mitmdump];

    /// Ours.
    pub(crate) const OURS: [Self; 2] = [Self::Strict, Self::Relaxed];

    /// All that stand in between, in the order in which they take turns.
    pub(crate) const PROXIES: [Self; 5] =
        [Self::Nginx, Self::Hyper, Self::Strict, Self::Relaxed, Self::Mitmdump];

    /// Whether it is ours.
    pub(crate) fn seals(self) -> bool {
        matches!(self, Self::Strict | Self::Relaxed)
    }

    /// Its name in tables and rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Hyper => "hyper",
            Self::Mitmdump => "mitmdump",
            Self::Strict => "sealtap strict",
            Self::Relaxed => "sealtap relaxed",
        }
    }

    /// How many of `count` exchanges it is given: mitmdump is fifty times slower.
    pub(crate) fn share(self, count: u64) -> u64 {
        if self == Self::Mitmdump { (count / 10).max(100) } else { count }
    }
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// How clients reach a host over TLS.
pub(crate) struct Tls {
    /// The certificate they trust.
    pub(crate) authority: PathBuf,
    /// Whom they ask a proxy for.
    pub(crate) tunnel: Option<String>,
}

/// A system that listens.
pub(crate) struct Running {
    pub(crate) system: System,
    /// Host and port for clients.
    pub(crate) address: String,
    /// How clients speak TLS through it, if they do.
    pub(crate) tls: Option<Tls>,
    child: Option<Child>,
    /// Its configuration, and what it records.
    home: TempDir,
}

impl Running {
    /// Starts `system` in front of the setting's upstream and waits until it listens.
    pub(crate) fn start(system: System, setting: &Setting) -> Result<Self> {
        Self::begin(system, setting, false, |_| Ok(String::new()))
    }

    /// As [`Self::start`]; before sealtap starts, `prepare` sees its home and adds to its configuration.
    pub(crate) fn start_with(
        system: System,
        setting: &Setting,
        prepare: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        Self::begin(system, setting, false, prepare)
    }

    /// As [`Self::start_with`], in front of the upstream or as a `forward` proxy.
    fn begin(
        system: System,
        setting: &Setting,
        forward: bool,
        prepare: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("system-").tempdir_in(&setting.scratch)?;
        let upstream = &setting.upstream;
        if system == System::Direct {
            return Ok(Self { system, address: upstream.clone(), tls: None, child: None, home });
        }
        let more = prepare(home.path())?;
        let address = free_address()?;
        let mut command = match system {
            System::Direct | System::Hyper => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["hyper", "--listen", &address, "--upstream", upstream]);
                command
            }
            System::Nginx => nginx(home.path(), &address, upstream)?,
            System::Mitmdump => mitmdump(setting, home.path(), &address, forward)?,
            System::Strict => sealtap(setting, home.path(), &address, ("strict", &more))?,
            System::Relaxed => sealtap(setting, home.path(), &address, ("relaxed", &more))?,
        };
        let errors = std::fs::File::create(home.path().join("stderr"))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(|error| Error::other(format!("{system} cannot be started: {error}")))?;
        let mut running = Self { system, address, tls: None, child: Some(child), home };
        let began = Instant::now();
        while TcpStream::connect(&running.address).is_err() {
            let ended = running.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || began.elapsed() > PATIENCE {
                return Err(running.failed("does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// Starts `system` as a forward proxy that opens tunnels: clients speak TLS to `host` through it.
    pub(crate) fn start_tls(system: System, setting: &Setting, host: &str) -> Result<Self> {
        let authority = setting.tls.authority();
        let config = format!("capture = \"all\"\nupstream_ca = [{authority:?}]\n");
        let mut running = Self::begin(system, setting, true, |_| Ok(config))?;
        let (authority, tunnel) = match system {
            System::Direct => {
                host.clone_into(&mut running.address);
                (authority, None)
            }
            System::Mitmdump => {
                let own = running.home.path().join("conf/mitmproxy-ca-cert.pem");
                (own, Some(host.to_owned()))
            }
            System::Nginx | System::Hyper => {
                return Err(Error::other(format!("{system} opens no tunnels")));
            }
            System::Strict | System::Relaxed => {
                (running.data().join("keys/ca.pem"), Some(host.to_owned()))
            }
        };
        running.tls = Some(Tls { authority, tunnel });
        Ok(running)
    }

    /// What a client writes before the upstream's path.
    pub(crate) fn prefix(&self) -> &'static str {
        if self.system.seals() && self.tls.is_none() { "/up" } else { "" }
    }

    /// The process whose cost is counted, with its children.
    pub(crate) fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().ok_or_else(|| Error::other("nothing runs"))?;
        Ok(child.id())
    }

    /// sealtap's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Leaves in its published log.
    pub(crate) fn leaves(&self) -> u64 {
        let checkpoint = std::fs::read_to_string(self.data().join("log/checkpoint"));
        let checkpoint = checkpoint.unwrap_or_default();
        checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
    }

    /// Stops it, and gives back where it recorded. An end other than a good one is an error.
    pub(crate) fn stop(mut self) -> Result<Stopped> {
        let Some(mut child) = self.child.take() else { return Ok(Stopped(self)) };
        signal(&child, Signal::TERM)?;
        drop(child.stdin.take());
        let began = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    self.child = Some(child);
                    return Err(self.failed("does not stop"));
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if self.system.seals() && !status.success() {
            return Err(self.failed(&format!("ended with {status}")));
        }
        Ok(Stopped(self))
    }

    fn failed(&self, what: &str) -> Error {
        let said = std::fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default();
        Error::other(format!("{} {what}: {}", self.system, said.trim_end()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The row has failed already; what is left is to leave nothing running.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A system that has stopped; what it recorded is there until this goes.
pub(crate) struct Stopped(Running);

impl Stopped {
    /// sealtap's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.data()
    }
}

/// Sends `signal` to a child of ours.
fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::other("a child without a number"))?;
    Ok(kill_process(pid, signal)?)
}

/// An address nobody listens on. Somebody may take it before it is used, which fails loudly.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn nginx(home: &Path, address: &str, upstream: &str) -> Result<Command> {
    let place = home.display();
    let config = format!(
        "daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid {place}/pid;
error_log {place}/error.log warn;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream bench {{
        server {upstream};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen {address} backlog=4096;
        keepalive_requests 100000000;
        client_max_body_size 0;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_request_buffering off;
            client_body_buffer_size 64k;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            proxy_read_timeout 1h;
        }}
    }}
}}
"
    );
    let path = home.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(home.join("error.log")).arg("-c").arg(path);
    Ok(command)
}

/// mitmdump keeps whole messages in memory before it passes them on; event streams it must pass on
/// as they come, and record all the same.
fn mitmdump(setting: &Setting, home: &Path, address: &str, forward: bool) -> Result<Command> {
    let script = home.join("stream_events.py");
    std::fs::write(
        &script,
        "def responseheaders(flow):
    kind = flow.response.headers.get('content-type', '')
    flow.response.stream = kind.startswith('text/event-stream')
",
    )?;
    let (host, port) = address.split_once(':').unwrap_or_default();
    let mut command = Command::new(&setting.mitmdump);
    command.args(["--quiet", "--mode"]);
    if forward {
        let authority = setting.tls.authority();
        command.args(["regular", "--set"]);
        command.arg(format!("ssl_verify_upstream_trusted_ca={}", authority.display()));
    } else {
        command.arg(format!("reverse:http://{}", setting.upstream));
    }
    command.args(["--listen-host", host, "--listen-port", port]);
    command.arg("--set").arg(format!("confdir={}", home.join("conf").display()));
    command.args(["--set", "store_streamed_bodies=true"]);
    command.arg("--save-stream-file").arg(home.join("flows")).arg("--scripts").arg(script);
    Ok(command)
}

fn sealtap(
    setting: &Setting,
    home: &Path,
    address: &str,
    (durability, more): (&str, &str),
) -> Result<Command> {
    let config = home.join("sealtap.toml");
    std::fs::write(&config, format!("durability = \"{durability}\"\n{more}"))?;
    let mut command = Command::new(&setting.sealtap);
    command.arg("serve").arg("--config").arg(config);
    command.arg("--data").arg(home.join("data")).arg("--lock").arg(home.join("lock"));
    command.args(["--listen", address, "--upstream"]);
    command.arg(format!("up=http://{}", setting.upstream));
    Ok(command)
}
