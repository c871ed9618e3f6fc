//! The real `sealtap-verify` on the log that the second implementation wrote, whole and tampered.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn note() -> serde_json::Value {
    serde_json::from_slice(&fs::read(vectors().join("note.json")).unwrap()).unwrap()
}

fn vkey() -> String {
    note()["vkey"].as_str().unwrap().to_owned()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sealtap-verify")).args(arguments).output().unwrap()
}

/// Exit code and standard output.
fn verify(path: &Path, more: &[&str]) -> (i32, String) {
    let output = run(&[&[path.to_str().unwrap()], more].concat());
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A data directory that holds a copy of the log.
fn data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    copy(&vectors().join("log"), &data.path().join("log"));
    data
}

#[test]
fn no_folder_hides_anything_in_a_log() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let nested: [&[u8]; 5] =
        [b"x\xff/sub", b"x", b"tile/0/x\xff", b"tile/9999/x001", b"tile/0/000.q"];
    for folder in nested {
        for filled in [false, true] {
            let data = data();
            let log = data.path().join("log");
            let strange = log.join(OsStr::from_bytes(folder));
            fs::create_dir_all(&strange).unwrap();
            if filled {
                fs::write(strange.join("anything"), [7; 1000]).unwrap();
            }
            let (code, text) = verify(&log, &["--key", &vkey()]);
            assert_eq!(code, 1, "{folder:?}: {text}");
            assert!(text.contains("file that does not belong"), "{text}");
        }
    }
    // What a gateway has just made, or is about to take away, is none of these.
    let data = data();
    let log = data.path().join("log");
    fs::create_dir_all(log.join("tile/entries/x001")).unwrap();
    fs::create_dir_all(log.join("tile/0/000.p")).unwrap();
    let (code, text) = verify(&log, &["--key", &vkey()]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn exit_codes_follow_from_the_key() {
    let log = vectors().join("log");
    let (code, text) = verify(&log, &["--key", &vkey()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("valid: 268 leaves of sealtap.example/vectors"), "{text}");
    assert!(text.contains("unwitnessed"));

    let (code, text) = verify(&log, &[]);
    assert_eq!(code, 2);
    assert!(text.starts_with("intact, key not pinned"), "{text}");

    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let (code, text) = verify(&log, &["--key", other]);
    assert_eq!(code, 1);
    assert!(text.contains("signed by another key"), "{text}");
    assert_eq!(verify(&log, &["--key", other, &format!("--key={}", vkey())]).0, 0);
}

#[test]
fn a_key_may_come_from_what_keys_prints() {
    let data = data();
    let note = note();
    let printed = format!("{}\n{}", vkey(), note["pem"].as_str().unwrap());
    let file = data.path().join("key");
    fs::write(&file, printed).unwrap();
    let (code, text) = verify(data.path(), &["--key", file.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(text.contains("bodies: not checked against the log here"), "{text}");
    fs::write(&file, note["pem"].as_str().unwrap()).unwrap();
    let output = run(&[data.path().to_str().unwrap(), "--key", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("what `sealtap keys` prints"));
}

#[test]
fn json_says_the_same() {
    let (code, text) = verify(&vectors().join("log"), &["--json", "--key", &vkey()]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert_eq!(report["verdict"], "valid");
    assert_eq!(report["key"], vkey().as_str());
    assert_eq!(report["leaves"]["exchange"], 37);
}

#[test]
fn tampering_on_disk_is_exit_1() {
    let key = vkey();
    let with = |edit: &dyn Fn(&Path)| {
        let data = data();
        let log = data.path().join("log");
        edit(&log);
        verify(&log, &["--key", &key])
    };
    for path in [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/12",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/12",
    ] {
        let (code, text) = with(&|log| {
            let mut bytes = fs::read(log.join(path)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(log.join(path), bytes).unwrap();
        });
        assert_eq!(code, 1, "{path}: {text}");
        assert!(text.starts_with("NOT VALID"), "{text}");
    }
    let (code, text) = with(&|log| fs::remove_file(log.join("tile/0/000")).unwrap());
    assert_eq!((code, text.contains("tile/0/000 (missing file)")), (1, true), "{text}");
    let (code, text) = with(&|log| fs::write(log.join("extra"), "").unwrap());
    assert_eq!((code, text.contains("extra (file that does not belong)")), (1, true), "{text}");
}

#[cfg(unix)]
#[test]
fn a_link_does_not_pass_for_a_file() {
    let data = data();
    let tile = data.path().join("log/tile/0/000");
    let aside = data.path().join("aside");
    fs::rename(&tile, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &tile).unwrap();
    let (code, text) = verify(data.path(), &["--key", &vkey()]);
    assert_eq!(code, 1);
    assert!(text.contains("not a plain file"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_keep_anyone_waiting_and_a_huge_file_is_not_held() {
    let data = data();
    let checkpoint = data.path().join("log/checkpoint");
    fs::remove_file(&checkpoint).unwrap();
    assert!(Command::new("mkfifo").arg(&checkpoint).status().unwrap().success());
    let (code, text) = verify(data.path(), &["--key", &vkey()]);
    assert_eq!((code, text.contains("the log has no checkpoint")), (1, true), "{text}");

    let data = self::data();
    let tile = data.path().join("log/tile/entries/000");
    // Sparse: a terabyte that takes no room on disk.
    fs::File::options().write(true).open(&tile).unwrap().set_len(1 << 40).unwrap();
    let (code, text) = verify(data.path(), &["--key", &vkey()]);
    assert_eq!((code, text.contains("tile/entries/000 (entry bundle)")), (1, true), "{text}");
}

#[test]
fn questions_that_cannot_be_answered_are_exit_2_with_a_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    for (arguments, remedy) in [
        (&[][..], "--help"),
        (&["--nonsense"], "--help lists what there is"),
        (&["a", "b"], "second path"),
        (&["a", "--key"], "needs a vkey or a file"),
        (&["a", "--key", "no-such-file"], "no readable file"),
        (&[path], "neither a log"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(problem.contains(remedy), "{problem}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit code: 0 valid"));
}

#[test]
fn a_log_that_is_published_meanwhile_is_waited_for() {
    let data = data();
    let log = data.path().join("log");
    let checkpoint = log.join("checkpoint");
    // Tiles lie ready, the checkpoint that needs them comes a moment later.
    let older = tempfile::tempdir().unwrap();
    let aside = older.path().join("checkpoint");
    fs::rename(&checkpoint, &aside).unwrap();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        // In one step, as a gateway does it: one that is half written would be a broken one.
        fs::rename(&aside, &checkpoint).unwrap();
    });
    let (code, text) = verify(&log, &["--key", &vkey()]);
    writer.join().unwrap();
    assert_eq!(code, 0, "{text}");
}
