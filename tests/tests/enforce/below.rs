//! Below: what would leave the machine past every socket, by the kernel itself or by a device.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sealtap_tests::launch::{Launch, Launched, apart};

use crate::hidden::{WITHOUT_RIGHTS, python};
use crate::{ENFORCE, OBSERVE, home, modes};

/// A link of its own, at whose other end somebody reads what the kernel reports. Neither side looks for
/// routers or for its own address, so all else that comes is what is asked for.
const LINK: &str = "ip link add v0 type veth peer name w0 && \
    ip link set v0 addrgenmode none && ip link set w0 addrgenmode none && \
    ip addr add 10.77.0.1/24 dev v0 && ip addr add fe80::1/64 dev v0 nodad && \
    ip link set v0 up && ip link set w0 up && \
    set -- python3 -c \"$READS\" \"$@\"";

/// Reads at the other end while a program runs, and then says each report as it came: IGMPv3 to 224.0.0.22,
/// MLDv2 to ff02::16.
const READS: &str = "import socket,subprocess,sys\n\
    end=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n\
    end.setsockopt(1,8,1<<22); end.bind(('w0',0))\n\
    code=subprocess.run(sys.argv[1:]).returncode\n\
    end.settimeout(0.5)\n\
    to={b'\\x08\\x00':(30,socket.inet_aton('224.0.0.22')),b'\\x86\\xdd':(38,socket.inet_pton(10,'ff02::16'))}\n\
    try:\n\
    \x20while True:\n\
    \x20 frame=end.recv(9999); at,group=to.get(frame[12:14],(0,b'-'))\n\
    \x20 if frame[at:at+len(group)]==group: print('report',frame.hex())\n\
    except TimeoutError: pass\n\
    sys.exit(code)";

/// Joins groups with sources of its choosing by each way, and says how it went and what to look for in reports;
/// of some options it says only whether they are refused. What is joined is held until it was reported.
const JOINS: &str = "import ctypes,os,platform,socket,struct,time\n\
    link=socket.if_nametoindex('v0'); kept=[]; joined=[]\n\
    def four(a,b): return socket.inet_aton('%d.77.88.%d'%(a,b))\n\
    def six(a,b): return socket.inet_pton(10,'%s:7365:616c::%x'%(a,b))\n\
    def place(bytes):\n\
    \x20known=struct.pack('=HH',2,0)+bytes if len(bytes)==4 else struct.pack('=HHI',10,0,0)+bytes\n\
    \x20return known.ljust(128,b'\\0')\n\
    def many(group,source): return struct.pack('=II',link,0)+place(group)+struct.pack('=II',1,1)+place(source)\n\
    def said(name,way,mark=b''):\n\
    \x20try: way(); joined.append(mark); print(name,0,mark.hex(),flush=True)\n\
    \x20except OSError as error: print(name,error.errno,mark.hex(),flush=True)\n\
    def tries(name,family,level,option,value,mark=b'',first=None):\n\
    \x20s=socket.socket(family,socket.SOCK_DGRAM); kept.append(s)\n\
    \x20def way():\n\
    \x20 if first: s.setsockopt(level,42,struct.pack('=II',link,0)+place(first))\n\
    \x20 s.setsockopt(level,option,value)\n\
    \x20said(name,way,mark)\n\
    own=socket.inet_aton('10.77.0.1')\n\
    tries('group4',2,0,35,four(239,1)+own+struct.pack('=i',link),four(239,1))\n\
    tries('source4',2,0,39,four(239,2)+own+four(10,2),four(10,2))\n\
    tries('any4',2,0,42,struct.pack('=II',link,0)+place(four(239,3)),four(239,3))\n\
    tries('any-source4',2,0,46,struct.pack('=II',link,0)+place(four(239,4))+place(four(10,4)),four(10,4))\n\
    tries('sources4',2,0,48,many(four(239,5),four(10,5)),four(10,5),four(239,5))\n\
    tries('by-another4',10,0,46,struct.pack('=II',link,0)+place(four(239,6))+place(four(10,6)),four(10,6))\n\
    tries('group6',10,41,20,six('ff1e',1)+struct.pack('=i',link),six('ff1e',1))\n\
    tries('any6',10,41,42,struct.pack('=II',link,0)+place(six('ff1e',3)),six('ff1e',3))\n\
    tries('any-source6',10,41,46,struct.pack('=II',link,0)+place(six('ff1e',4))+place(six('2001',4)),six('2001',4))\n\
    tries('sources6',10,41,48,many(six('ff1e',5),six('2001',5)),six('2001',5),six('ff1e',5))\n\
    for option in (36,37,38,40,41,43,44,45,47): tries('only-refused',2,0,option,bytes(8))\n\
    for option in (27,43,44,45,47): tries('only-refused',10,41,option,bytes(8))\n\
    for name,level,option in [('hops',0,2),('hops',0,33),('hops',41,18),('only',41,26),('stamps',1,35)]:\n\
    \x20tries('plain-'+name,10 if level else 2,level,option,1)\n\
    wide=ctypes.CDLL(None,use_errno=True)\n\
    def raw(number):\n\
    \x20if wide.syscall(number,kept[0].fileno(),ctypes.c_long(1<<32),ctypes.c_long(35|1<<32),four(239,9)+own+bytes(4),12)<0:\n\
    \x20 raise OSError(ctypes.get_errno(),'')\n\
    said('high-bits',lambda: raw({'x86_64':54,'aarch64':208}[platform.machine()]),four(239,9))\n\
    if platform.machine()=='x86_64': said('x32',lambda: raw(0x40000000|541))\n\
    time.sleep(2.5 if any(joined) else 0)";

