use bytes::Bytes;

use super::*;
use crate::config::Config;
use crate::route::{RouteError, Table};
use crate::wire::message::Version;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    Fields::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// How the run was named, its name, and the target left to route.
fn found(target: &str, pairs: &[(&str, &str)]) -> (By, String, String) {
    let identity = identify(target.as_bytes(), &fields(pairs)).unwrap();
    let rest = identity.rest(target.as_bytes()).into_owned();
    (identity.run.by, identity.run.name.unwrap_or_default(), String::from_utf8(rest).unwrap())
}

fn owned(by: By, name: &str, rest: &str) -> (By, String, String) {
    (by, name.to_owned(), rest.to_owned())
}

#[test]
fn the_path_names_a_run_and_is_taken_off() {
    for (target, name, rest) in [
        ("/run/r1/openai/v1?q", "r1", "/openai/v1?q"),
        ("/run/A.b_c~d-9//x", "A.b_c~d-9", "//x"),
        ("/run/r1", "r1", ""),
        ("/run/r1/", "r1", "/"),
        ("/run/r1?q", "r1", "?q"),
        ("/run/r1#f/x", "r1", "#f/x"),
        ("/run/run/run/x", "run", "/run/x"),
        ("/run/../openai", "..", "/openai"),
        ("http://127.0.0.1:4141/run/r1/openai/v1", "r1", "http://127.0.0.1:4141/openai/v1"),
        ("http://127.0.0.1:4141/run/r1", "r1", "http://127.0.0.1:4141"),
    ] {
        assert_eq!(found(target, &[]), owned(By::Path, name, rest), "{target}");
    }
    let long = "x".repeat(128);
    assert_eq!(found(&format!("/run/{long}/y"), &[]), owned(By::Path, &long, "/y"));
}

#[test]
fn other_paths_are_left_alone() {
    for target in
        ["/runner/x", "/RUN/r1/x", "/openai/run/r1", "//run/r1", "*", "", "h:443", "?/run/x"]
    {
        assert_eq!(found(target, &[]), owned(By::Connection, "", target), "{target}");
    }
}

#[test]
fn a_name_that_cannot_be_kept_is_refused() {
    let long = format!("/run/{}/x", "x".repeat(129));
    for target in [
        "/run",
        "/run/",
        "/run//x",
        "/run?x",
        "/run#S",
        "/run/?x",
        "/run/a%20b/x",
        "/run/a b/x",
        &long,
    ] {
        let error = identify(target.as_bytes(), &Fields::default()).unwrap_err();
        assert!(matches!(error, IdentifyError::Name { by: By::Path, .. }), "{target}: {error}");
        assert_eq!((error.status(), error.code()), (400, "malformed_request"));
    }
    for value in ["", "a b", "a/b", "a,b", "\u{e9}", "a\u{0}"] {
        let error = identify(b"/x", &fields(&[("sealtap-run", value)])).unwrap_err();
        assert!(matches!(error, IdentifyError::Name { by: By::Header, .. }), "{value}: {error}");
    }
    let error = identify(b"/x", &fields(&[("sealtap-run", "x?token=S")])).unwrap_err();
    assert!(error.to_string().contains("\"x...\""), "{error}");
    for target in ["/run/x%23token=S", "/run/#S", "/run/;S"] {
        let error = identify(target.as_bytes(), &Fields::default()).unwrap_err();
        assert!(!error.to_string().contains('S'), "{error}");
    }
    let several = fields(&[("sealtap-run", "a"), ("Sealtap-Run", "b")]);
    assert_eq!(identify(b"/x", &several).unwrap_err(), IdentifyError::Several);
}

#[test]
fn path_goes_before_header_before_trace_before_connection() {
    let all = [("traceparent", TRACE), ("SealTap-Run", " h1\t"), ("Sealtap-run", "h1")];
    assert_eq!(found("/run/p1/x", &all), owned(By::Path, "p1", "/x"));
    assert_eq!(found("/x", &all), owned(By::Header, "h1", "/x"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(found("/x", &all[..1]), owned(By::Traceparent, trace, "/x"));
    assert_eq!(found("/x", &[]), owned(By::Connection, "", "/x"));
}

#[test]
fn a_trace_counts_only_when_all_of_it_is_valid() {
    let id = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    let parse = |value: &str| traceparent::parse(value.as_bytes());
    assert_eq!(parse(TRACE), id);
    assert_eq!(parse(&TRACE.replacen("00", "01", 1)), id);
    assert_eq!(parse(&format!("{}-more", TRACE.replacen("00", "cc", 1))), id);
    for value in [
        &format!("{TRACE}-more"),
        &format!("{TRACE}0"),
        &format!("{TRACE} "),
        &format!("{}0", TRACE.replacen("00", "cc", 1)),
        &TRACE.replacen("00", "ff", 1),
        &TRACE.to_ascii_uppercase(),
        &TRACE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        &TRACE.replace("b7ad6b7169203331", &"0".repeat(16)),
        &TRACE.replacen('a', "g", 1),
        &TRACE.replace('-', "_"),
        &TRACE[..54],
        "",
    ] {
        assert_eq!(parse(value), None, "{value}");
    }
    let twice = fields(&[("traceparent", TRACE), ("traceparent", TRACE)]);
    assert_eq!(identify(b"/x", &twice).unwrap().run.by, By::Connection);
}

#[test]
fn only_the_run_header_stays_behind() {
    assert!(is_for_gateway(b"Sealtap-Run"));
    assert!(!is_for_gateway(b"traceparent"));
    assert!(!is_for_gateway(b"sealtap-run-id"));
}

#[derive(Debug)]
struct Request(RequestHead);

impl Accepted for Request {
    fn head(&self) -> &RequestHead {
        &self.0
    }
}

fn request(target: &str) -> Request {
    Request(RequestHead {
        method: Bytes::from_static(b"POST"),
        target: Bytes::copy_from_slice(target.as_bytes()),
        scheme: None,
        authority: None,
        version: Version::Http11,
        fields: Fields::default(),
    })
}

#[test]
fn stages_join_and_hand_the_request_back_when_they_refuse() {
    let table = Table::new(&Config::default()).unwrap();
    let routed = table.route(stage(request("/run/r/openai/v1")).unwrap()).unwrap();
    assert_eq!(routed.upstream().name, "openai");
    assert_eq!(routed.target(), b"/v1");
    assert_eq!(routed.identified().identity().run.name.as_deref(), Some("r"));
    let (_, back) = stage(request("/run//x")).unwrap_err();
    assert_eq!(back.0.target, "/run//x");
    let (error, back) = table.route(stage(request("/nope")).unwrap()).unwrap_err();
    assert!(matches!(error, RouteError::UnknownUpstream { .. }));
    assert_eq!(back.request().0.target, "/nope");
}

proptest::proptest! {
    /// A target is what named the run and what is left, no byte more or less.
    #[test]
    fn any_target_is_taken_apart_whole(
        start in "(http://a:1)?(/run/[a-z]{0,3})?",
        rest in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
    ) {
        let target = [start.as_bytes(), rest.as_slice()].concat();
        if let Ok(identity) = identify(&target, &Fields::default()) {
            let left = identity.rest(&target).into_owned();
            let named = &target[identity.named_at.clone()];
            proptest::prop_assert_eq!(left.len() + named.len(), target.len());
            let mut whole = left;
            whole.splice(identity.named_at.start..identity.named_at.start, named.iter().copied());
            proptest::prop_assert_eq!(named.is_empty(), identity.run.by == By::Connection);
            proptest::prop_assert_eq!(whole, target);
        }
    }
}
