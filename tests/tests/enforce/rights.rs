//! Rights: what each process of a run has, and what none can gain.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use sealtap_tests::gate::poll;
use sealtap_tests::launch::Launch;
use sealtap_tests::programs;
use sealtap_tests::seen;
use sealtap_tests::standing::Running;

use crate::{ENFORCE, OBSERVE, home, modes};

/// What a child gets is no more, whatever the file's bits say.
pub(crate) fn children_inherit_and_a_setuid_program_gains_nothing() {
    for (flags, enforced) in modes() {
        let home = home();
        let program = home.path().join("id");
        fs::copy("/usr/bin/id", &program).expect("copied");
        std::os::unix::fs::chown(&program, Some(65534), Some(65534)).expect("given away");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("set");
        // Whoever is to run it must get to it.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let script = format!(
            "sh -c 'sh -c \"grep -E ^Cap.*: /proc/self/status; grep ^NoNewPrivs /proc/self/status; true\"'; {} -u",
            program.display()
        );
        let launched = Launch::new(&home, flags).shell(&script).expect(0);
        launched.captured(0);
        let said: Vec<&str> = launched.stdout().split_ascii_whitespace().collect();
        let value = |name: &str| {
            let place = said.iter().position(|word| *word == name).expect("it is told");
            said[place + 1]
        };
        let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
        let none = sets.iter().all(|set| value(set) == "0000000000000000");
        assert_eq!(none, enforced, "{said:?}");
        assert_eq!(value("NoNewPrivs:"), if enforced { "1" } else { "0" });
        let user = said.last().expect("a user");
        assert_eq!(*user, if enforced { "0" } else { "65534" }, "{said:?}");
    }
}

/// As another user it has that user's files alone, and its trust all the same.
pub(crate) fn the_command_may_run_as_somebody_else() {
    let script = "id -u; id -g; id -G; grep CapEff /proc/self/status; head -c 5 $SSL_CERT_FILE; \
                  test -w /etc/passwd && echo writes; true";
    for (flags, own) in [(&["--user=65534:65533"][..], false), (&[][..], true)] {
        let home = home();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let flags: Vec<&str> = ENFORCE.iter().chain(flags).copied().collect();
        let launched = Launch::new(&home, &flags).shell(script).expect(0);
        launched.captured(0);
        let expected = match own {
            true => "0\n0\n0\nCapEff:\t0000000000000000\n-----writes\n",
            false => "65534\n65533\n65533\nCapEff:\t0000000000000000\n-----",
        };
        assert_eq!(launched.stdout(), expected, "{}", launched.stderr());
    }
}

/// Five capabilities, and of descriptors only what it made itself.
pub(crate) fn the_loader_has_no_more_than_it_needs() {
    const KEPT: u64 = 1 << 39 | 1 << 38 | 1 << 19 | 1 << 12 | 1 << 2;
    let home = home();
    let open = home.path().join("open");
    fs::write(&open, "").expect("written");
    let script = "echo there; read line; ls -l /proc/self/fd | grep -c /open";
    // Behind a fence the command would not have it either.
    let line = Launch::new(&home, &[OBSERVE]).command(["sh", "-c", script]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9<open; exec \"$0\" \"$@\""]).arg(line.get_program());
    command.args(line.get_args()).current_dir(home.path());
    for (name, value) in line.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let running = Running::of(&home, command);
    let loader = running.loader();
    let status = fs::read_to_string(format!("/proc/{loader}/status")).expect("its status");
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is told").trim().to_owned()
    };
    for set in ["CapPrm:", "CapEff:"] {
        assert_eq!(u64::from_str_radix(&value(set), 16), Ok(KEPT), "{set}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&value(set), 16), Ok(0), "{set}");
    }
    assert_eq!(value("NoNewPrivs:"), "1");
    let descriptors = fs::read_dir(format!("/proc/{loader}/fd")).expect("its descriptors");
    let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let inherited = targets.filter(|target| *target == open).count();
    assert_eq!(inherited, 0);
    let launched = running.go_on().expect(0);
    assert_eq!(launched.stdout(), "1\n", "the command has it, so it was there to inherit");
    launched.captured(0);
}

/// What `/proc` shows of a process or thread.
fn shown(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("it is told").trim(), 16).expect("a mask")
}

