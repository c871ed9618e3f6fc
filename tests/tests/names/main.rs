//! Names: what the command asks the configured resolver for is read and sealed, whatever asks, and what
//! it asks anybody else for is stopped or counted.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and none
//! passes. Each case runs in a network and mounts of its own, with a real server at port 53 of three
//! addresses, so that clients go their usual way by `/etc/resolv.conf`.

mod asked;

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use sealtap_tests::resolver::{self, ANSWER_4, ANSWER_6};
use sealtap_tests::suite;

use self::asked::{ask_while, python};

const OBSERVE: &[&str] = &["--kernel=require"];
const ENFORCE: &[&str] = &["--kernel=require", "--enforce"];

/// The configured one, over both families, and another.
const RESOLVER: &str = "192.0.2.53";
const RESOLVER_6: &str = "fd53::53";
const ANOTHER: &str = "192.0.2.54";

/// The word by which this program becomes the server.
const SERVER: &str = "--as-a-resolver";

/// Stays until the gateway has read so many packets with who sent them, or for a minute: `stay(count)`.
const STAY: &str = "import os,time\n\
    def stay(count):\n\
    \x20for n in range(6000):\n\
    \x20 if os.path.exists('seen.%d'%count): return\n\
    \x20 time.sleep(0.01)\n";

/// Has clients that stay ask for all of `names`, in so many questions and in each mode of each family; each name
/// is asked for by a program of which the second word is in the path.
fn are_read(script: &str, names: [&[(&str, &str)]; 2], answers: [usize; 2], seen: &[u64]) {
    let [both, of_ipv4] = names;
    let questions = 2 * both.len() + of_ipv4.len();
    for flags in [OBSERVE, ENFORCE] {
        for resolver in [RESOLVER, RESOLVER_6] {
            let asked = ask_while(flags, resolver, &["sh", "-c", script], seen).expect(0);
            let said = asked.launched.stdout();
            let found = [ANSWER_4.to_string(), ANSWER_6.to_string()];
            assert_eq!(found.map(|answer| said.matches(&answer).count()), answers, "{said}");
            asked.holds();
            for (name, _) in both {
                assert_eq!(asked.count(name, "A"), 1, "{name}: {:?}", asked.counts());
                assert_eq!(asked.count(name, "AAAA"), 1, "{name}: {:?}", asked.counts());
            }
            for (name, _) in of_ipv4 {
                assert_eq!(asked.count(name, "A"), 1, "{name}: {:?}", asked.counts());
            }
            let sum = u64::try_from(questions).expect("few");
            assert_eq!(asked.number("questions"), sum, "{:?}", asked.counts());
            assert_eq!(asked.heard_by(resolver), questions, "{:?}", asked.heard);
            assert_eq!((asked.number("lost"), asked.number("unparsable")), (0, 0));
            for name in asked.names() {
                let mut known = both.iter().chain(of_ipv4);
                let expected = known.find(|(known, _)| name["name"] == *known);
                let (_, expected) = expected.expect("a name that was asked for");
                match name["executable"].as_str() {
                    Some(executable) => assert!(executable.contains(expected), "{name}"),
                    // It ends with its answer, and may be gone before the look.
                    None => assert_eq!(*expected, "getent", "{name}"),
                }
            }
        }
    }
}

/// The C library's own resolver, from a program and from Python.
fn clients_of_the_c_library_are_read() {
    let script = format!(
        "set -e; getent ahosts by-program.example | cut -d' ' -f1 | sort -u; \
         python3 -c \"import socket\n{STAY}\
         print(sorted({{x[4][0] for x in socket.getaddrinfo('by-python.example',443)}})); stay(4)\""
    );
    let names = [("by-program.example", "getent"), ("by-python.example", "python")];
    are_read(&script, [&names, &[]], [2, 2], &[4]);
}

