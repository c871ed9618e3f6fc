//! A `sealtap run` that waits, so that something can be done to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};

use crate::place::{Place, cgroups};

/// Its command says where the gateway is and which cgroup it is in, waits for a line, and goes on.
pub(crate) struct Running {
    child: Child,
    told: Option<ChildStdin>,
    home: Arc<Home>,
    front: u16,
    cgroup: PathBuf,
}

impl Running {
    pub(crate) fn start(place: &Place, home: &Arc<Home>, flags: &[&str], then: &str) -> Self {
        let script =
            format!("echo $SEALTAP_URL; sed -n 's/^0:://p' /proc/self/cgroup; read line; {then}");
        let launch = Launch::new(home, flags).command(["sh", "-c", &script]);
        let mut command = place.inside.around(&launch);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("spawned");
        let told = child.stdin.take();
        let mut said = BufReader::new(child.stdout.as_mut().expect("piped"));
        let mut line = || {
            let mut line = String::new();
            said.read_line(&mut line).expect("it speaks");
            line.trim().to_owned()
        };
        let front = line().rsplit(':').next().and_then(|port| port.parse().ok());
        let cgroup = cgroups().join(line().trim_start_matches('/'));
        let front = front.expect("a URL with a port");
        Self { child, told, home: Arc::clone(home), front, cgroup }
    }

    /// Where its command's processes are.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The gateway.
    pub(crate) fn gateway(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The loader.
    pub(crate) fn loader(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(path).expect("its children");
        let loader = children.split_ascii_whitespace().find(|child| {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.contains("kernel\0loader")
        });
        let loader = loader.expect("a loader").parse().expect("a number");
        Pid::from_raw(loader).expect("a process")
    }

    /// The links that the loader holds, by the kind of their attachment.
    pub(crate) fn link(&self, attached: u32) -> u32 {
        let folder = format!("/proc/{}/fdinfo", self.loader().as_raw_nonzero());
        let texts = fs::read_dir(folder).expect("its descriptors").flatten();
        let links = texts.filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
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

    /// The port of the listener that no client is told of.
    pub(crate) fn redirected_port(&self) -> u16 {
        let process = self.child.id();
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
        let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let inodes: Vec<String> = targets
            .filter_map(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
        let listening = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let own = fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]);
            let port = fields[1].rsplit(':').next()?;
            own.then(|| u16::from_str_radix(port, 16).ok())?
        });
        let others: Vec<u16> = listening.filter(|port| *port != self.front).collect();
        assert_eq!(others.len(), 1, "{others:?}");
        others[0]
    }

    /// Has the command go on.
    pub(crate) fn tell(&mut self) {
        self.told.as_mut().expect("it is told").write_all(b"\n").expect("told");
    }

    /// Has the command go on, and waits until all of it is over.
    pub(crate) fn go_on(mut self) -> Launched {
        self.tell();
        self.over()
    }

    /// Waits until all of it is over.
    pub(crate) fn over(mut self) -> Launched {
        drop(self.told.take());
        let output = self.child.wait_with_output().expect("it ends");
        Launched::new(self.home, output)
    }
}

/// Ends a process that is a descendant of ours, for good.
pub(crate) fn kill(process: Pid) {
    kill_process(process, Signal::KILL).expect("it is there");
    let path = PathBuf::from(format!("/proc/{}/fdinfo", process.as_raw_nonzero()));
    poll("the process is gone", || {
        fs::read_dir(&path).map_or(true, |mut all| all.next().is_none()).then_some(())
    });
}
