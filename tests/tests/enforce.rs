//! Enforce: what cannot be led to the gateway is denied, the command cannot undo that, and it stays so when
//! gateway or loader are killed.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and none
//! passes. Each case runs once more without `--enforce`, or beside what is denied, to show that it can fail.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::http1::head;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::standing::{self, Running};
use sealtap_tests::terminal::at_terminal;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::{programs, suite};
use serde_json::{Value, json};

const OBSERVE: &str = "--kernel=require";

/// The variable that other suites leave the kernel out by must not speak here.
const ENFORCE: [&str; 2] = [OBSERVE, "--enforce"];

fn home() -> Arc<Home> {
    Arc::new(Home::new())
}

fn modes() -> [(&'static [&'static str], bool); 2] {
    [(&ENFORCE, true), (&ENFORCE[..1], false)]
}

fn python(home: &Arc<Home>, flags: &[&str], script: &str) -> Launched {
    Launch::new(home, flags).run(["python3", "-c", script])
}

fn level(launched: &Launched) -> &str {
    launched.account["coverage"]["level"].as_str().unwrap_or_default()
}

fn connections(launched: &Launched, name: &str) -> u64 {
    let value = &launched.account["coverage"]["connections"][name];
    value.as_u64().unwrap_or_else(|| panic!("no {name}: {}", launched.account))
}

/// The last coverage that the log tells of, as the verifier has it.
fn covered(home: &Home) -> Value {
    let output = Command::new(programs::sealtap())
        .args(["verify", "--json", "--key"])
        .args([home.keys(), home.log()])
        .output()
        .expect("sealtap can be run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["verdict"], "valid", "{report}");
    report["coverage"].as_array().expect("a list").last().expect("a coverage").clone()
}

fn state<'c>(covered: &'c Value, channel: &str) -> &'c str {
    let channels = covered["channels"].as_array().expect("a list");
    let found = channels.iter().find(|listed| listed["channel"] == channel);
    found.expect("every channel is listed")["state"].as_str().expect("a word")
}

/// A client that has two ways takes the one that is open, and is captured.
fn datagrams_are_denied_and_the_client_falls_back() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    });
    let script = format!(
        "import http.client,socket\n\
         to=('127.0.0.1',{})\n\
         def tries(family,to,first):\n\
         \x20s=socket.socket(family,socket.SOCK_DGRAM)\n\
         \x20try: first(s,to); s.send(b'y'); return 'sent'\n\
         \x20except PermissionError: return 'denied'\n\
         ways=[tries(socket.AF_INET,to,lambda s,to: s.connect(to)),\n\
         \x20tries(socket.AF_INET,to,lambda s,to: (s.sendto(b'x',to),s.connect(to))),\n\
         \x20tries(socket.AF_INET6,('::ffff:127.0.0.1',to[1]),lambda s,to: s.connect(to))]\n\
         if set(ways)=={{'denied'}}:\n\
         \x20c=http.client.HTTPConnection('127.0.0.1',{})\n\
         \x20c.request('GET','/v1/x',headers={{'Host':'model.example'}}); print(c.getresponse().read().decode())\n\
         else: print(ways)",
        server.local_addr().expect("an address").port(),
        upstream.address().port()
    );
    for (flags, enforced) in modes() {
        let home = home();
        let config = home.path().join("sealtap.toml");
        fs::write(&config, "[proxy]\ncapture = [\"model.example\"]\n").expect("a config");
        let config = format!("--config={}", config.display());
        let flags: Vec<&str> = flags.iter().copied().chain([config.as_str()]).collect();
        let launched = python(&home, &flags, &script).expect(0);
        server.set_nonblocking(true).expect("set");
        let came = server.recv(&mut [0; 9]).is_ok();
        if !enforced {
            assert_eq!(launched.stdout(), "['sent', 'sent', 'sent']\n");
            assert!(came, "the way is open where nothing is denied");
            launched.captured(0);
            continue;
        }
        assert_eq!(launched.stdout(), "ok\n", "{}", launched.stderr());
        assert!(!came, "it came although it was denied");
        let exchange = launched.captured(1).remove(0);
        assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
        assert_eq!(level(&launched), "enforced", "{}", launched.account);
        assert_eq!(connections(&launched, "bypass_denied"), 3, "{}", launched.account);
        assert_eq!(connections(&launched, "bypass_passed"), 0);
        let covered = covered(&home);
        assert_eq!((&covered["mode"], &covered["end"]), (&json!("enforce"), &json!("ended")));
        for channel in ["tcp", "udp", "namespace"] {
            assert_eq!(state(&covered, channel), "closed_by_hook", "{channel}");
        }
        for channel in ["raw", "packet", "vsock", "older", "moved"] {
            assert_eq!(state(&covered, channel), "denied_by_launch_policy", "{channel}");
        }
        assert_eq!(state(&covered, "helper"), "not_covered");
    }
    assert_eq!(upstream.finish().len(), 1);
}

