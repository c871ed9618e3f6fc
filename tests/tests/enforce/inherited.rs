//! Inherited: what whoever started sealtap left open.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};

use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::running::cgroups;

use crate::{home, modes};

/// Says which descriptors are open beyond the three.
const LISTS: &str = "import os\n\
    def is_open(number):\n\
    \x20try: os.fstat(number); return True\n\
    \x20except OSError: return False\n\
    print([number for number in range(3,64) if is_open(number)])";

/// A folder by which files are opened, a socket through which others come: neither reaches the command.
pub(crate) fn descriptors_of_the_caller_are_closed() {
    for (flags, enforced) in modes() {
        let home = home();
        let line = Launch::new(&home, flags).command(["python3", "-c", LISTS]);
        // What the shell of a caller does; Python opens its sockets so that they go on.
        let opens = "import os,socket,sys\n\
            held=socket.socketpair(); os.dup2(held[0].fileno(),8)\n\
            os.dup2(os.open('/',os.O_RDONLY),7)\n\
            os.execv(sys.argv[1],sys.argv[1:])";
        let mut command = Command::new("python3");
        command.args(["-c", opens]).arg(line.get_program()).args(line.get_args());
        command.current_dir(home.path()).env("HOME", home.path()).stdin(Stdio::null());
        let launched = Launched::new(home, command.output().expect("it runs")).expect(0);
        launched.captured(0);
        let said = launched.stdout();
        // Beside these, whatever started this has left open.
        assert_eq!(said.contains("7, 8"), !enforced, "{said}");
        assert!(!enforced || said == "[]\n", "{said}");
    }
}

/// Of the three themselves, what gives more than bytes.
pub(crate) fn standard_descriptors_are_bytes_and_no_more() {
    /// `O_PATH` of open(2).
    const PATH: i32 = 0o10_000_000;
    let path = || File::options().read(true).custom_flags(PATH).open("/").expect("there");
    // Whether or not it was opened to be written: by its name among descriptors it could be opened again.
    let leaves = |write: bool| {
        let list = cgroups().join("cgroup.procs");
        File::options().read(true).write(write).open(list).expect("there")
    };
    type Made<'m> = (&'m str, &'m dyn Fn() -> Stdio);
    let refused: [Made<'_>; 5] = [
        ("a directory", &|| Stdio::from(File::open("/").expect("there"))),
        ("a path alone", &|| Stdio::from(path())),
        ("a file of the kernel", &|| Stdio::from(leaves(true))),
        ("a file of the kernel", &|| Stdio::from(leaves(false))),
        ("no stream", &|| Stdio::from(OwnedFd::from(UnixDatagram::unbound().expect("made")))),
    ];
    for (says, input) in refused {
        for (flags, enforced) in modes() {
            let home = home();
            let mut command = Launch::new(&home, flags).command(["touch", "ran"]);
            let output = command.stdin(input()).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(if enforced { 125 } else { 0 }),
                "{says}: {said}"
            );
            assert_eq!(said.contains(says) && said.contains("not started"), enforced, "{said}");
            assert_eq!(home.path().join("ran").exists(), !enforced);
        }
    }
}

/// What a service manager and Node.js give: the command has pipes, and nothing of it is lost.
pub(crate) fn unix_streams_are_carried() {
    const COUNT: usize = 300_000;
    let script = "test -p /dev/stdin && test -p /dev/stdout && echo pipes || echo others; \
                  cat; head -c 300000 /dev/zero; echo end";
    for (flags, enforced) in modes() {
        let home = home();
        let (own, theirs) = UnixStream::pair().expect("a pair");
        let mut command = Launch::new(&home, flags).command(["sh", "-c", script]);
        let other = theirs.try_clone().expect("a second");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::piped());
        command.stdout(Stdio::from(OwnedFd::from(other)));
        let child = command.spawn().expect("spawned");
        // What it holds of the other end would keep it open.
        drop(command);
        (&own).write_all(b"through\n").expect("written");
        own.shutdown(Shutdown::Write).expect("told");
        let mut came = Vec::new();
        (&own).read_to_end(&mut came).expect("read");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let kind = if enforced { "pipes" } else { "others" };
        let mut expected = format!("{kind}\nthrough\n").into_bytes();
        expected.resize(expected.len() + COUNT, 0);
        expected.extend(b"end\n");
        assert!(came == expected, "{} of {} bytes", came.len(), expected.len());
    }
}
