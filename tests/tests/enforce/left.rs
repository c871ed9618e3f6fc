//! Left: what the command leaves behind, and what it does to keep that running.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::launch::Launch;
use sealtap_tests::running::cgroups;
use sealtap_tests::standing::{self, Running};
use serde_json::{Value, json};

use crate::{ENFORCE, OBSERVE, home, modes};

/// Leaves a process behind, and says its number.
const LEAVES: &str = "sleep 600 >/dev/null 2>&1 & echo $!";

fn is_sleeping(process: u32) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.starts_with(b"sleep\x00600")
}

/// The command's, by its name outside.
fn cgroup(standing: &Value) -> PathBuf {
    PathBuf::from(standing["watched"][0]["path"].as_str().expect("a path"))
}

/// The files by which it is ended belong to user 0, which the command is, and the gateway, without a capability.
pub(crate) fn closed_files_of_its_cgroup_keep_nothing_running() {
    let home = home();
    let flags = [ENFORCE[0], ENFORCE[1], "--linger=0"];
    let running = Running::start(&home, &flags, LEAVES);
    let standing = running.standing();
    let cgroup = cgroup(&standing);
    for file in ["cgroup.kill", "cgroup.procs", "cgroup.events", "cgroup.freeze"] {
        // The command itself cannot: see below.
        fs::set_permissions(cgroup.join(file), Permissions::from_mode(0o000)).expect("closed");
    }
    let launched = running.go_on().expect(0);
    launched.captured(0);
    let process: u32 = launched.stdout().trim().parse().expect("a number");
    assert!(!is_sleeping(process), "it goes on: {}", launched.account);
    assert_eq!(launched.account["ended"][0]["id"], process, "{}", launched.account);
    standing::assert_gone(&standing);
}

/// Closes the files of its cgroup, and makes another in it.
const CLOSES: &str = "import os,sys\n\
    places=[line.split()[1] for line in open('/proc/self/mounts') if line.split()[2]=='cgroup2']\n\
    own=open('/proc/self/cgroup').read().split('0::')[1].strip()\n\
    place=places[-1]+own\n\
    def tries(name,way):\n\
    \x20try: way(); print(name,'open')\n\
    \x20except OSError: print(name,'closed')\n\
    tries('mode',lambda: os.chmod(place+'/cgroup.max.depth',0o600))\n\
    tries('made',lambda: os.mkdir(place+'/made'))\n\
    tries('read',lambda: open(place+'/cgroup.procs').read())";

pub(crate) fn the_command_does_not_change_its_cgroup() {
    for (flags, enforced) in modes() {
        let launched = Launch::new(&home(), flags).run(["python3", "-c", CLOSES]).expect(0);
        launched.captured(0);
        let how = if enforced { "closed" } else { "open" };
        assert_eq!(launched.stdout(), format!("mode {how}\nmade {how}\nread open\n"));
    }
}

/// A freezer of the first version holds whoever is in it, killed or not.
struct Frozen(PathBuf, Option<PathBuf>);

impl Frozen {
    fn new(process: u32) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts are listed");
        let mounted = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let is = fields[2] == "cgroup" && fields[3].split(',').any(|field| field == "freezer");
            is.then(|| PathBuf::from(fields[1]))
        });
        let own = mounted.is_none().then(|| {
            let place = std::env::temp_dir().join(format!("sealtap-freezer-{process}"));
            fs::create_dir(&place).expect("made");
            let mut mount = Command::new("mount");
            let mount = mount.args(["-t", "cgroup", "-o", "freezer", "none"]).arg(&place);
            assert!(mount.status().expect("it runs").success(), "no freezer is to be had");
            place
        });
        let root = mounted.or_else(|| own.clone()).expect("one of both");
        let place = root.join(format!("sealtap-test-{process}"));
        fs::create_dir(&place).expect("made");
        fs::write(place.join("cgroup.procs"), process.to_string()).expect("moved");
        fs::write(place.join("freezer.state"), "FROZEN").expect("told");
        let frozen = Self(place, own);
        poll("it is frozen", || (frozen.state() == "FROZEN").then_some(()));
        frozen
    }

    fn state(&self) -> String {
        fs::read_to_string(self.0.join("freezer.state")).expect("it is told").trim().to_owned()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let gone = || fs::remove_dir(&self.0).is_ok().then_some(());
        poll("nobody is in it", gone);
        if let Some(own) = &self.1 {
            let _ = Command::new("umount").arg(own).status();
            let _ = fs::remove_dir(own);
        }
    }
}

/// Nothing is opened while it may go on, and nothing else is said of it.
pub(crate) fn what_cannot_be_ended_stays_cut_off() {
    let home = home();
    let flags = [ENFORCE[0], ENFORCE[1], "--linger=0"];
    let then = "sleep 600 >/dev/null 2>&1 </dev/null & echo $! > part; mv part left; \
                while [ ! -e go ]; do sleep 0.05; done";
    let mut running = Running::start(&home, &flags, then);
    let (standing, gateway) = (running.standing(), running.gateway());
    let cgroup = cgroup(&standing);
    running.tell();
    let left = || fs::read_to_string(home.path().join("left")).ok();
    let process: u32 = poll("it is left", left).trim().parse().expect("a number");
    let frozen = Frozen::new(process);
    fs::write(home.path().join("go"), "").expect("told");
    let launched = running.wait().expect(125);
    launched.captured(0);
    assert!(is_sleeping(process), "it was to be held");
    let account = &launched.account;
    assert_eq!(
        (&account["ended"], &account["still_running"][0]["id"]),
        (&json!([]), &json!(process))
    );
    let said = account["coverage"]["not_covered"].to_string();
    assert!(said.contains("could not be ended") && said.contains("kernel detach"), "{said}");
    let folder = standing["pinned"].as_str().expect("it was pinned");
    assert!(Path::new(folder).is_dir() && cgroup.is_dir(), "{folder}");
    let still = standing::of_gateway(gateway).expect("it is listed");
    assert_eq!(still["gateway"]["lives"], false);
    // The control: let go, it ends, as it was told to; and what held it can be taken away.
    drop(frozen);
    standing::gone(process);
    let name = still["instance"].as_str().expect("a name");
    poll("its cgroup is empty", || {
        let events = fs::read_to_string(cgroup.join("cgroup.events")).ok()?;
        events.contains("populated 0").then_some(())
    });
    assert!(standing::kernel(&["detach", "--instance", name]).status.success());
    standing::assert_gone(&standing);
}

/// Where the command may make cgroups, they go with its own; what runs in one goes on elsewhere.
pub(crate) fn cgroups_that_it_made_are_taken_away() {
    let home = home();
    let root = cgroups().display().to_string();
    let then = format!(
        "own={root}$(sed -n 's/^0:://p' /proc/self/cgroup); mkdir -p $own/made/below $own/other; \
         {LEAVES}; echo $! > $own/made/below/cgroup.procs; chmod 0 $own/made"
    );
    let running = Running::start(&home, &[OBSERVE, "--linger=0"], &then);
    let (standing, cgroup) = (running.standing(), running.cgroup());
    let launched = running.go_on().expect(0);
    launched.captured(0);
    let process: u32 = launched.stdout().trim().parse().expect("a number");
    assert!(is_sleeping(process));
    let now = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it is there");
    standing::signal(process, Signal::KILL);
    assert!(!now.contains("made"), "{now}");
    assert!(!cgroup.exists(), "{}", cgroup.display());
    standing::assert_gone(&standing);
}
