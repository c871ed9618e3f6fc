//! Hidden: what the command does not find or cannot change, whoever owns it.
//!
//! The control is the same program without a fence and without any capability: what files' own rights allow.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;

use crate::{ENFORCE, home};

/// What takes the capabilities of a user 0 away, and leaves it its files.
pub(crate) const WITHOUT_RIGHTS: [&str; 3] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

/// Opens things, changes nothing that stays, and says of each whether it was there to be opened.
const OPENS: &str = "import glob,os,stat,sys\n\
    data,lock=sys.argv[1:]\n\
    def tries(name,way):\n\
    \x20try: print(name,'open' if way() else 'closed')\n\
    \x20except OSError: print(name,'closed')\n\
    def writes(path): os.close(os.open(path,os.O_WRONLY)); return True\n\
    def leaves(folder): path=folder+'/left'; open(path,'w').close(); os.unlink(path); return True\n\
    def device(path):\n\
    \x20found=os.open(path,os.O_RDONLY|os.O_NONBLOCK); kind=os.fstat(found); os.close(found)\n\
    \x20return kind.st_rdev!=os.stat('/dev/null').st_rdev\n\
    tries('keys',lambda: [open(path,'rb').read() for path in glob.glob(data+'/keys/*')])\n\
    tries('keys by root',lambda: [open(path,'rb').read() for path in glob.glob('/proc/%d/root%s/keys/*'%(os.getppid(),data))])\n\
    tries('data',lambda: leaves(data))\n\
    tries('lock',lambda: leaves(lock))\n\
    for path in ['/proc/sysrq-trigger','/proc/sys/kernel/core_pattern','/proc/sys/kernel/modprobe','/proc/mtrr',\n\
    \x20 '/sys/kernel/uevent_helper','/sys/kernel/uevent_seqnum','/sys/power/state','/sys/kernel/tracing/kprobe_events']:\n\
    \x20if os.path.exists(path): tries(path,lambda: writes(path))\n\
    for path in sorted(glob.glob('/sys/fs/cgroup/*/release_agent'))[:3]: tries(path,lambda: writes(path))\n\
    for entry in sorted(os.scandir('/dev'),key=lambda entry: entry.name):\n\
    \x20kind=os.lstat(entry.path).st_mode\n\
    \x20if stat.S_ISBLK(kind) or entry.name in ('mem','port','kmsg','tty1','urandom','vda'):\n\
    \x20 tries(entry.path,lambda: device(entry.path))";

/// Each line's name, and whether it was open.
fn opened(stdout: &str) -> Vec<(String, bool)> {
    let pair = |line: &str| {
        let (name, how) = line.rsplit_once(' ').expect("two words");
        (name.to_owned(), how == "open")
    };
    stdout.lines().map(pair).collect()
}

/// Runs a script behind the fence, and the same in front of it without a capability.
fn both(script: &str, arguments: impl Fn(&Home) -> Vec<String>) -> [String; 2] {
    [true, false].map(|fenced| {
        let home = home();
        // A log that is there before, with its keys.
        Launch::new(&home, &ENFORCE[..1]).run(["true"]).expect(0).captured(0);
        let flags = if fenced { &ENFORCE[..] } else { &ENFORCE[..1] };
        let line = if fenced { Vec::new() } else { WITHOUT_RIGHTS.to_vec() };
        let line = line.into_iter().chain(["python3", "-c", script]).map(str::to_owned);
        let launched = Launch::new(&home, flags).run(line.chain(arguments(&home))).expect(0);
        launched.captured(0);
        launched.stdout().to_owned()
    })
}

pub(crate) fn the_record_and_what_the_kernel_runs_are_out_of_reach() {
    let places =
        |home: &Home| [home.data(), home.lock()].map(|path| path.display().to_string()).into();
    let [fenced, free] = both(OPENS, places).map(|said| opened(&said));
    let was = |all: &[(String, bool)], name: &str| {
        all.iter().find(|(found, _)| found == name).is_some_and(|(_, open)| *open)
    };
    for needed in ["keys", "data", "lock", "/proc/sys/kernel/core_pattern"] {
        assert!(was(&free, needed), "{needed} is there for whoever owns it: {free:?}");
    }
    let device = |(name, open): &&(String, bool)| name.starts_with("/dev/") && *open;
    let devices = free.iter().filter(device).count();
    assert!(devices > 2, "a disk is there for whoever owns it: {free:?}");
    let open: Vec<_> = fenced.iter().filter(|(_, open)| *open).map(|(name, _)| name).collect();
    assert_eq!(open, ["/dev/urandom"], "{free:?}");
}

/// Mounts anew what is read-only, and takes away what hides, in a namespace that it does not have (`plain`). Nothing is said of propagation: that would be a
/// change of mounts, which Landlock denies, and then nothing else would be tried.
const BY_A_NAMESPACE: &str = "import subprocess,sys\n\
    data,lock=sys.argv[1:]\n\
    def tries(name,*line):\n\
    \x20done=subprocess.run(['unshare','-Umpf','--propagation=unchanged','--keep-caps',*line],stdin=subprocess.DEVNULL,stderr=subprocess.DEVNULL,stdout=subprocess.DEVNULL)\n\
    \x20print(name,'open' if done.returncode==0 else 'closed')\n\
    tries('plain','true')\n\
    tries('switches','--mount-proc','sh','-c',': >>/proc/sys/kernel/core_pattern')\n\
    tries('mounted','sh','-c','mount -t proc x /mnt && : >>/mnt/sys/kernel/core_pattern')\n\
    tries('written','sh','-c','mount -o remount,bind,rw /proc/sys; : >>/proc/sys/kernel/core_pattern')\n\
    tries('bound','sh','-c','mount --bind \"$1\" /mnt && cat /mnt/data/keys/*.key','-',data+'/..')\n\
    tries('bound with all','sh','-c','mount --rbind \"$1\" /mnt && cat /mnt/data/keys/*.key','-',data+'/..')\n\
    tries('uncovered','sh','-c','umount -l \"$1\"; cat \"$1\"/keys/*.key','-',data)";