/// Makes sockets of all kinds, and says how each went.
const SOCKETS: &str = "import ctypes,platform,socket\n\
    kinds={'tcp':(2,1,0),'udp':(10,2,0),'mptcp':(2,1,262),'unix':(1,1,0),'netlink':(16,3,0),\n\
    \x20'raw':(2,3,6),'raw6':(10,3,58),'ping':(2,2,1),'sctp':(2,1,132),'packet':(17,3,768),\n\
    \x20'old packet':(2,10,768),'vsock':(40,1,0),'xdp':(44,3,0),'crypto':(38,5,0)}\n\
    for name,kind in kinds.items():\n\
    \x20try: socket.socket(*kind); print(name,0)\n\
    \x20except OSError as error: print(name,error.errno)\n\
    try: socket.socketpair(); print('pair',0)\n\
    except OSError as error: print('pair',error.errno)\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    def call(name,*numbers):\n\
    \x20answer=libc.syscall(*numbers); print(name,0 if answer>=0 else ctypes.get_errno())\n\
    call('ring',425,8,(ctypes.c_char*120)())\n\
    call('pins',{'x86_64':321,'aarch64':280}[platform.machine()],7,(ctypes.c_char*120)(),120)\n\
    call('pair of another',{'x86_64':53,'aarch64':199}[platform.machine()],30,1,0,(ctypes.c_int*2)())\n\
    if platform.machine()=='x86_64': call('x32',0x40000029,17,3,0)";

/// Families that no hook sees are refused, however they are asked for.
fn sockets_that_no_hook_sees_are_refused() {
    const PERMITTED: [&str; 6] = ["tcp", "udp", "mptcp", "unix", "netlink", "pair"];
    let outcome = |flags: &[&str]| {
        let home = home();
        let launched = python(&home, flags, SOCKETS).expect(0);
        launched.captured(0);
        let pair = |line: &str| {
            let (name, error) = line.rsplit_once(' ').expect("two words");
            (name.to_owned(), error.parse::<i32>().expect("a number"))
        };
        launched.stdout().lines().map(pair).collect::<Vec<_>>()
    };
    let denied = outcome(&ENFORCE);
    let free = outcome(&ENFORCE[..1]);
    let mut seen_free = 0;
    for ((name, error), (_, without)) in denied.iter().zip(&free) {
        let expected = match name.as_str() {
            name if PERMITTED.contains(&name) => *without,
            "raw" | "raw6" | "ping" | "sctp" | "old packet" | "pins" => 1,
            "ring" => 38,
            _ => 97,
        };
        assert_eq!(*error, expected, "{name}: {denied:?} {free:?}");
        seen_free += usize::from(expected != 0 && *without == 0);
    }
    let is_free = |name: &str| free.iter().any(|(found, error)| found == name && *error == 0);
    for name in ["raw", "raw6", "packet", "old packet", "tcp", "udp", "unix", "netlink"] {
        assert!(is_free(name), "{name} is open where nothing is denied: {free:?}");
    }
    assert!(seen_free >= 4, "{free:?}");
}

