//! Calls: what a command behind the fence does to itself, and to others of its user.

use rustix::process::Signal;
use sealtap_tests::launch::Launch;
use sealtap_tests::standing::{self, Running};
use sealtap_tests::verify::{Verdict, verify};

use crate::{ENFORCE, home, level, modes, python};

/// Each call by its number; 0, or what the kernel said. The gateway's limits and priorities are set to what
/// they are.
const CALLS: &str = "import ctypes,os,platform,subprocess,threading\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    names=['clone','clone3','unshare','setns','prctl','prlimit','priority','io priority','affinity']\n\
    numbers={'x86_64':(56,435,272,308,157,302,141,251,203),'aarch64':(220,435,97,268,167,261,140,30,122)}\n\
    number=dict(zip(names,numbers[platform.machine()]))\n\
    def call(name,*rest):\n\
    \x20answer=libc.syscall(*[ctypes.c_long(n) if isinstance(n,int) else n for n in (number[name],)+rest])\n\
    \x20return 0 if answer>=0 else ctypes.get_errno()\n\
    def forked(way):\n\
    \x20child=os.fork()\n\
    \x20if not child: os._exit(way())\n\
    \x20return os.waitstatus_to_exitcode(os.waitpid(child,0)[1])\n\
    def cloned(flags):\n\
    \x20child=libc.syscall(number['clone'],ctypes.c_long(flags|17),None,None,None,None)\n\
    \x20if child==0: os._exit(0)\n\
    \x20if child<0: return ctypes.get_errno()\n\
    \x20os.waitpid(child,0); return 0\n\
    gateway=os.getppid(); limits=(ctypes.c_uint64*2)()\n\
    def say(name,answer): print(name,answer,flush=True)\n\
    say('users',forked(lambda: call('unshare',0x10000000)))\n\
    say('networks',forked(lambda: call('unshare',0x40000000)))\n\
    say('files',forked(lambda: call('unshare',0x400)))\n\
    say('users by clone',cloned(0x10000000))\n\
    say('networks by clone',cloned(0x40000000))\n\
    say('plain clone',cloned(0))\n\
    say('clone3',call('clone3',None,0))\n\
    own=os.open('/proc/self/ns/net',0)\n\
    say('entered',forked(lambda: call('setns',own,0)))\n\
    size=ctypes.c_uint32()\n\
    say('map',call('prctl',35,15,ctypes.addressof(size),0,0))\n\
    say('name',call('prctl',15,ctypes.addressof(ctypes.create_string_buffer(b'x')),0,0,0))\n\
    say('limits read',call('prlimit',gateway,1,None,limits))\n\
    say('limits',call('prlimit',gateway,1,limits,None))\n\
    say('own limits',call('prlimit',0,1,limits,None))\n\
    say('priority',call('priority',0,gateway,0))\n\
    say('of a group',call('priority',1,0,0))\n\
    say('of a user',call('priority',2,0,0))\n\
    say('own priority',call('priority',0,0,0))\n\
    say('io priority',call('io priority',1,gateway,0))\n\
    say('own io priority',call('io priority',1,0,0))\n\
    def opened(path):\n\
    \x20try: os.close(os.open(path,os.O_WRONLY)); return 0\n\
    \x20except OSError as error: return error.errno\n\
    say('memory',opened('/proc/%d/oom_score_adj'%gateway))\n\
    say('memory by thread',opened('/proc/%d/task/%d/oom_score_adj'%(gateway,gateway)))\n\
    seen=[]; thread=threading.Thread(target=lambda: seen.append(1)); thread.start(); thread.join()\n\
    say('thread',1-len(seen))\n\
    say('affinity',call('affinity',threading.get_native_id(),8,ctypes.byref(ctypes.c_uint64(2**64-1))))\n\
    say('program',subprocess.run(['true']).returncode)";

pub(crate) fn calls_upon_others_and_namespaces_are_refused() {
    let said = |flags: &[&str]| {
        let launched = python(&home(), flags, CALLS).expect(0);
        launched.captured(0);
        let pair = |line: &str| {
            let (name, error) = line.rsplit_once(' ').expect("a name and a number");
            (name.to_owned(), error.parse::<i32>().expect("a number"))
        };
        launched.stdout().lines().map(pair).collect::<Vec<_>>()
    };
    let (denied, free) = (said(&ENFORCE), said(&ENFORCE[..1]));
    assert_eq!(denied.len(), 24, "{denied:?}");
    for ((name, error), (_, without)) in denied.iter().zip(&free) {
        let expected = match name.as_str() {
            "users" | "networks" | "users by clone" | "networks by clone" | "entered" | "map" => 1,
            "limits" | "priority" | "of a group" | "of a user" | "io priority" => 1,
            // It is read-only.
            "memory" | "memory by thread" => 30,
            "clone3" => 38,
            _ => 0,
        };
        assert_eq!(*error, expected, "{name}: {denied:?} {free:?}");
        // A `clone3` of nothing is invalid where there is one.
        let open = if name == "clone3" { 22 } else { 0 };
        assert_eq!(*without, open, "{name} is open where nothing is denied: {free:?}");
    }
}

/// Whether the app could have forged the record is said by whom it runs as.
pub(crate) fn another_user_cannot_read_the_keys_and_that_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let said = |flags: &[&str]| {
        let home = home();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).expect("set");
        let line = "curl -s $SEALTAP_URL/none/; true";
        let launched = Launch::new(&home, flags).shell(line).expect(0);
        launched.captured(1);
        let bundle = launched.account["bundle"].as_str().expect("a bundle").to_owned();
        let (verdict, said) = verify(bundle.as_ref(), Some(&home.keys()));
        assert_eq!(verdict, Verdict::Valid, "{said}");
        said
    };
    let other = said(&[ENFORCE[0], ENFORCE[1], "--user=65534"]);
    assert!(other.contains("key isolation: other user (launched)"), "{other}");
    for (flags, _) in modes() {
        let same = said(flags);
        assert!(same.contains("key isolation: same user (launched)"), "{same}");
    }
}

/// A limit that somebody sets is an error of whoever meets it, and ends neither.
pub(crate) fn signals_of_limits_end_neither_gateway_nor_loader() {
    let running = Running::start(&home(), &ENFORCE, "true");
    for process in [running.gateway(), running.loader()] {
        for limit in [Signal::XCPU, Signal::XFSZ] {
            standing::signal(process, limit);
        }
    }
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(level(&launched), "enforced", "{}", launched.account);
}