/// Groups and sources of the command's choosing, which the kernel itself would tell to the link.
pub(crate) fn memberships_that_the_kernel_would_report_are_refused() {
    for (flags, enforced) in modes() {
        let home = home();
        let ready = Launch::new(&home, flags).env("READS", READS).command(["python3", "-c", JOINS]);
        let output = apart(&ready, LINK).output().expect("it can be run");
        let launched = Launched::new(home, output).expect(0);
        launched.captured(0);
        let said = launched.stdout();
        let (reports, tried): (Vec<&str>, Vec<&str>) =
            said.lines().partition(|line| line.starts_with("report "));
        assert_eq!(tried.len(), 10 + 9 + 5 + 5 + 1 + usize::from(cfg!(target_arch = "x86_64")));
        for line in tried {
            let mut words = line.split(' ');
            let (name, error) = (words.next().expect("a name"), words.next().expect("a number"));
            let mark = words.next().unwrap_or_default();
            let (plain, told) = (name.starts_with("plain-"), !mark.is_empty());
            // ENOPROTOOPT; x32 is no call at all on most kernels, and junk is another error.
            match enforced {
                true => assert_eq!(error, if plain { "0" } else { "92" }, "{said}"),
                false => assert!(error == "0" || !plain && !told, "{said}"),
            }
            let came = told && reports.iter().any(|report| report.contains(mark));
            assert_eq!(came, told && !enforced, "{name}: {said}");
        }
    }
}

/// Two nodes of what makes tunnels, as udev leaves them: where they belong, and elsewhere; in mounts and a network
/// of its own, with a device that belongs to the user.
const TUNNELS: &str = "ip tuntap add tap0 mode tap user 65534 && \
    set -- unshare --mount --propagation=private sh -c 'for place in /dev/net \"$0\"; do \
    mount -t tmpfs -o mode=0755 tmpfs \"$place\" && mknod -m 0666 \"$place/tun\" c 10 200 || exit 9; \
    done; exec \"$@\"' \"$PLACE\" \"$@\"";

/// Takes the device on by each node, and says how it went.
const ATTACHES: &str = "import fcntl,os,struct,sys\n\
    for name,path in ('own','/dev/net/tun'),('other',sys.argv[1]+'/tun'):\n\
    \x20file=os.open(path,os.O_RDWR)\n\
    \x20try: fcntl.ioctl(file,0x400454ca,struct.pack('16sH22x',b'tap0',0x1002)); error=0\n\
    \x20except OSError as raised: error=raised.errno\n\
    \x20print(name,os.fstat(file).st_rdev==os.makedev(10,200),error); os.close(file)";

/// Why tunnels cannot be tried here.
pub(crate) fn without_tunnels() -> Option<String> {
    let opened = fs::File::options().read(true).write(true).open("/dev/net/tun");
    opened.err().map(|error| format!("/dev/net/tun: {error}"))
}

/// By a device that is the user's own, frames would leave that no hook sees.
pub(crate) fn devices_that_send_are_refused() {
    for enforced in [true, false] {
        let home = home();
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let (flags, before) = match enforced {
            true => (vec![ENFORCE[0], ENFORCE[1], "--user=65534:65534"], Vec::new()),
            false => {
                let as_user = ["--clear-groups", "--reuid=65534", "--regid=65534"];
                (vec![OBSERVE], [&WITHOUT_RIGHTS[..], &as_user].concat())
            }
        };
        let place = elsewhere.to_str().expect("UTF-8");
        let line = before.into_iter().chain([python(), "-c", ATTACHES, place]);
        let ready = Launch::new(&home, &flags).env("PLACE", place).command(line);
        let output = apart(&ready, TUNNELS).output().expect("it can be run");
        let launched = Launched::new(home, output).expect(0);
        launched.captured(0);
        let expected = match enforced {
            // EPERM, before anybody asks whether this is such a device.
            true => "own False 1\nother True 1\n",
            false => "own True 0\nother True 0\n",
        };
        assert_eq!(launched.stdout(), expected, "{}", launched.stderr());
    }
}