/// A call by the numbers of 32-bit programs: `socket` is 359 there.
const BY_ANOTHER_TABLE: &str = "import ctypes,mmap\n\
    code=bytes.fromhex('53b867010000bb11000000b903000000ba00000000cd805bc3')\n\
    page=mmap.mmap(-1,4096,prot=7); page.write(code)\n\
    at=ctypes.addressof(ctypes.c_char.from_buffer(page))\n\
    print(ctypes.CFUNCTYPE(ctypes.c_int)(at)()>=0)";

fn calls_by_another_table_end_the_program() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let script = format!("python3 -c \"{BY_ANOTHER_TABLE}\" 2>/dev/null; echo $?");
    for (flags, enforced) in modes() {
        let launched = Launch::new(&home(), flags).shell(&script).expect(0);
        launched.captured(0);
        let said = launched.stdout();
        match enforced {
            // SIGSYS; SIGSEGV from a kernel that knows no such table.
            true => assert!(matches!(said, "159\n" | "139\n"), "{said}"),
            false => assert!(matches!(said, "True\n0\n" | "139\n"), "{said}"),
        }
    }
}

/// What a child gets is no more, whatever the file's bits say.
fn children_inherit_and_a_setuid_program_gains_nothing() {
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
fn the_command_may_run_as_somebody_else() {
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

/// Goes to the root cgroup, and by further ways where argument 1 asks for them, and sends.
const LEAVES: &str = "import os,socket,subprocess,sys\n\
    places=[line.split()[1] for line in open('/proc/self/mounts') if line.split()[2]=='cgroup2']\n\
    parent='/proc/%d'%os.getppid()\n\
    def goes(places):\n\
    \x20for place in places:\n\
    \x20 try: open(place+'/cgroup.procs','w').write(str(os.getpid()))\n\
    \x20 except OSError: pass\n\
    goes(places)\n\
    if sys.argv[1]=='all':\n\
    \x20goes([parent+'/root'+place for place in places])\n\
    \x20join='echo %d > %s/cgroup.procs'%(os.getpid(),places[0])\n\
    \x20for line in (['umount','-l']+places,['umount','-l','/sys/fs/bpf'],['unshare','-Urm','umount','-l']+places,\n\
    \x20 ['unshare','-Urm','sh','-c','umount -l %s; %s'%(places[0],join)],['mount','-t','cgroup2','x','/mnt'],\n\
    \x20 ['nsenter','--mount='+parent+'/ns/mnt','sh','-c',join],\n\
    \x20 ['nsenter','--cgroup='+parent+'/ns/cgroup','sh','-c',join]):\n\
    \x20 print(subprocess.run(line,stderr=subprocess.DEVNULL).returncode!=0)\n\
    \x20goes(places)\n\
    print('pins',os.path.exists('/sys/fs/bpf/sealtap'))\n\
    try: socket.socket(2,2).sendto(b'x',('127.0.0.1',9)); print('sent')\n\
    except PermissionError: print('denied')";

fn the_command_does_not_leave_its_cgroup() {
    let outcome = |flags: &[&str], ways: &str| {
        let home = home();
        let line = Launch::new(&home, flags).command(["python3", "-c", LEAVES, ways]);
        // In mounts of its own: should the fence fail, this machine keeps those it has.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private"]).arg(line.get_program());
        command.args(line.get_args()).current_dir(home.path()).env("HOME", home.path());
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        let launched = Launched::new(home, output).expect(0);
        launched.captured(0);
        launched
    };
    let denied = outcome(&ENFORCE, "all");
    let expected = format!("{}pins False\ndenied\n", "True\n".repeat(7));
    assert_eq!(denied.stdout(), expected, "{}", denied.stderr());
    assert_eq!(connections(&denied, "bypass_denied"), 1);
    let free = outcome(&ENFORCE[..1], "one");
    assert!(free.stdout().ends_with("sent\n"), "{}", free.stdout());
    assert_eq!(connections(&free, "seen"), 0, "it left");
}

/// Tries both ways out when told to, and writes down how it went.
fn tries(server: &TcpListener, datagrams: &UdpSocket) -> String {
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("bound").port();
    format!(
        "exec python3 -c \"\n\
         import os,socket,time\n\
         def tries(kind,to):\n\
         \x20s=socket.socket(2,kind); s.settimeout(9)\n\
         \x20try: s.connect(to); s.send(b'x'); return 'out'\n\
         \x20except OSError as error: return str(error.errno)\n\
         for round in ('first','second'):\n\
         \x20while not os.path.exists(round): time.sleep(0.01)\n\
         \x20told=tries(1,('127.0.0.1',{}))+' '+tries(2,('127.0.0.1',{}))\n\
         \x20open(round+'.part','w').write(told); os.rename(round+'.part',round+'.told')\n\"",
        port(server.local_addr()),
        port(datagrams.local_addr())
    )
}

/// Has the command try, and gives how it went.
fn round(home: &Home, name: &str) -> String {
    fs::write(home.path().join(name), "").expect("written");
    let told = home.path().join(format!("{name}.told"));
    poll("it was tried", || fs::read_to_string(&told).ok())
}

/// Nobody is left to see to it, and nothing gets out, until somebody opens it.
fn a_killed_gateway_leaves_the_fence_closed() {
    let (server, datagrams) = (
        TcpListener::bind("127.0.0.1:0").expect("a port"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
    );
    let home = home();
    let mut running = Running::start(&home, &ENFORCE, &tries(&server, &datagrams));
    running.tell();
    let standing = running.standing();
    let name = standing["instance"].as_str().expect("a name").to_owned();
    assert_eq!(standing["gateway"]["lives"], true, "{standing}");
    assert_eq!(standing["watched"][0]["mode"], "enforce", "{standing}");
    // Not while its gateway lives.
    let refused = standing::kernel(&["detach", "--instance", &name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lives"));
    running.kill_gateway();
    let left = standing::of_gateway(running.gateway()).expect("it is still listed");
    assert_eq!((&left["gateway"]["lives"], &left["loader"]), (&json!(false), &Value::Null));
    // ECONNREFUSED and EPERM.
    assert_eq!(round(&home, "first"), "111 1");
    let opened = standing::kernel(&["detach", "--json", "--instance", &name]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let opened: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    let removed = opened["removed"].as_array().expect("a list");
    assert_eq!(removed.len(), standing["programs"].as_array().expect("a list").len(), "{opened}");
    assert_eq!(round(&home, "second"), "out out", "what was taken away kept it closed");
    assert!(standing::of_gateway(running.gateway()).is_none());
    // The command was its cgroup's last; a later detach would have taken the folder away.
    let cgroup = standing["watched"][0]["path"].as_str().expect("a path");
    let cgroup = Path::new(cgroup);
    drop(running);
    poll("its cgroup is empty", || fs::remove_dir(cgroup).is_ok().then_some(()));
    standing::assert_gone(&standing);
    // The next start seals what was pending.
    Launch::new(&home, &[]).run(["true"]).expect(0).home.assert_valid();
    assert_eq!(covered(&home)["end"], Value::Null, "nobody closed it");
}

/// The gateway goes on to capture; datagrams stay denied; coverage is over, and that is said.
fn a_killed_loader_leaves_the_fence_closed() {
    for (flags, enforced) in modes() {
        let (server, datagrams) = (
            TcpListener::bind("127.0.0.1:0").expect("a port"),
            UdpSocket::bind("127.0.0.1:0").expect("a port"),
        );
        let home = home();
        let mut running = Running::start(&home, flags, &tries(&server, &datagrams));
        let standing = running.standing();
        running.tell();
        let loader = running.loader();
        standing::signal(loader, Signal::KILL);
        standing::gone(loader);
        let first = round(&home, "first");
        assert_eq!(first, if enforced { "out 1" } else { "out out" });
        assert_eq!(round(&home, "second"), first);
        let launched = running.end().expect(0);
        // The connections came to the gateway only where the programs stayed.
        launched.captured(if enforced { 2 } else { 0 });
        assert_eq!(level(&launched), "unknown", "{}", launched.account);
        assert_eq!(launched.account["coverage"]["enforced"], enforced, "{}", launched.account);
        assert_eq!(covered(&home)["end"], "loader_gone");
        standing::assert_gone(&standing);
    }
}

/// A loader that is there and says nothing is found out while the command runs, and all ends well.
fn a_stopped_loader_is_noticed() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "true");
    let standing = running.standing();
    let loader = running.loader();
    let messages = || fs::read_to_string(home.data().join("messages.log")).unwrap_or_default();
    assert!(!messages().contains("has not answered"));
    standing::signal(loader, Signal::STOP);
    // Five seconds until it is asked, fifteen until that is too long; three times that here.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !messages().contains("has not answered") {
        assert!(Instant::now() < deadline, "nobody noticed: {}", messages());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(level(&launched), "unknown", "{}", launched.account);
    assert_eq!(covered(&home)["end"], "loader_gone");
    standing::gone(loader);
    standing::assert_gone(&standing);
}

/// With a pin gone the loader's end would open the fence: the command is ended rather than let out.
fn a_pin_that_is_taken_away_ends_the_command() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "touch went-on");
    let standing = running.standing();
    let folder = standing["pinned"].as_str().expect("it is pinned");
    fs::remove_file(Path::new(folder).join("sealtap_sendmsg4")).expect("taken away");
    // Told nothing: it ends all the same.
    let home = Arc::clone(&home);
    let launched = running.wait().expect(125);
    assert!(!home.path().join("went-on").exists());
    launched.captured(0);
    assert_eq!(launched.account["coverage"]["broken"], true, "{}", launched.account);
    assert_eq!(covered(&home)["end"], "links_changed");
    standing::assert_gone(&standing);
}

/// Elsewhere it would not be watched.
fn what_the_command_leaves_running_is_ended() {
    for (flags, enforced) in modes() {
        let home = home();
        let flags: Vec<&str> = flags.iter().copied().chain(["--linger=0"]).collect();
        let script = "sleep 600 >/dev/null 2>&1 & echo $!";
        let launched = Launch::new(&home, &flags).shell(script).expect(0);
        launched.captured(0);
        let process: u32 = launched.stdout().trim().parse().expect("a number");
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        assert_eq!(line.starts_with(b"sleep\x00600"), !enforced);
        let (one, other) = ("ended", "still_running");
        let (named, not) = if enforced { (one, other) } else { (other, one) };
        assert_eq!(launched.account[named][0]["id"], process, "{}", launched.account);
        assert_eq!(launched.account[not], json!([]));
        if !enforced {
            standing::signal(process, Signal::KILL);
        }
    }
}

/// At the end there is neither pin nor program nor cgroup; while it runs there are.
fn nothing_stays_behind() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "true");
    let (standing, loader) = (running.standing(), running.loader());
    let folder = standing["pinned"].as_str().expect("it is pinned").to_owned();
    assert!(Path::new(&folder).is_dir());
    for program in standing["programs"].as_array().expect("a list") {
        assert!(standing::is_loaded(program["id"].as_u64().expect("a number")));
        let at_device = program["name"].as_str().expect("a name").starts_with("sealtap_uplink");
        assert_eq!(program["cgroup"], u64::from(!at_device), "{program}");
    }
    assert!(Path::new(standing["watched"][0]["path"].as_str().expect("a path")).is_dir());
    assert_eq!(standing["loader"], loader);
    let gateway = running.gateway();
    let launched = running.go_on().expect(0);
    launched.captured(0);
    standing::assert_gone(&standing);
    assert!(standing::of_gateway(gateway).is_none());
    assert!(!Path::new(&format!("/proc/{loader}")).exists());
}

