use clap::CommandFactory;
use serde_json::Value;

use super::*;
use crate::config::Config;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn start(line: &str) -> Result<serve::Start, Failure> {
    match parse(line).unwrap().command {
        Command::Serve(arguments) => arguments.start(),
        other => panic!("{other:?}"),
    }
}

fn printed(failure: &Failure) -> String {
    let mut text = Vec::new();
    failure.print(&mut text);
    anstream::adapter::strip_str(std::str::from_utf8(&text).unwrap()).to_string()
}

#[test]
fn the_definition_is_consistent_and_every_command_teaches_by_example() {
    Cli::command().debug_assert();
    for command in Cli::command().get_subcommands() {
        let help = command.clone().render_help().to_string();
        assert!(help.contains("  sealtap "), "{help}");
    }
    let help = Cli::command().render_help().to_string();
    for exit in [Exit::Done, Exit::Failed, Exit::Undecided, Exit::Usage] {
        assert!(help.contains(&format!("\n  {:>2}  ", exit.code())), "{help}");
    }
}

#[test]
fn serve_without_flags_is_the_default_configuration() {
    let start = start("sealtap serve").unwrap();
    assert_eq!(start.config, Config::default());
    assert!(!start.adopt);
    assert!(start.table.names().contains(&"openai".to_owned()));
}

#[test]
fn serve_takes_every_flag_of_its_contract() {
    let start = start(
        "sealtap serve --listen 127.0.0.1:0 --data d --lock l --upstream a=http://h:1/v1 \
         --upstream b=h2c://h --upstream-ca one.pem --upstream-ca two.pem --capture all --adopt",
    )
    .unwrap();
    assert!(start.adopt);
    assert_eq!(start.config.lock.as_deref(), Some(std::path::Path::new("l")));
    assert_eq!(start.config.upstream_ca.len(), 2);
    assert_eq!(start.config.capture, crate::config::Capture::All);
    assert_eq!(start.table.resolve(b"/a/x").unwrap().target, b"/v1/x");
}

#[test]
fn a_wrong_flag_says_what_where_and_what_to_do() {
    let failure = start("sealtap serve --upstream run=http://h").unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert_eq!(
        printed(&failure),
        "error: `run`, `receipts`, `metrics` and `healthz` are reserved for the gateway: \
         choose another name\n  where: --upstream run=http://h\n  fix: see `sealtap serve --help`\n"
    );
}

#[test]
fn a_wrong_file_is_named_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "\n listn = \"127.0.0.1:1\"\n").unwrap();
    let line = format!("sealtap serve --config {}", file.display());
    let failure = start(&line).unwrap_err();
    assert_eq!(
        printed(&failure),
        format!(
            "error: unknown key `listn`; did you mean `listen`?\n  where: {}:2:2\n  \
             fix: write `listen`, or take the line out\n",
            file.display()
        )
    );
    std::fs::write(&file, "listn = 1\ndata = 2\n").unwrap();
    let text = printed(&start(&line).unwrap_err());
    assert!(text.starts_with("error: 2 problems in the config file\n    "), "{text}");
    std::fs::remove_file(&file).unwrap();
    let text = printed(&start(&line).unwrap_err());
    assert!(text.starts_with("error: cannot read the config file: No such file"), "{text}");
}

#[test]
fn a_failure_tells_its_causes_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the log")]
    struct Outer(#[source] io::Error);
    use std::io;
    let failure = Failure::of(&Outer(io::Error::other("disk on fire")));
    assert_eq!(printed(&failure), "error: cannot open the log: disk on fire\n");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let gone = Failure::writing(&ErrorKind::BrokenPipe.into());
    assert_eq!((gone.exit(), printed(&gone).as_str()), (Exit::Done, ""));
    let full = Failure::writing(&ErrorKind::StorageFull.into());
    assert_eq!(full.exit(), Exit::Failed);
}