pub(crate) fn a_namespace_of_users_shows_no_more() {
    let places = |home: &Home| {
        assert_eq!(home.data().file_name().expect("a name"), "data");
        [home.data(), home.lock()].map(|path| path.display().to_string()).into()
    };
    let [fenced, free] = both(BY_A_NAMESPACE, places).map(|said| opened(&said));
    for (name, open) in &fenced {
        assert!(!open, "{name}: {fenced:?} {free:?}");
    }
    for (name, open) in &free {
        assert!(
            *open || !["plain", "switches", "bound", "uncovered"].contains(&&**name),
            "{free:?}"
        );
    }
}

/// What is hidden cannot be where the command is to be.
pub(crate) fn a_command_does_not_begin_in_the_record() {
    let home = home();
    let inside = home.data().join("inside");
    fs::create_dir_all(&inside).expect("made");
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o700)).expect("set");
    for (flags, code) in [(&ENFORCE[..], 125), (&ENFORCE[..1], 0)] {
        let mut command = Launch::new(&home, flags).command(["touch", "ran"]);
        let output = command.current_dir(&inside).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(inside.join("ran").exists(), code == 0);
        assert_eq!(said.contains("holds the record"), code != 0, "{said}");
    }
}

/// Says where a word of its memory is, waits, and says what is there.
const OUTSIDE: &str = "import ctypes,sys\n\
    word=ctypes.create_string_buffer(b'own')\n\
    print(ctypes.addressof(word),flush=True)\n\
    sys.stdin.readline(); print(word.value.decode(),flush=True)";

/// Reaches for it.
const REACHES: &str = "import ctypes,os,sys\n\
    process,address=sys.argv[1:]\n\
    def tries(name,way):\n\
    \x20try: way(); print(name,'open')\n\
    \x20except OSError: print(name,'closed')\n\
    def memory():\n\
    \x20file=os.open('/proc/'+process+'/mem',os.O_RDWR); os.lseek(file,int(address),0); os.write(file,b'hit')\n\
    tries('memory',memory)\n\
    tries('descriptors',lambda: os.readlink('/proc/'+process+'/fd/0'))\n\
    tries('root',lambda: os.listdir('/proc/'+process+'/root'))\n\
    tries('signals',lambda: os.kill(int(process),0))\n\
    print('version',ctypes.CDLL(None).syscall(444,None,0,1))";

/// Python where another user finds it, too: a path below somebody's home may be closed to it.
pub(crate) fn python() -> &'static str {
    let places = ["/usr/bin/python3", "/usr/local/bin/python3"];
    places.into_iter().find(|place| Path::new(place).exists()).unwrap_or("python3")
}

/// A process outside that has no more rights than the command.
struct Outside(Child);

impl Outside {
    fn start(user: &str) -> (Self, String) {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]);
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args([python(), "-c", OUTSIDE]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut outside = Self(command.spawn().expect("it can be started"));
        let address = outside.line();
        assert!(!address.is_empty(), "it did not start");
        (outside, address)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let mut output = BufReader::with_capacity(1, self.0.stdout.as_mut().expect("piped"));
        output.read_line(&mut line).expect("it speaks");
        line.trim().to_owned()
    }

    fn word(mut self) -> String {
        self.0.stdin.as_mut().expect("piped").write_all(b"\n").expect("told");
        let word = self.line();
        self.0.wait().expect("it ends");
        word
    }
}

/// Neither as root nor as somebody else does it make others of its user send for it.
pub(crate) fn processes_outside_are_out_of_reach() {
    for user in ["0", "65534"] {
        for fenced in [true, false] {
            let home = home();
            fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("set");
            let (outside, address) = Outside::start(user);
            let as_user = format!("--user={user}:{user}");
            let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={user}"));
            let (flags, before) = match fenced {
                true => (vec![ENFORCE[0], ENFORCE[1], as_user.as_str()], Vec::new()),
                false => (
                    vec![ENFORCE[0]],
                    [&WITHOUT_RIGHTS[..], &["--clear-groups", &reuid, &regid]].concat(),
                ),
            };
            let process = outside.0.id().to_string();
            let line = before.into_iter().chain([python(), "-c", REACHES, &process, &address]);
            let launched = Launch::new(&home, &flags).run(line).expect(0);
            launched.captured(0);
            let mut lines: Vec<&str> = launched.stdout().lines().collect();
            let version = lines.pop().and_then(|line| line.strip_prefix("version "));
            let version: i64 = version.expect("it is told").parse().expect("a number");
            // What this kernel has no Landlock for is stated.
            let apart = fenced && version > 0;
            let said = launched.account["coverage"]["not_covered"].to_string();
            assert_eq!(said.contains("no Landlock"), fenced && version <= 0, "{said}");
            for (name, open) in opened(&lines.join("\n")) {
                let closed = apart && (name != "signals" || version >= 6);
                assert_eq!(open, !closed, "{name} of user {user}, fenced: {fenced}: {lines:?}");
            }
            assert_eq!(outside.word(), if apart { "own" } else { "hit" });
        }
    }
}
