//! A terminal with a person at it, for commands that are interactive.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::gateway::Home;
use crate::launch::Launch;

/// A person at a terminal, played by Python: argument 1 is what to play, the rest the command line.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys, termios, time
play, line = sys.argv[1], sys.argv[2:]
pid, master = pty.fork()
def shell():
    # What a shell does for a job in the foreground: a group of its own, or nothing could stop it.
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(line[0], line)
    _, status = os.waitpid(job, os.WUNTRACED)
    os.write(1, b"stopped" if os.WIFSTOPPED(status) else b"not stopped")
    os.kill(-job, signal.SIGCONT)
    _, status = os.waitpid(job, 0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 99)
if pid == 0:
    shell() if play == "stop" else os.execvp(line[0], line)
seen = b""
def until(text, patience=90):
    global seen
    end = time.monotonic() + patience
    while text not in seen:
        left = end - time.monotonic()
        if left <= 0 or not select.select([master], [], [], left)[0]:
            sys.exit("waited in vain for %r, saw %r" % (text, seen))
        try:
            seen += os.read(master, 65536)
        except OSError:
            sys.exit("the terminal closed before %r, saw %r" % (text, seen))
    seen = seen.split(text, 1)[1]
def drain():
    global seen
    try:
        while True:
            got = os.read(master, 65536)
            if not got: break
            seen += got
    except OSError:
        pass
until(b"ready")
if play == "line":
    os.write(master, b"hello there\n")
    until(b"got <hello there>")
elif play == "interrupt":
    os.write(master, b"\x03")
    until(b"interrupted 1")
    os.write(master, b"\x03")
    until(b"interrupted 2")
elif play == "die":
    os.write(master, b"\x03")
elif play == "stop":
    os.write(master, b"\x1a")
    until(b"stopped")
    os.write(master, b"again\n")
    until(b"got <again>")
drain()
_, status = os.waitpid(pid, 0)
print("signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "exit %d" % os.WEXITSTATUS(status))
print(seen.decode(errors="replace"))
"#;

/// Runs a script under `sealtap run` at a terminal, and plays a person there: `line`, `interrupt`, `die` or
/// `stop`. Gives how it ended and what was shown.
///
/// # Panics
/// If it does not come to what is played, or its log is not valid.
pub fn at_terminal(play: &str, flags: &[&str], script: &str) -> (Arc<Home>, String) {
    let home = Arc::new(Home::new());
    let line = Launch::new(&home, flags).command(["sh", "-c", script]);
    // Whoever runs the tests may ignore a signal (a job in the background does), and then it stays ignored.
    let mut person = Command::new("env");
    person
        .args(["--default-signal", "python3", "-c", TERMINAL, play])
        .arg(line.get_program())
        .args(line.get_args());
    person.current_dir(home.path()).env("HOME", home.path()).stdin(Stdio::null());
    let mut person = person.stdout(Stdio::piped()).spawn().expect("Python 3 is needed");
    let mut said = String::new();
    person.stdout.take().expect("piped").read_to_string(&mut said).expect("read");
    assert!(person.wait().expect("waited").success(), "{said}");
    home.assert_valid();
    (home, said)
}