/// Node, with both resolvers that it has.
fn node_is_read() {
    let script = "node -e \"const d=require('dns'),fs=require('fs'); \
        const stay=(n)=>{ if(n&&!fs.existsSync('seen.3'))setTimeout(()=>stay(n-1),10) }; \
        d.lookup('looked-up.example',{all:true},(e,a)=>{ if(e)throw e; \
        console.log(a.map(x=>x.address).join(' ')); \
        d.resolve4('resolved.example',(e,a)=>{ if(e)throw e; console.log(a.join(' ')); \
        stay(6000) }) })\"";
    are_read(
        script,
        [&[("looked-up.example", "node")], &[("resolved.example", "node")]],
        [2, 1],
        &[3],
    );
}

/// A query by hand: `ask(server, name)`.
const BY_HAND: &str = "import socket,struct\n\
    def message(name,kind=1):\n\
    \x20return b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+b''.join(bytes([len(l)])+l.encode() \
    for l in name.split('.'))+b'\\0'+struct.pack('!HH',kind,1)\n\
    def ask(server,name):\n\
    \x20s=socket.socket(socket.AF_INET6 if ':' in server else socket.AF_INET,socket.SOCK_DGRAM)\n\
    \x20s.settimeout(20); s.sendto(message(name),(server,53)); return s.recv(512)\n";

/// Whom else it asks.
fn other_servers_are_not_asked() {
    let script = format!(
        "{BY_HAND}\
         assert b'asked-here' in ask('{RESOLVER}','asked-here.example')\n\
         try: ask('{ANOTHER}','asked-there.example'); print('answered')\n\
         except PermissionError: print('denied')"
    );
    let asked = python(ENFORCE, RESOLVER, &script).expect(0);
    assert_eq!(asked.launched.stdout(), "denied\n");
    asked.holds();
    assert_eq!(asked.heard_by(ANOTHER), 0, "{:?}", asked.heard);
    assert_eq!((asked.connections("allowed"), asked.connections("bypass_denied")), (1, 1));
    assert_eq!(asked.count("asked-here.example", "A"), 1);
    assert_eq!(asked.counts().len(), 1, "{:?}", asked.counts());
    // Observed, it is told of as what went around; its name is nobody's business.
    let asked = python(OBSERVE, RESOLVER, &script).expect(0);
    assert_eq!(asked.launched.stdout(), "answered\n");
    asked.holds();
    assert_eq!(asked.heard_by(ANOTHER), 1, "{:?}", asked.heard);
    assert_eq!((asked.connections("allowed"), asked.connections("bypass_passed")), (1, 1));
    assert_eq!(asked.counts().len(), 1, "{:?}", asked.counts());
}

/// Where the configuration names a resolver, that is the one, and not the machine's own.
fn the_resolver_of_the_configuration_is_the_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("resolver.toml");
    std::fs::write(&file, format!("[kernel]\nresolver = \"{ANOTHER}\"\n")).expect("written");
    let config = format!("--config={}", file.display());
    let flags: Vec<&str> = ENFORCE.iter().copied().chain([config.as_str()]).collect();
    let script = format!(
        "{BY_HAND}\
         assert b'asked-here' in ask('{ANOTHER}','asked-here.example')\n\
         try: ask('{RESOLVER}','asked-there.example'); print('answered')\n\
         except PermissionError: print('denied')"
    );
    let asked = python(&flags, RESOLVER, &script).expect(0);
    assert_eq!(asked.launched.stdout(), "denied\n");
    asked.holds();
    assert_eq!((asked.heard_by(ANOTHER), asked.heard_by(RESOLVER)), (1, 0), "{:?}", asked.heard);
    assert_eq!(asked.count("asked-here.example", "A"), 1);
    assert_eq!(asked.counts().len(), 1, "{:?}", asked.counts());
}