#[test]
fn only_the_commands_that_exist_are_offered() {
    let cli = Cli::command();
    let mut names: Vec<&str> = cli.get_subcommands().map(|command| command.get_name()).collect();
    names.sort_unstable();
    let all = [
        "bundle", "bypasses", "ca", "demo", "doctor", "kernel", "keys", "ls", "names", "run",
        "runs", "serve", "show", "verify", "witness",
    ];
    assert_eq!(names, all);
    // What the gateway starts for itself is there, and offered to nobody.
    let kernel = cli.find_subcommand("kernel").unwrap().get_subcommands();
    let (hidden, offered): (Vec<_>, Vec<_>) = kernel.partition(|part| part.is_hide_set());
    let names = |parts: &[&clap::Command]| -> Vec<String> {
        parts.iter().map(|part| part.get_name().to_owned()).collect()
    };
    assert_eq!(names(&hidden), ["loader", "canary", "probe", "try"]);
    assert_eq!(names(&offered), ["status", "detach"]);
    for line in [
        "sealtap run",
        "sealtap ls extra",
        "sealtap show",
        "sealtap verify",
        "sealtap bundle r",
        "sealtap runs extra",
        "sealtap show x --json --body request",
    ] {
        assert!(parse(line).unwrap_err().use_stderr(), "{line}");
    }
}

#[test]
fn what_was_left_closed_is_opened_without_arguments() {
    for line in ["sealtap kernel detach", "sealtap kernel detach --all"] {
        assert!(parse(line).is_ok(), "{line}");
    }
    assert!(parse("sealtap kernel detach --all --instance 5f").is_err());
}

#[test]
fn places_are_read_as_in_the_configuration() {
    for place in ["127.0.0.1", "127.0.0.1:5432", "::1", "[::1]:6379"] {
        let line = format!("sealtap run --loopback-allow {place} -- true");
        assert!(parse(&line).is_ok(), "{place}");
    }
    let refused = parse("sealtap run --loopback-allow 1.2.3.4:5 -- true").unwrap_err().to_string();
    assert!(refused.contains("an address of the loopback"), "{refused}");
}

#[test]
fn keys_of_a_directory_without_any_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("sealtap keys --data {}", folder.path().display());
    let Command::Keys(arguments) = parse(&line).unwrap().command else { panic!() };
    let mut output = Vec::new();
    let failure = keys::run(&arguments, &mut Output::new(&mut output, false)).unwrap_err();
    assert!(printed(&failure).contains("`sealtap serve` makes them"), "{}", printed(&failure));
    assert!(output.is_empty());
    let keys = crate::seal::keys::Keys::load_or_create(&folder.path().join("keys"), None).unwrap();
    let exit = keys::run(&arguments, &mut Output::new(&mut output, false)).unwrap();
    assert_eq!(exit, Exit::Done);
    assert_eq!(output, keys.public_text().into_bytes());
}

#[test]
fn styles_are_taken_out_of_text_and_never_out_of_bodies() {
    let body = b"\x1b[31mred\x1b[0m\0\xff\xc2\x9b\r\n".as_slice();
    let mut raw = Vec::new();
    Output::new(&mut raw, false).exact().write_all(body).unwrap();
    assert_eq!(raw, body);
    raw.clear();
    Output::new(&mut raw, false).styled().write_all(b"\x1b[31mred\x1b[0m\n").unwrap();
    assert_eq!(raw, b"red\n");
    raw.clear();
    Output::new(&mut raw, true).styled().write_all(b"\x1b[31mred\x1b[0m\n").unwrap();
    assert_eq!(raw, b"\x1b[31mred\x1b[0m\n");
}

fn verify(line: &str) -> (Outcome, String) {
    let Command::Verify(arguments) = parse(line).unwrap().command else { panic!("{line}") };
    let mut raw = Vec::new();
    let outcome = verify::run(&arguments, &mut Output::new(&mut raw, false));
    (outcome, String::from_utf8(raw).unwrap())
}

