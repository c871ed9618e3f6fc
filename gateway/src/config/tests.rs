mod scopes;
mod urls;

use std::path::Path;
use std::time::Duration;

use super::keys::{KEYS, TOP, nearest};
use super::*;

const EXAMPLE: &str = include_str!("../../sealtap.example.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("etc/sealtap.toml"))
}

fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Err(ConfigError::File { problems, .. }) => problems,
        other => panic!("expected problems in {text:?}, found {other:?}"),
    }
}

/// The only problem of `text`, as a person reads it.
fn said(text: &str) -> String {
    assert_eq!(problems(text).len(), 1, "{text}");
    parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
}

/// The example with every sample in force.
fn with_samples() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(sample) if !sample.is_empty() && !sample.starts_with(' ') => sample,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_as_it_stands_is_the_default() {
    assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_shows_every_key() {
    let samples = with_samples();
    let example: toml::Table = samples.parse().unwrap();
    for section in KEYS {
        let table = match section.section {
            "" => &example,
            "upstreams.*" => example["upstreams"]["local"].as_table().unwrap(),
            name => example[name].as_table().unwrap(),
        };
        let shown: Vec<&str> = table.keys().map(String::as_str).collect();
        let missing: Vec<_> = section.keys.iter().filter(|key| !shown.contains(key)).collect();
        assert!(missing.is_empty(), "[{}] does not show {missing:?}", section.section);
        assert_eq!(shown.len(), section.keys.len(), "[{}] shows {shown:?}", section.section);
    }
    let config = parse(&samples).unwrap();
    let default = Config::default();
    assert_eq!(config.data, Path::new("etc/sealtap-data"));
    assert_eq!(config.lock.as_deref(), Some(Path::new("/var/lib/sealtap")));
    let local = &config.upstreams["local"];
    assert_eq!((local.url.host.as_str(), local.url.port), ("models.example.com", 8443));
    assert_eq!(local.ca, [Path::new("etc/models-ca.pem")]);
    // What a sample says of a key that has a default is that default.
    assert_eq!(config.ca.lifetime, default.ca.lifetime);
    let said = "[witness]\npolicy = \"p\"\n[timestamp]\nurl = \"http://t/\"\n";
    let said = parse(said).unwrap();
    let (shown, least) = (config.witness.unwrap(), said.witness.unwrap());
    assert_eq!((shown.timeout, shown.on_conflict), (least.timeout, least.on_conflict));
    assert_eq!(config.timestamp.unwrap().interval, said.timestamp.unwrap().interval);
}

/// A date is no value any key takes, so each key must refuse it: no listed key goes unread.
#[test]
fn every_known_key_is_read() {
    for section in KEYS {
        for key in section.keys {
            let header = match section.section {
                "" => String::new(),
                "upstreams.*" => "[upstreams.x]\n".to_owned(),
                name => format!("[{name}]\n"),
            };
            let found = problems(&format!("{header}{key} = 1979-05-27\n"));
            let refused = found.iter().any(|problem| {
                matches!(&problem.kind, ProblemKind::WrongType { key: at, found: "datetime", .. }
                    if at.ends_with(key))
            });
            assert!(refused, "[{}] {key}: {found:?}", section.section);
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest() {
    assert_eq!(
        said("listen = \"127.0.0.1:1\"\n\n  durabilty = \"strict\"\n"),
        "etc/sealtap.toml:3:3: unknown key `durabilty`; did you mean `durability`?"
    );
    assert_eq!(
        said("[timeouts]\nclient_haed = \"3s\"\n"),
        "etc/sealtap.toml:2:1: unknown key `timeouts.client_haed`; \
         did you mean `timeouts.client_head`?"
    );
    assert_eq!(
        said("[upstreams.mine]\nurl = \"http://h\"\nprotocl = \"auto\"\n"),
        "etc/sealtap.toml:3:1: unknown key `upstreams.mine.protocl`; \
         did you mean `upstreams.*.protocol`?"
    );
    assert_eq!(said("zebra = 1"), "etc/sealtap.toml:1:1: unknown key `zebra`");
    assert_eq!(
        said("[timeout]"),
        "etc/sealtap.toml:1:2: unknown key `timeout`; did you mean `timeouts`?"
    );
}

#[test]
fn a_key_of_another_section_is_found() {
    assert_eq!(nearest(&TOP, "heartbeat").as_deref(), Some("log.heartbeat"));
    assert_eq!(nearest(&TOP, "clientIdle").as_deref(), Some("timeouts.client_idle"));
    assert_eq!(nearest(&TOP, "quince"), None);
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    assert_eq!(
        said("é = 1\n").lines().next().unwrap(),
        "etc/sealtap.toml:1:1: not valid TOML: invalid unquoted key, \
         expected letters, numbers, `-`, `_`"
    );
    assert_eq!(
        said("listen = 4141"),
        "etc/sealtap.toml:1:10: `listen` wants an address with a port such as \
         \"127.0.0.1:4141\", found integer"
    );
    assert_eq!(
        problems("forwarded = { via = \"é\", forwarded = 1.5 }")
            .iter()
            .map(|problem| (problem.column, problem.kind.to_string()))
            .collect::<Vec<_>>(),
        [
            (21, "`forwarded.via` wants true or false, found string".to_owned()),
            (38, "`forwarded.forwarded` wants true or false, found float".to_owned()),
        ]
    );
    assert_eq!(
        said("upstream_ca = [\"é.pem\", 3]"),
        "etc/sealtap.toml:1:25: `upstream_ca` wants an array of paths such as [\"ca.pem\"], \
         found integer"
    );
    assert_eq!(
        said("[upstreams]\nx = \"http://h\""),
        "etc/sealtap.toml:2:5: `upstreams.x` wants a table such as { url = \"https://...\" }, \
         found string"
    );
}

#[test]
fn every_problem_is_named_in_the_order_of_the_file() {
    let found = problems("[log]\nheartbeat = 3\n[journal]\npending = 1\nsize = 3\n");
    let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 5]);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for text in [
        "listen = \"localhost:4141\"",
        "origin = \"a b\"",
        "origin = \"a+b\"",
        "durability = \"lax\"",
        "data = \"\"",
        "[timeouts]\nconnect = \"none\"",
        "[timeouts]\nconnect = \"10\"",
        "[timeouts]\nconnect = \"0s\"",
        "[timeouts]\nconnect = \"-1s\"",
        "[timeouts]\nfirst_byte = \"99999999999999999999s\"",
        "[timeouts]\nfirst_byte = \"18446744073709551615h\"",
        "[journal]\nfile_size = \"1KiB\"",
        "[journal]\nfile_size = \"64MB\"",
        "[journal]\npending = \"2GiB\"",
        "[secrets]\nheaders = [\"a b\"]",
        "[secrets]\nquery = [\"a=b\"]",
        "[upstreams.run]\nurl = \"http://h\"",
        "[upstreams.receipts]\nurl = \"http://h\"",
        "[upstreams.\"a/b\"]\nurl = \"http://h\"",
        "[upstreams.x]\nurl = \"h2c://h\"\nprotocol = \"http1\"",
        "[upstreams.x]\nurl = \"http://h\"\nhost = \"a/b\"",
    ] {
        let found = problems(text);
        assert!(
            matches!(found.as_slice(), [Problem { kind: ProblemKind::Invalid { .. }, .. }]),
            "{text}: {found:?}"
        );
    }
    for text in ["[upstreams.x]", "[tls]\nkey = \"k\"", "[tls]\ncertificate = \"c\""] {
        let found = problems(text);
        assert!(
            matches!(found.as_slice(), [Problem { kind: ProblemKind::Missing { .. }, .. }]),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn values_have_units() {
    let config = parse(
        "[timeouts]\nconnect = \"250ms\"\nfirst_byte = \"none\"\nclient_idle = \"2h\"\n\
         [journal]\nfile_size = \"1GiB\"\npending = \"1024KiB\"\n",
    )
    .unwrap();
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.timeouts.first_byte, None);
    assert_eq!(config.timeouts.client_idle, Duration::from_secs(7200));
    assert_eq!(config.journal, Journal { file_size: 1 << 30, pending: 1 << 20 });
}

#[test]
fn scheme_and_protocol_agree() {
    let upstream = |text: &str| parse(text).unwrap().upstreams.remove("x").unwrap();
    let cleartext = upstream("[upstreams.x]\nurl = \"http://h\"\nprotocol = \"http2\"");
    assert_eq!((cleartext.url.scheme, cleartext.protocol), (Scheme::H2c, Protocol::Http2));
    let named = upstream("[upstreams.x]\nurl = \"h2c://h\"");
    assert_eq!((named.url.scheme, named.protocol), (Scheme::H2c, Protocol::Http2));
    let tls = upstream("[upstreams.x]\nurl = \"https://h\"\nprotocol = \"http2\"");
    assert_eq!((tls.url.scheme, tls.protocol), (Scheme::Https, Protocol::Http2));
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sealtap.toml");
    let text = "listen = \"127.0.0.1:1\"\ndata = \"d\"\nupstream_ca = [\"a.pem\"]\n\
                [upstreams.x]\nurl = \"http://old/p\"\nhost = \"other\"\n";
    std::fs::write(&file, text).unwrap();
    let flags = Flags {
        listen: Some("[::1]:2".to_owned()),
        upstreams: vec!["x=https://new/q/".to_owned()],
        upstream_ca: vec!["b.pem".into()],
        capture: Some(Capture::All),
        ..Flags::default()
    };
    let config = Config::load(Some(&file), &flags).unwrap();
    assert_eq!(config.listen, "[::1]:2".parse().unwrap());
    assert_eq!(config.data, folder.path().join("d"));
    assert_eq!(config.upstream_ca, [folder.path().join("a.pem"), "b.pem".into()]);
    assert_eq!(config.capture, Capture::All);
    let upstream = &config.upstreams["x"];
    assert_eq!(upstream.url.to_string_for_test(), "https new 443 /q");
    assert_eq!(upstream.host, None, "a flag replaces all that was said about the name");
}

#[test]
fn flags_are_checked() {
    let load = |flags: &Flags| Config::load(None, flags).unwrap_err().to_string();
    let flags = Flags { listen: Some("4141".to_owned()), ..Flags::default() };
    assert!(load(&flags).starts_with("--listen 4141: wants an address with a port"));
    for (given, shown) in [
        ("x", "x"),
        ("x=h", "x=h"),
        ("run=http://h", "run=http://h"),
        ("=http://h", "=http://h"),
        ("x=http://u:p@h/v", "x=http://...@h/v"),
        ("x=http://h/?key=q", "x=http://h/?..."),
    ] {
        let flags = Flags { upstreams: vec![given.to_owned()], ..Flags::default() };
        let said = load(&flags);
        assert!(said.starts_with(&format!("--upstream {shown}: ")), "{given}: {said}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("no/such.toml")), &Flags::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the config file no/such.toml: "));
}

#[test]
fn a_key_given_twice_is_refused_where_it_stands_again() {
    let found = problems("listen = \"127.0.0.1:1\"\r\nlisten = \"127.0.0.1:2\"\r\n");
    assert!(matches!(found[0].kind, ProblemKind::Syntax { .. }), "{found:?}");
    assert_eq!((found[0].line, found[0].column), (2, 1));
}

proptest::proptest! {
    /// Every problem of any text has a place in it.
    #[test]
    fn any_text_is_answered(text in ".{0,80}|([a-z_]{1,12} = [\"0-9a-z\\[\\]{}.\\n]{0,9}\n){1,6}") {
        if let Err(ConfigError::File { problems, .. }) = parse(&text) {
            for problem in problems {
                proptest::prop_assert!((1..=text.matches('\n').count() + 1).contains(&problem.line));
                proptest::prop_assert!(problem.column >= 1);
            }
        }
    }
}
