//! Cgroup: the command stays in its own.

use std::process::{Command, Stdio};

use sealtap_tests::launch::{Launch, Launched};

use crate::{ENFORCE, connections, home};

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

pub(crate) fn the_command_does_not_leave_its_cgroup() {
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