#[test]
fn verify_ends_with_the_verdict() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/vectors");
    let note: Value =
        serde_json::from_slice(&std::fs::read(format!("{vectors}/note.json")).unwrap()).unwrap();
    let key = note["vkey"].as_str().unwrap();
    let (outcome, text) = verify(&format!("sealtap verify {vectors}/log --key {key}"));
    assert_eq!(outcome, Ok(Exit::Done), "{text}");
    assert!(text.starts_with("valid: "), "{text}");
    let (outcome, text) = verify(&format!("sealtap verify {vectors}/log --json"));
    assert_eq!(outcome, Ok(Exit::Undecided), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["verdict"], "undecided");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tile")).unwrap();
    let (outcome, text) = verify(&format!("sealtap verify {}", folder.path().display()));
    assert_eq!(outcome, Ok(Exit::Failed), "{text}");
}

#[test]
fn verify_of_nothing_is_undecided_and_says_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let (outcome, text) = verify(&format!("sealtap verify {path}"));
    let failure = outcome.unwrap_err();
    assert_eq!((failure.exit(), text.as_str()), (Exit::Undecided, ""));
    assert!(printed(&failure).contains("  fix: give a directory"), "{}", printed(&failure));
    std::fs::write(folder.path().join("keys"), "hello").unwrap();
    for key in [format!("{path}/keys"), format!("{path}/none"), "a+b+c".to_owned()] {
        let failure = verify(&format!("sealtap verify {path} --key {key}")).0.unwrap_err();
        assert_eq!(failure.exit(), Exit::Undecided);
        assert!(printed(&failure).contains(&format!("  where: --key {key}\n")));
    }
}

/// Takes nothing, for one reason.
struct Broken(ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_verdict_that_nobody_reads_is_still_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tile")).unwrap();
    let line = format!("sealtap verify {}", folder.path().display());
    let verdict = |kind| {
        let Command::Verify(arguments) = parse(&line).unwrap().command else { panic!() };
        verify::run(&arguments, &mut Output::new(&mut Broken(kind), false))
    };
    assert_eq!(verdict(ErrorKind::BrokenPipe), Ok(Exit::Failed));
    let full = verdict(ErrorKind::StorageFull).unwrap_err();
    assert_eq!(full.exit(), Exit::Undecided);
}

fn ca(line: &str) -> (Outcome, String) {
    let Command::Ca(arguments) = parse(line).unwrap().command else { panic!("{line}") };
    let mut raw = Vec::new();
    let outcome = ca::run(&arguments, &mut Output::new(&mut raw, false));
    (outcome, String::from_utf8(raw).unwrap())
}

#[test]
fn ca_makes_the_authority_and_says_how_clients_find_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let line = format!("sealtap ca --data {}", data.display());
    let (outcome, text) = ca(&line);
    assert_eq!(outcome, Ok(Exit::Done));
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"), "{text}");
    let bundle = data.join("ca/bundle.pem");
    for part in [
        format!("export SSL_CERT_FILE={}\n", bundle.display()),
        "export HTTPS_PROXY=http://127.0.0.1:4141\n".to_owned(),
        "SHA-256 fingerprint: ".to_owned(),
        "keytool -importcert".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(bundle.exists() && data.join("ca/ca.pem").exists());
    let (_, pem) = ca(&format!("{line} --pem"));
    assert!(text.starts_with(pem.trim_end()));
    let (_, json) = ca(&format!("{line} --json --proxy http://gateway:1"));
    let json: Value = serde_json::from_str(&json).unwrap();
    let fingerprint = json["fingerprint_sha256"].as_str().unwrap();
    assert!(text.contains(fingerprint));
    assert_eq!((json["certificate"].as_str(), &json["previous"]), (Some(&*pem), &Value::Null));
    assert_eq!(json["environment"][0]["value"], "http://gateway:1");
    let (outcome, _) = ca(&format!("{line} --rotate --pem"));
    assert_eq!(outcome, Ok(Exit::Done));
    let (_, json) = ca(&format!("{line} --json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_ne!(json["fingerprint_sha256"], fingerprint);
    assert_eq!(json["previous"]["fingerprint_sha256"], fingerprint);
}