/// Each of its threads, also those that read what comes from the network; and the command has its own.
pub(crate) fn the_gateway_has_no_capability() {
    const KILL: u64 = 1 << 5;
    let own = fs::read_to_string("/proc/self/status").expect("its status");
    assert_ne!(shown(&own, "CapEff"), 0, "there is something to give up");
    for (flags, enforced) in modes().into_iter().chain([(&["--kernel=off"][..], false)]) {
        let home = home();
        let running = Running::start(&home, flags, "grep CapEff /proc/self/status");
        let folder = format!("/proc/{}/task", running.gateway());
        let names = || {
            let tasks = fs::read_dir(&folder).expect("its threads").flatten();
            tasks.map(|task| fs::read_to_string(task.path().join("comm")).unwrap_or_default())
        };
        // The command has begun; what began it goes.
        poll("nobody keeps anything", || names().all(|name| name.trim() != "keeper").then_some(()));
        let mut threads = Vec::new();
        for task in fs::read_dir(folder).expect("its threads").flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name));
            // One that has ended meanwhile has nothing.
            let (Ok(name), Ok(status)) = (read("comm"), read("status")) else { continue };
            // A signal goes to the command also where that is another user's, by this one alone.
            let most = if name.trim() == "signals" { KILL } else { 0 };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert_eq!(shown(&status, set), most, "{name}: {set}");
            }
            for set in ["CapInh", "CapAmb"] {
                assert_eq!(shown(&status, set), 0, "{name}: {set}");
            }
            assert_eq!(shown(&status, "NoNewPrivs"), 1, "{name}");
            threads.push(name.trim().to_owned());
        }
        for expected in ["signals", "sealtap"] {
            assert!(threads.iter().any(|name| name == expected), "{threads:?}");
        }
        assert!(threads.len() > 5, "{threads:?}");
        let launched = running.go_on().expect(0);
        launched.captured(0);
        let has = shown(launched.stdout(), "CapEff");
        assert_eq!(has, if enforced { 0 } else { shown(&own, "CapEff") });
    }
}

/// Without the right to, root itself could not write there.
pub(crate) fn files_of_somebody_else_are_written_and_that_is_said() {
    for (owner, kept) in [(65534, 1_u64 << 1), (0, 0)] {
        let home = home();
        let theirs = home.path().join("theirs");
        fs::create_dir(&theirs).expect("made");
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).expect("set");
        std::os::unix::fs::chown(&theirs, Some(owner), Some(owner)).expect("given away");
        let bundle = format!("--bundle={}", theirs.join("b.tar").display());
        let running =
            Running::start(&home, &[OBSERVE, &bundle], "curl -s $SEALTAP_URL/none/; true");
        let status = fs::read_to_string(format!("/proc/{}/status", running.gateway()));
        assert_eq!(shown(&status.expect("its status"), "CapEff"), kept, "owned by {owner}");
        let launched = running.go_on().expect(0);
        launched.captured(1);
        assert!(theirs.join("b.tar").exists());
        let said = launched.account["coverage"]["not_covered"].to_string();
        assert_eq!(said.contains("CAP_DAC_OVERRIDE"), kept != 0, "{said}");
    }
}

/// Raw sockets for its probes, and of descriptors only what it made itself.
pub(crate) fn the_canary_has_no_more_than_it_needs() {
    const RAW: u64 = 1 << 13;
    let home = home();
    let open = home.path().join("open");
    fs::write(&open, "").expect("written");
    let (own, other) = UnixStream::pair().expect("a pair");
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9<open; exec \"$0\" kernel canary"]).arg(programs::sealtap());
    command.current_dir(home.path()).stdin(Stdio::from(OwnedFd::from(other)));
    let mut canary = command.spawn().expect("it can be started");
    // Its first word, behind its length: it is ready, and not why it is not.
    let mut word = [0; 5];
    (&own).read_exact(&mut word).expect("it speaks");
    assert_eq!(word[4], 0, "{word:?}");
    for task in fs::read_dir(format!("/proc/{}/task", canary.id())).expect("its threads").flatten()
    {
        let status = fs::read_to_string(task.path().join("status")).expect("its status");
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(shown(&status, set), RAW, "{set}");
        }
        assert_eq!(shown(&status, "NoNewPrivs"), 1);
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", canary.id())).expect("its descriptors");
    let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    assert_eq!(targets.filter(|target| *target == open).count(), 0);
    drop(own);
    canary.wait().expect("it ends when the gateway does");
}

/// An executable too large to be digested: what is not known of who called is said, and why.
pub(crate) fn what_cannot_be_read_of_a_process_is_said() {
    for large in [true, false] {
        let home = home();
        let program = home.path().join("calls");
        fs::copy("/usr/bin/curl", &program).expect("copied");
        if large {
            let file = fs::File::options().write(true).open(&program).expect("it is there");
            file.set_len((1 << 30) + 1).expect("it takes no room");
        }
        // It stays until it was looked at: who is gone cannot be read either.
        let last = seen::last(&home, 1);
        let line = format!("./calls -s $SEALTAP_URL/none/ \"file://{}\"; true", last.display());
        let launched = Launch::new(&home, &[OBSERVE]).telling().shell(&line).expect(0);
        launched.captured(1);
        let (made, covered) = (&launched.account["makers"][0], &launched.account["coverage"]);
        assert_eq!(made["executable"], program.display().to_string());
        assert_eq!(made["sha256"].is_null(), large, "{made}");
        let said = covered["not_covered"].to_string();
        assert_eq!(said.contains("SHA-256 of the executable"), large, "{said}");
    }
}