/// Five capabilities, and of descriptors only what it made itself.
fn the_loader_has_no_more_than_it_needs() {
    const KEPT: u64 = 1 << 39 | 1 << 38 | 1 << 19 | 1 << 12 | 1 << 2;
    let home = home();
    let open = home.path().join("open");
    fs::write(&open, "").expect("written");
    let script = "echo there; read line; ls -l /proc/self/fd | grep -c /open";
    let line = Launch::new(&home, &ENFORCE).command(["sh", "-c", script]);
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

/// The command is interactive as without it, and signals come once.
fn the_terminal_and_signals_are_the_commands() {
    let (line, interrupt, stop) = (
        "test -t 0 && test -t 1 && echo ready; read line; echo \"got <$line>\"; exit 4",
        "n=0; trap 'n=$((n+1)); echo interrupted $n' INT; echo ready; \
         while [ $n -lt 2 ]; do sleep 0.2; done; echo count $n; exit 5",
        "echo ready; read line; echo \"got <$line>\"",
    );
    for (flags, enforced) in modes() {
        let plays = [
            ("line", line, "exit 4"),
            ("interrupt", interrupt, "exit 5"),
            ("stop", stop, "exit 0"),
        ];
        for (play, script, end) in plays {
            let (home, said) = at_terminal(play, flags, script);
            assert!(said.starts_with(end), "{play}: {said}");
            let mode = covered(&home)["mode"].clone();
            assert_eq!(mode, if enforced { "enforce" } else { "observe" });
        }
    }
    let home = home();
    let mut running = Running::start(
        &home,
        &ENFORCE,
        "trap 'exit 7' TERM; touch waits; while :; do sleep 0.1; done",
    );
    running.tell();
    poll("it waits", || home.path().join("waits").exists().then_some(()));
    standing::signal(running.gateway(), Signal::TERM);
    running.wait().expect(7).captured(0);
}

/// Never a silent downgrade.
fn what_cannot_be_enforced_is_not_started() {
    let refused = |mut command: Command, says: &str, home: &Home| {
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(says) && said.contains("not started"), "{said}");
        assert!(!home.path().join("ran").exists(), "{said}");
    };
    let off = home();
    refused(
        Launch::new(&off, &["--kernel=off", "--enforce"]).command(["touch", "ran"]),
        "--kernel off",
        &off,
    );
    // Root by name, without its rights; and with all but the one for mounts.
    for dropped in ["-all", "-bpf", "-sys_admin"] {
        let home = home();
        let line = Launch::new(&home, &ENFORCE).command(["touch", "ran"]);
        let mut command = Command::new("setpriv");
        command.args([&format!("--bounding-set={dropped}"), "--inh-caps=-all"]);
        command.arg(line.get_program()).args(line.get_args()).current_dir(home.path());
        refused(command, "privileges", &home);
    }
    // A connection that was made before would go around.
    let home = home();
    let mut command = Launch::new(&home, &ENFORCE).command(["touch", "ran"]);
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let older =
        std::net::TcpStream::connect(server.local_addr().expect("bound")).expect("connected");
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(older)));
    refused(command, "network socket", &home);
    // The control: the same with nothing in the way.
    Launch::new(&home, &ENFORCE).run(["touch", "ran"]).expect(0).captured(0);
    assert!(home.path().join("ran").exists());
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn())),*] };
    }
    let tests = tests![
        datagrams_are_denied_and_the_client_falls_back,
        sockets_that_no_hook_sees_are_refused,
        calls_by_another_table_end_the_program,
        children_inherit_and_a_setuid_program_gains_nothing,
        the_command_may_run_as_somebody_else,
        the_command_does_not_leave_its_cgroup,
        a_killed_gateway_leaves_the_fence_closed,
        a_killed_loader_leaves_the_fence_closed,
        a_stopped_loader_is_noticed,
        a_pin_that_is_taken_away_ends_the_command,
        what_the_command_leaves_running_is_ended,
        nothing_stays_behind,
        the_loader_has_no_more_than_it_needs,
        the_terminal_and_signals_are_the_commands,
        what_cannot_be_enforced_is_not_started,
    ];
    suite::main(&tests, suite::without_the_kernel(&["python3", "setpriv", "unshare", "nsenter"]))
}
