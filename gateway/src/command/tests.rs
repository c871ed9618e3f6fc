use clap::CommandFactory;

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
    let help = Cli::command().render_long_help().to_string();
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
        "error: is reserved: /run/ID names a run and /receipts serves proofs; choose another name\n  \
         where: --upstream run=http://h\n  fix: see `sealtap serve --help`\n"
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
    let gone = Failure::writing(&std::io::ErrorKind::BrokenPipe.into());
    assert_eq!((gone.exit(), printed(&gone).as_str()), (Exit::Done, ""));
    let full = Failure::writing(&std::io::ErrorKind::StorageFull.into());
    assert_eq!(full.exit(), Exit::Failed);
}

#[test]
fn only_the_commands_that_exist_are_offered() {
    let mut names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["demo", "keys", "ls", "serve", "show", "verify"]);
    for line in [
        "sealtap run",
        "sealtap ls extra",
        "sealtap show",
        "sealtap verify",
        "sealtap show x --json --body request",
    ] {
        assert!(parse(line).unwrap_err().use_stderr(), "{line}");
    }
}

#[test]
fn keys_of_a_directory_without_any_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("sealtap keys --data {}", folder.path().display());
    let Command::Keys(arguments) = parse(&line).unwrap().command else { panic!() };
    let mut output = Vec::new();
    let failure = keys::run(&arguments, &mut output).unwrap_err();
    assert!(printed(&failure).contains("`sealtap serve` makes them"), "{}", printed(&failure));
    assert!(output.is_empty());
    let keys = crate::seal::keys::Keys::load_or_create(&folder.path().join("keys"), None).unwrap();
    assert_eq!(keys::run(&arguments, &mut output).unwrap(), Exit::Done);
    assert_eq!(output, keys.public_text().into_bytes());
}