/// What is no message is a number, and so is what has no end.
fn what_cannot_be_read_is_counted() {
    let script = format!(
        "{BY_HAND}\
         good=message('cut-anywhere.example')\n\
         bad=[b'',b'\\0',b'\\xff'*40,b'\\0'*11]+[good[:n] for n in range(12,len(good))]\n\
         head=good[:12]\n\
         bad+=[head+b'\\xc0\\x0c\\0\\1\\0\\1',head+b'\\xc0\\x0e\\0\\1\\0\\1',head+b'\\xff\\xff\\0\\1\\0\\1',\
         head+b'\\x40'+b'a'*64+b'\\0\\0\\1\\0\\1', head+(b'\\x3f'+b'x'*63)*5+b'\\0\\0\\1\\0\\1',b'\\xff'*1400]\n\
         s=socket.socket(socket.AF_INET6 if ':' in '{{0}}' else socket.AF_INET,socket.SOCK_DGRAM)\n\
         for b in bad: s.sendto(b,('{{0}}',53))\n\
         s.sendto(good,('{{0}}',53)); s.settimeout(20); s.recv(512); print(len(bad))"
    );
    for resolver in [RESOLVER, RESOLVER_6] {
        let asked = python(ENFORCE, resolver, &script.replace("{0}", resolver)).expect(0);
        let bad: u64 = asked.launched.stdout().trim().parse().expect("a number");
        asked.holds();
        assert_eq!(asked.number("unparsable"), bad);
        assert_eq!((asked.number("parsed"), asked.number("questions")), (1, 1));
        assert_eq!(asked.number("cut"), 1, "the longest one");
        assert_eq!(asked.count("cut-anywhere.example", "A"), 1);
    }
}

/// More than there is room for: each is read or counted as lost, and the server got all that fit its own.
fn a_flood_is_counted_to_the_last() {
    const SENT: u64 = 5_000;
    let script = format!(
        "{BY_HAND}\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('{RESOLVER}',53))\n\
         for n in range({SENT}): s.send(message('%d.flood.example'%n))"
    );
    let smallest = [OBSERVE, &["--kernel-ring=4096"]].concat();
    let asked = python(&smallest, RESOLVER, &script).expect(0);
    asked.holds();
    assert_eq!(asked.number("seen"), SENT, "{}", asked.launched.account);
    assert!(asked.number("lost") > 0 && asked.number("parsed") > 0, "{}", asked.launched.account);
    assert_eq!(asked.number("parsed") + asked.number("lost"), SENT);
    let asked = python(ENFORCE, RESOLVER, &script).expect(0);
    asked.holds();
    assert_eq!(asked.number("seen"), SENT);
    assert_eq!(asked.number("parsed") + asked.number("lost"), SENT, "{}", asked.launched.account);
}

/// Datagrams that the kernel cuts out of one buffer (UDP_SEGMENT), and one that the network cuts.
fn what_is_cut_on_its_way_is_read() {
    let script = format!(
        "{BY_HAND}\
         one,two=message('one.example'),message('two.example')\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('{RESOLVER}',53))\n\
         s.settimeout(20); s.setsockopt(17,103,len(one)); s.send(one+two)\n\
         got=s.recv(512)+s.recv(512); assert b'one' in got and b'two' in got\n\
         l=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         l.sendto(message('long.example')+b'x'*3000,('{RESOLVER}',53)); l.settimeout(20); l.recv(512)"
    );
    let asked = python(ENFORCE, RESOLVER, &script).expect(0);
    asked.holds();
    assert_eq!((asked.number("seen"), asked.number("parsed")), (2, 2));
    assert_eq!((asked.number("questions"), asked.number("cut")), (3, 1));
    for name in ["one.example", "two.example", "long.example"] {
        assert_eq!(asked.count(name, "A"), 1, "{:?}", asked.counts());
    }
}

