use super::*;
use crate::config::{Config, Flags};

fn table(upstreams: &[&str]) -> Table {
    let flags = Flags {
        upstreams: upstreams.iter().map(|given| (*given).to_owned()).collect(),
        ..Flags::default()
    };
    Table::new(&Config::load(None, &flags).unwrap()).unwrap()
}

/// Upstream URL without its prefix, a blank, and the target sent there.
fn lead(table: &Table, target: &str) -> String {
    let route = table.resolve(target.as_bytes()).unwrap();
    let upstream = &route.upstream;
    let target = String::from_utf8(route.target).unwrap();
    format!("{}://{} {target}", upstream.scheme.as_str(), upstream.authority)
}

fn refusal(table: &Table, target: &[u8]) -> RouteError {
    table.resolve(target).unwrap_err()
}

#[test]
fn the_rest_goes_on_byte_for_byte() {
    let table = table(&["bare=http://h:1", "deep=https://h/v1/", "slash=http://h/a//"]);
    for (target, expected) in [
        ("/bare/x", "http://h:1 /x"),
        ("/bare/", "http://h:1 /"),
        ("/bare", "http://h:1 /"),
        ("/bare?q", "http://h:1 /?q"),
        ("/bare#f", "http://h:1 /#f"),
        ("/bare/?", "http://h:1 /?"),
        ("/bare/x?", "http://h:1 /x?"),
        ("/bare//x//y/", "http://h:1 //x//y/"),
        ("/bare/a/../b/./c", "http://h:1 /a/../b/./c"),
        ("/bare/..", "http://h:1 /.."),
        ("/bare/%2e%2E/%00%zz?a=%&b", "http://h:1 /%2e%2E/%00%zz?a=%&b"),
        ("/bare/x?y=/z?w#f", "http://h:1 /x?y=/z?w#f"),
        ("/bare/a;b=c,d'\"<>{}|\\^`", "http://h:1 /a;b=c,d'\"<>{}|\\^`"),
        ("/deep/chat", "https://h /v1/chat"),
        ("/deep", "https://h /v1"),
        ("/deep?q=1", "https://h /v1?q=1"),
        ("/deep//chat", "https://h /v1//chat"),
        ("/slash/x", "http://h /a//x"),
        ("/openai/v1/chat/completions", "https://api.openai.com /v1/chat/completions"),
        ("/ollama/api/chat", "http://127.0.0.1:11434 /api/chat"),
    ] {
        assert_eq!(lead(&table, target), expected, "{target}");
    }
    let odd = b"/bare/\xff\x80\xc3?\xfe";
    assert_eq!(table.resolve(odd).unwrap().target, b"/\xff\x80\xc3?\xfe");
}

