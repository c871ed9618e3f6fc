//! Running: a `sealtap run` whose command says where it is and waits, so that something can be done to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gate::PATIENCE;
use crate::gateway::Home;
use crate::launch::{Launch, Launched};
use crate::standing::{gone, kernel, loader_of, of_gateway};

/// A running `sealtap run` whose command waits for a line.
pub struct Running {
    child: Child,
    home: Arc<Home>,
    /// What the command said of where it is: the gateway's URL, and its cgroup.
    place: String,
    ended: bool,
}

/// The command line of a shell that says where it is, waits for a line, and then does what `then` says.
#[must_use]
pub fn waiting(then: &str) -> [String; 3] {
    let place = "echo there $SEALTAP_URL $(sed -n 's/^0:://p' /proc/self/cgroup)";
    ["sh".to_owned(), "-c".to_owned(), format!("{place}; read line; {then}")]
}

/// Where cgroups of the second version are.
///
/// # Panics
/// If they are nowhere.
pub fn cgroups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts are listed");
    let root = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[2] == "cgroup2").then(|| PathBuf::from(fields[1]))
    });
    root.expect("cgroup v2 is mounted")
}

impl Running {
    /// One whose command says that it is there, waits for a line, and then does what `then` says.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(home: &Arc<Home>, flags: &[&str], then: &str) -> Self {
        Self::of(home, Launch::new(home, flags).telling().command(waiting(then)))
    }

    /// One by its command line, which is [`waiting`], or says `there` and waits as well.
    ///
    /// # Panics
    /// If it does not start.
    pub fn of(home: &Arc<Home>, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("spawned");
        let mut line = String::new();
        // One byte at a time, so that what comes later is not taken.
        let mut output = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
        output.read_line(&mut line).expect("read");
        let Some(place) = line.trim_end().strip_prefix("there") else {
            let output = child.wait_with_output().expect("it ends");
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        };
        let place = place.trim().to_owned();
        Self { child, home: Arc::clone(home), place, ended: false }
    }

    /// The gateway's process.
    pub fn gateway(&self) -> u32 {
        self.child.id()
    }

    /// The loader's process.
    ///
    /// # Panics
    /// If there is none.
    pub fn loader(&self) -> u32 {
        loader_of(self.child.id())
    }

    /// What the kernel says of the descriptors that the loader holds.
    ///
    /// # Panics
    /// If there is no loader.
    pub fn held(&self) -> Vec<String> {
        let folder = format!("/proc/{}/fdinfo", self.loader());
        let entries = fs::read_dir(folder).expect("its descriptors").flatten();
        entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
    }

    /// The number of the one link that the loader holds at this kind of attachment.
    ///
    /// # Panics
    /// If it holds none, or more.
    pub fn link(&self, attached: u32) -> u32 {
        let held = self.held();
        let links = held.iter().filter_map(|text| {
            let field = |name: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once(':'));
                let (_, value) = lines.find(|(field, _)| *field == name)?;
                value.trim().parse::<u32>().ok()
            };
            (field("attach_type")? == attached).then(|| field("link_id"))?
        });
        let links: Vec<u32> = links.collect();
        assert_eq!(links.len(), 1, "{links:?}");
        links[0]
    }

    /// Where the command's processes are.
    ///
    /// # Panics
    /// If the command did not say.
    pub fn cgroup(&self) -> PathBuf {
        let (_, own) = self.place.split_once(' ').expect("it said in which it is");
        cgroups().join(own.trim_start_matches('/'))
    }

    /// The port of the listener that no client is told of.
    ///
    /// # Panics
    /// If it is not to be found.
    pub fn redirected_port(&self) -> u16 {
        let (url, _) = self.place.split_once(' ').expect("it said where the gateway is");
        let front = url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let front = front.expect("a URL with a port");
        let process = self.child.id();
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
        let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let inodes: Vec<String> = targets
            .filter_map(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        // That of its own network.
        let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
        let listening = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let own = fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]);
            let port = fields[1].rsplit(':').next()?;
            own.then(|| u16::from_str_radix(port, 16).ok())?
        });
        let others: Vec<u16> = listening.filter(|port| *port != front).collect();
        assert_eq!(others.len(), 1, "{others:?}");
        others[0]
    }

    /// What it has attached, as `sealtap kernel status` says.
    ///
    /// # Panics
    /// If that says nothing of it.
    pub fn standing(&self) -> Value {
        let own = of_gateway(self.gateway());
        own.expect("it is listed")
    }

    /// Tells the command to go on.
    ///
    /// # Panics
    /// If it is gone.
    pub fn tell(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("told");
    }

    /// Kills the gateway, and waits until its loader is gone, too. What the command has of standard input
    /// stays open until this is dropped.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill_gateway(&mut self) {
        let loader = self.loader();
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        gone(loader);
    }

    /// Tells the command to go on and waits for the end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn go_on(mut self) -> Launched {
        self.tell();
        self.end()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn end(mut self) -> Launched {
        drop(self.child.stdin.take());
        self.output()
    }

    /// Waits for an end that the command does not come to by itself: its standard input stays open.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(mut self) -> Launched {
        self.output()
    }

    fn output(&mut self) -> Launched {
        // Waiting would close it.
        let input = self.child.stdin.take();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // What is said on standard error is short: no pipe fills.
        self.child.stdout.take().expect("piped").read_to_end(&mut stdout).expect("read");
        self.child.stderr.take().expect("piped").read_to_end(&mut stderr).expect("read");
        let status = self.child.wait().expect("it ends");
        drop(input);
        self.ended = true;
        Launched::new(Arc::clone(&self.home), Output { status, stdout, stderr })
    }
}

/// A case that failed leaves nothing on this machine.
impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        drop(self.child.stdin.take());
        let left = of_gateway(self.child.id()).unwrap_or_default();
        for watched in left["watched"].as_array().into_iter().flatten() {
            let path = watched["path"].as_str().unwrap_or_default();
            let _ = fs::write(Path::new(path).join("cgroup.kill"), "1");
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(name) = left["instance"].as_str() {
            let _ = kernel(&["detach", "--instance", name]);
        }
    }
}