/// Fragments that a program makes itself: the first has the ports and is read as far as it goes, the rest
/// goes to no port and so not to the resolver.
fn fragments_made_by_hand_are_counted() {
    let script = format!(
        "{BY_HAND}\
         m=message('in-fragments.example'); u=struct.pack('!HHHH',4711,53,8+len(m),0)+m\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_RAW)\n\
         to=socket.inet_aton('{RESOLVER}')\n\
         def ip(frag,data): return struct.pack('!BBHHHBBH4s4s',0x45,0,20+len(data),77,frag,64,17,0,to,to)+data\n\
         s.sendto(ip(0x2000,u[:24]),('{RESOLVER}',0)); s.sendto(ip(3,u[24:]),('{RESOLVER}',0))"
    );
    let asked = python(OBSERVE, RESOLVER, &script).expect(0);
    asked.holds();
    assert_eq!((asked.number("seen"), asked.number("unparsable")), (1, 1));
    let packets = &asked.launched.account["coverage"]["packets"];
    assert_eq!(packets["bypass_passed"], 1, "{packets}");
}

/// By TCP a query is a connection like any other: led to the gateway, passed on, and not read.
fn queries_by_tcp_are_connections() {
    let script = format!(
        "{BY_HAND}\
         s=socket.create_connection(('{RESOLVER}',53)); m=message('by-tcp.example')\n\
         s.sendall(struct.pack('!H',len(m))+m); assert b'by-tcp' in s.recv(512)"
    );
    let asked = python(ENFORCE, RESOLVER, &script).expect(0);
    asked.holds();
    assert_eq!((asked.number("seen"), asked.connections("via_gateway")), (0, 1));
    assert_eq!(asked.heard, [format!("{RESOLVER} tcp by-tcp.example 1")]);
    let exchange = asked.launched.captured(1).remove(0);
    assert_eq!(exchange.text("/url"), format!("{RESOLVER}:53"));
    assert_eq!(exchange.text("/tunnel/reason"), "not_listed");
}

/// Several at once, each told apart by its process.
fn who_asked_is_told_apart() {
    let script = format!(
        "{BY_HAND}{STAY}\
         for n in range(20):\n\
         \x20if os.fork()==0: ask('{RESOLVER}','%d.example'%os.getpid()); stay(20); os._exit(0)\n\
         for n in range(20): os.wait()"
    );
    let line = ["python3", "-c", &script];
    let asked = ask_while(ENFORCE, RESOLVER, &line, &[20]).expect(0);
    asked.holds();
    let names = asked.names();
    assert_eq!(names.len(), 20, "{names:?}");
    for name in names {
        let process = name["socket_of"].as_u64().expect("a number");
        assert_eq!(name["name"], format!("{process}.example"), "{name}");
        assert!(name["executable"].as_str().is_some_and(|path| path.contains("python")), "{name}");
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == SERVER) {
        let (heard, rest) = (&arguments[2], &arguments[3..]);
        let end = rest.iter().position(|word| word == "--").expect("a command");
        let addresses: Vec<IpAddr> =
            rest[..end].iter().map(|address| address.parse().expect("an address")).collect();
        let mut command = Command::new(&rest[end + 1]);
        command.args(&rest[end + 2..]);
        let status = resolver::around(&addresses, command, Path::new(heard));
        return u8::try_from(status.code().unwrap_or(255)).unwrap_or(255).into();
    }
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn())),*] };
    }
    let tests = tests![
        clients_of_the_c_library_are_read,
        node_is_read,
        other_servers_are_not_asked,
        the_resolver_of_the_configuration_is_the_one,
        what_cannot_be_read_is_counted,
        a_flood_is_counted_to_the_last,
        what_is_cut_on_its_way_is_read,
        fragments_made_by_hand_are_counted,
        queries_by_tcp_are_connections,
        who_asked_is_told_apart,
    ];
    // Not every machine has Node; the others must be there.
    let missing = suite::without_the_kernel(&["python3", "getent"]);
    let node = missing.clone().or_else(|| suite::without_the_kernel(&["node"]));
    let tests = tests.map(|(name, test)| match name {
        "node_is_read" => (name, node.clone(), test),
        _ => (name, missing.clone(), test),
    });
    suite::each_with_its_own(&tests)
}
