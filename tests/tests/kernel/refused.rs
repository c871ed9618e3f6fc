//! A kernel that refuses `membarrier`, as one does where some processor runs without a tick.

use std::process::{Command, Stdio};

use sealtap_tests::launch::{CLEARED, Launch, Launched};

use super::counted::{LOAD, adds_up};
use super::{Arc, Home};

/// Has the call refused with EINVAL, to itself and to whatever it then becomes.
const REFUSED: &str = "import ctypes,os,platform,struct,sys\n\
    number={'x86_64':324,'aarch64':283}[platform.machine()]\n\
    lines=((0x20,0,0,0),(0x15,0,1,number),(6,0,0,0x50016),(6,0,0,0x7fff0000))\n\
    code=ctypes.create_string_buffer(b''.join(struct.pack('HBBI',*line) for line in lines))\n\
    class Program(ctypes.Structure): _fields_=[('length',ctypes.c_ushort),('code',ctypes.c_void_p)]\n\
    program=Program(len(lines),ctypes.addressof(code))\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    assert libc.prctl(22,2,ctypes.byref(program),0,0)==0\n\
    assert libc.syscall(number,1,0,0)==-1 and ctypes.get_errno()==22\n\
    os.execvp(sys.argv[1],sys.argv[1:])";

fn refused(home: &Arc<Home>, launch: Launch, line: &[&str]) -> Launched {
    let inner = launch.command(CLEARED.iter().chain(line));
    let mut command = Command::new("python3");
    command.args(["-c", REFUSED]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    let output = command.stdin(Stdio::null()).output().expect("python3 can be run");
    Launched::new(Arc::clone(home), output)
}

/// Coverage begins, and each statement adds up under load, banks being turned meanwhile.
pub(super) fn each_statement_adds_up_without_membarrier() {
    adds_up(240, |home, launch, port, rounds| {
        refused(home, launch, &["python3", "-c", LOAD, port, rounds])
    });
}
