//! Sockets: what the command can make, and what becomes of what it sends.

use std::fs;
use std::net::UdpSocket;

use sealtap_tests::http1::head;
use sealtap_tests::launch::Launch;
use sealtap_tests::upstream_http1::Upstream;
use serde_json::json;

use crate::{ENFORCE, connections, covered, home, level, modes, python, state};

/// A client that has two ways takes the one that is open, and is captured.
pub(crate) fn datagrams_are_denied_and_the_client_falls_back() {
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
        for channel in ["tcp", "udp", "raw"] {
            assert_eq!(state(&covered, channel), "closed_by_hook", "{channel}");
        }
    }
    assert_eq!(upstream.finish().len(), 1);
}

/// Whoever owns the files of root has others do what it may not do itself: of such a command nothing is said that
/// only its launch denies.
pub(crate) fn what_is_denied_at_launch_is_stated_of_an_ordinary_user() {
    const BY_LAUNCH: [&str; 5] = ["raw", "packet", "vsock", "older", "moved"];
    for (flags, root) in [(&["--user=65534:65534"][..], false), (&[][..], true)] {
        let home = home();
        let flags: Vec<&str> = ENFORCE.iter().chain(flags).copied().collect();
        let launched = Launch::new(&home, &flags).run(["true"]).expect(0);
        launched.captured(0);
        let covered = covered(&home);
        for channel in ["tcp", "udp"] {
            assert_eq!(state(&covered, channel), "closed_by_hook", "{channel}");
        }
        assert_eq!(state(&covered, "helper"), "not_covered");
        for channel in BY_LAUNCH {
            let said = state(&covered, channel);
            let expected = match (root, channel) {
                (false, _) => "denied_by_launch_policy",
                (true, "raw") => "closed_by_hook",
                (true, "packet") => "observed_only",
                (true, _) => "not_covered",
            };
            assert_eq!(said, expected, "{channel}, as root: {root}");
        }
        let namespace = if root { "not_covered" } else { "closed_by_hook" };
        assert_eq!(state(&covered, "namespace"), namespace);
        let said = launched.account["coverage"]["not_covered"].to_string();
        assert_eq!(said.contains("the files of root"), root, "{said}");
    }
}

/// Makes sockets of all kinds, and says how each went.
const SOCKETS: &str = "import ctypes,platform,socket\n\
    kinds={'tcp':(2,1,0),'udp':(10,2,0),'mptcp':(2,1,262),'unix':(1,1,0),'netlink':(16,3,0),\n\
    \x20'raw':(2,3,6),'raw6':(10,3,58),'ping':(2,2,1),'sctp':(2,1,132),'packet':(17,3,768),\n\
    \x20'seqpacket':(2,5,0),'seqpacket6':(10,5,0),'rdm':(2,4,0),\n\
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
    call('typing',{'x86_64':16,'aarch64':29}[platform.machine()],0,0x5412,b'x')\n\
    add,ask,control={'x86_64':(248,249,250),'aarch64':(217,218,219)}[platform.machine()]\n\
    call('add key',add,b'user',b'sealtap-test',b'x',1,-1)\n\
    call('ask for key',ask,b'user',b'sealtap-test',0,-1)\n\
    call('key',control,0,-1,1)\n\
    if platform.machine()=='x86_64':\n\
    \x20call('x32',0x40000029,17,3,0)\n\
    \x20call('x32 typing',0x40000202,0,0x5412,b'x')\n\
    \x20call('x32 trace',0x40000209,0,0,0,0)";

/// Families that no hook sees are refused, however they are asked for.
pub(crate) fn sockets_that_no_hook_sees_are_refused() {
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
            "seqpacket" | "seqpacket6" | "rdm" | "typing" | "x32 typing" | "x32 trace" => 1,
            "add key" | "ask for key" | "key" => 1,
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
    // Without a fence the kernel says something else of these, and not that it may not be.
    for name in ["seqpacket", "rdm", "typing"] {
        let (_, error) = free.iter().find(|(found, _)| found == name).expect("it is tried");
        assert_ne!(*error, 1, "{name}: {free:?}");
    }
}

/// A call by the numbers of 32-bit programs: `socket` is 359 there.
const BY_ANOTHER_TABLE: &str = "import ctypes,mmap\n\
    code=bytes.fromhex('53b867010000bb11000000b903000000ba00000000cd805bc3')\n\
    page=mmap.mmap(-1,4096,prot=7); page.write(code)\n\
    at=ctypes.addressof(ctypes.c_char.from_buffer(page))\n\
    print(ctypes.CFUNCTYPE(ctypes.c_int)(at)()>=0)";

pub(crate) fn calls_by_another_table_end_the_program() {
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