#[test]
fn every_built_in_name_leads_to_its_host() {
    let table = table(&[]);
    for (name, host) in [
        ("anthropic", "api.anthropic.com"),
        ("cohere", "api.cohere.com"),
        ("deepseek", "api.deepseek.com"),
        ("gemini", "generativelanguage.googleapis.com"),
        ("groq", "api.groq.com"),
        ("mistral", "api.mistral.ai"),
        ("openai", "api.openai.com"),
        ("openrouter", "openrouter.ai"),
        ("together", "api.together.xyz"),
        ("xai", "api.x.ai"),
        ("azure/contoso-eu", "contoso-eu.openai.azure.com"),
        ("bedrock/us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
    ] {
        assert_eq!(lead(&table, &format!("/{name}/p?q")), format!("https://{host} /p?q"));
    }
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let table = table(&["mine=http://h"]);
    for (target, name) in [
        ("/nope/x", "nope"),
        ("/OpenAI/x", "OpenAI"),
        ("/openai%2Fx", "openai..."),
        ("/%6fpenai/x", "..."),
        ("/nope#access_token=S", "nope"),
        ("/nope%23access_token=S/x", "nope..."),
        ("/nope;token=S/x", "nope..."),
        ("/http:u:S@h/x", "http..."),
        ("//openai/x", ""),
        ("/", ""),
        ("", ""),
        ("?x", ""),
        ("/receipts/x", "receipts"),
        ("/run/x", "run"),
        ("/../openai/x", ".."),
    ] {
        let error = refusal(&table, target.as_bytes());
        let RouteError::UnknownUpstream { name: found, known } = &error else {
            panic!("{target}: {error:?}")
        };
        assert_eq!(found, name, "{target}");
        assert!(known.is_sorted() && known.contains(&"mine".to_owned()));
        assert!(known.contains(&"azure/RESOURCE".to_owned()));
        assert_eq!((error.status(), error.code()), (404, "unknown_upstream"));
        let json = error.json();
        assert_eq!(json["error"]["upstreams"].as_array().unwrap().len(), known.len());
        assert!(json["error"]["message"].as_str().unwrap().contains("openrouter"));
    }
}

#[test]
fn a_patterns_label_cannot_lead_elsewhere() {
    let table = table(&[]);
    let long = "a".repeat(64);
    for label in [
        "",
        "a.b",
        "evil.com%2F",
        "evil.com#",
        "a@b",
        "a:80",
        "a_b",
        "-a",
        "a-",
        "a%2d",
        "[::1]",
        "\u{e9}",
        "a b",
        &long,
        "..",
        "a\\b",
    ] {
        for name in ["azure", "bedrock"] {
            let error = refusal(&table, format!("/{name}/{label}/x").as_bytes());
            assert!(matches!(error, RouteError::Label { .. }), "{label}: {error:?}");
            assert_eq!((error.status(), error.code()), (400, "malformed_request"));
        }
    }
    assert!(matches!(refusal(&table, b"/azure"), RouteError::Label { .. }));
    assert!(matches!(refusal(&table, b"/azure?x"), RouteError::Label { .. }));
    assert!(matches!(refusal(&table, b"/azure/?x"), RouteError::Label { .. }));
    assert!(matches!(refusal(&table, b"/azure#x"), RouteError::Label { .. }));
    assert!(matches!(refusal(&table, b"/azure/a\xff/x"), RouteError::Label { .. }));
    let route = table.resolve(b"/azure/Contoso?api-version=1").unwrap();
    assert_eq!(route.upstream.name, "azure/contoso");
    assert_eq!(route.upstream.host, "contoso.openai.azure.com");
    assert_eq!(route.target, b"/?api-version=1");
}

#[test]
fn a_flag_replaces_a_built_in_name_even_a_patterns() {
    let table = table(&["openai=http://h:1/mock", "azure=http://h:2"]);
    assert_eq!(lead(&table, "/openai/v1"), "http://h:1 /mock/v1");
    assert_eq!(lead(&table, "/azure/a.b/x"), "http://h:2 /a.b/x");
    assert!(!table.names().contains(&"azure/RESOURCE".to_owned()));
}

#[test]
fn reserved_names_are_refused_however_they_come() {
    for name in ["run", "receipts"] {
        let mut config = Config::default();
        let upstream = crate::config::UpstreamConfig::new("http://h".parse().unwrap());
        config.upstreams.insert(name.to_owned(), upstream);
        let error = Table::new(&config).unwrap_err();
        assert!(error.to_string().contains("are reserved"), "{error}");
    }
}

#[test]
fn an_absolute_target_for_the_listener_is_reverse_mode() {
    let table = table(&["x=http://h"]);
    for target in [
        "http://127.0.0.1:4141/x/p?q",
        "http://localhost:4141/x/p?q",
        "HTTP://LOCALHOST:4141/x/p?q",
        "https://[::1]:4141/x/p?q",
    ] {
        assert_eq!(lead(&table, target), "http://h /p?q", "{target}");
    }
    for (target, authority) in [
        ("http://127.0.0.1:4142/x/p", "127.0.0.1:4142"),
        ("http://127.0.0.1/x/p", "127.0.0.1"),
        ("http://api.openai.com/v1", "api.openai.com"),
        ("http://u@127.0.0.1:4141/x/p", "127.0.0.1:4141"),
        ("https://a?b", "a"),
        ("https://a#b", "a"),
        ("https://a%23token=S/", "a..."),
        ("http:///x", ""),
    ] {
        let error = refusal(&table, target.as_bytes());
        assert_eq!(error, RouteError::ForwardProxy { authority: authority.to_owned() });
        assert_eq!((error.status(), error.code()), (421, "unknown_upstream"));
    }
    let known = refusal(&table, b"http://127.0.0.1:4141");
    assert!(matches!(known, RouteError::UnknownUpstream { .. }));
    let table = table.bound_to("0.0.0.0:80".parse().unwrap());
    assert_eq!(lead(&table, "http://localhost/x/p"), "http://h /p");
    assert!(table.resolve(b"http://localhost:4141/x/p").is_err());
}

#[test]
fn the_other_forms_are_told_apart() {
    let table = table(&[]);
    assert_eq!(refusal(&table, b"*"), RouteError::Asterisk);
    let connect = |authority: &str| RouteError::Connect { authority: authority.to_owned() };
    assert_eq!(refusal(&table, b"api.openai.com:443"), connect("api.openai.com:443"));
    assert_eq!(refusal(&table, b"[::1]:443"), connect("[::1]:443"));
    assert_eq!(refusal(&table, b"h:1").status(), 501);
    for target in ["openai/v1", "ftp://h/x", "h:", ":443", "**", "a/b:1", "#"] {
        let error = refusal(&table, target.as_bytes());
        assert!(matches!(error, RouteError::Form), "{target}: {error:?}");
        assert_eq!(error.status(), 400);
    }
    let long = [b"/".as_slice(), &[b'x'; 5000]].concat();
    let RouteError::UnknownUpstream { name, .. } = refusal(&table, &long) else { panic!() };
    assert_eq!(name, format!("{}...", "x".repeat(100)));
    for target in [
        "x?key=S",
        "u:S@h",
        "http://u:S@h/x?key=S",
        "ftp://u:S@h/x",
        "u:S@h:443",
        "/nope#key=S",
        "/azure/r_#key=S",
        "http://h#key=S",
        "x#key=S:1",
    ] {
        let error = refusal(&table, target.as_bytes());
        let said = error.to_string();
        assert!(!said.contains("=S") && !said.contains(":S"), "{target}: {said}");
    }
}

#[test]
fn urls_name_host_port_and_prefix() {
    let table = table(&["a=h2c://[::1]:1/v1/", "b=https://H:443"]);
    let url = |target: &[u8]| table.resolve(target).unwrap().upstream.url();
    assert_eq!(url(b"/a/x"), "http://[::1]:1/v1");
    assert_eq!(url(b"/b/x"), "https://h");
}

proptest::proptest! {
    /// Whatever follows `/NAME/` is what follows `/` at the upstream.
    #[test]
    fn any_rest_is_kept(rest in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        let table = table(&["bare=http://h", "deep=http://h/v1"]);
        let bare = [b"/bare/", rest.as_slice()].concat();
        proptest::prop_assert_eq!(&table.resolve(&bare).unwrap().target[1..], rest.as_slice());
        let deep = [b"/deep/", rest.as_slice()].concat();
        proptest::prop_assert_eq!(&table.resolve(&deep).unwrap().target[4..], rest.as_slice());
    }

    /// No target at all makes it panic, or leads to a host the operator did not name.
    #[test]
    fn any_target_is_answered(target in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        let table = table(&[]);
        if let Ok(route) = table.resolve(&[b"/azure/", target.as_slice()].concat()) {
            proptest::prop_assert!(route.upstream.host.ends_with(".openai.azure.com"));
            proptest::prop_assert_eq!(route.upstream.host.matches('.').count(), 3);
        }
        let _ = table.resolve(&target);
    }
}
