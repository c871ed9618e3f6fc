//! Units: exact bytes, any octets, hostile edits.

use proptest::prelude::*;

use super::*;

fn plain(octets: &[u8]) -> Shown<'_> {
    Shown::Plain(octets.into())
}

fn field<'a>(name: &'a str, value: &'a [u8]) -> Field<'a> {
    (name.as_bytes().into(), plain(value))
}

fn line<'a>(version: Version, target: Vec<Shown<'a>>) -> RequestLine<'a> {
    RequestLine { authority: None, method: b"POST"[..].into(), scheme: None, target, version }
}

fn request() -> RequestHead<'static> {
    let secret = (Octets::from(&b"authorization"[..]), Shown::Secret([7; 32]));
    let outgoing = vec![field("host", b"a"), secret.clone(), field("x", b"\xe9\"")];
    let incoming =
        vec![field("host", b"b"), secret, field("connection", b"close"), field("x", b"\xe9\"")];
    let received_fields = received(&outgoing, &incoming);
    RequestHead {
        line: line(Version::Http11, vec![plain(b"/v1?key="), Shown::Secret([1; 32])]),
        fields: outgoing,
        received_line: RequestLine {
            authority: Some(b"b"[..].into()),
            scheme: Some(b"http"[..].into()),
            ..line(Version::Http2, vec![plain(b"/openai/v1")])
        },
        received_fields,
    }
}

fn response() -> ResponseHead<'static> {
    let line = StatusLine { reason: b"OK"[..].into(), status: 200, version: Version::Http11 };
    let fields = vec![field("set-cookie", b"a"), field("set-cookie", b"b")];
    let received_fields = received(&fields, &fields);
    ResponseHead { received_line: line.clone(), line, fields, received_fields }
}

fn context() -> Context<'static> {
    Context {
        client: b"127.0.0.1:5"[..].into(),
        ingress: Ingress::Reverse,
        run_by: RunNamedBy::Path,
        run_name: Some(b"r"[..].into()),
        upstream_address: None,
        upstream_name: Some(b"openai"[..].into()),
        upstream_tls: None,
        upstream_url: None,
    }
}

fn texts() -> Vec<Vec<u8>> {
    let heads = vec![(response().line, vec![field("link", b"x")])];
    let trailers = Trailers {
        fields: vec![field("grpc-status", b"0")],
        received_fields: vec![Received::Own(field("host", b"a")), Received::Same(0)],
    };
    vec![
        request().encode(),
        response().encode(),
        trailers.encode(),
        Interim { heads }.encode(),
        context().encode(),
    ]
}

/// Decodes as the kind of unit at `which` in [`texts`] and encodes again.
fn again(which: usize, bytes: &[u8]) -> Result<Vec<u8>, UnitError> {
    match which {
        0 => RequestHead::decode(bytes).map(|unit| unit.encode()),
        1 => ResponseHead::decode(bytes).map(|unit| unit.encode()),
        2 => Trailers::decode(bytes).map(|unit| unit.encode()),
        3 => Interim::decode(bytes).map(|unit| unit.encode()),
        _ => Context::decode(bytes).map(|unit| unit.encode()),
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let tag = |n: u8| crate::encoding::base64(&[n; 32]);
    assert_eq!(
        String::from_utf8(request().encode()).unwrap(),
        format!(
            "{{\"authority\":null,\"fields\":[[\"host\",\"a\"],[\"authorization\",\
             {{\"secret\":\"{}\"}}],[\"x\",\"\u{e9}\\\"\"]],\"method\":\"POST\",\"received\":\
             {{\"authority\":\"b\",\"fields\":[[\"host\",\"b\"],1,[\"connection\",\"close\"],2],\
             \"method\":\"POST\",\"scheme\":\"http\",\"target\":[\"/openai/v1\"],\"version\":\"2\"}},\
             \"scheme\":null,\"target\":[\"/v1?key=\",{{\"secret\":\"{}\"}}],\"version\":\"1.1\"}}",
            tag(7),
            tag(1)
        )
    );
    assert_eq!(
        String::from_utf8(context().encode()).unwrap(),
        "{\"client\":\"127.0.0.1:5\",\"ingress\":\"reverse\",\"run\":{\"by\":\"path\",\"name\":\"r\"},\
         \"upstream\":{\"address\":null,\"name\":\"openai\",\"tls\":null,\"url\":null}}"
    );
}

#[test]
fn every_unit_survives() {
    assert_eq!(RequestHead::decode(&request().encode()), Ok(request()));
    assert_eq!(ResponseHead::decode(&response().encode()), Ok(response()));
    for (which, text) in texts().iter().enumerate() {
        assert_eq!(again(which, text).as_ref(), Ok(text));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let with = |which: usize, from: &str, to: &str| {
        let text = String::from_utf8(texts()[which].clone()).unwrap();
        assert!(text.contains(from), "{text}");
        again(which, text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
    };
    for (which, from, to, error) in [
        (0, ",1,[", ",3,[", "received.fields[1]: not the position of an outgoing field"),
        (0, "\"host\",\"a\"", "\"host\",\"\u{100}\"", "fields[0]: holds a character above U+00FF"),
        (0, "\"secret\":\"B", "\"secret\":\"!", "fields[1].secret: not canonical padded base64"),
        (0, "\"1.1\"", "\"3\"", "version: \"3\" is not a registered word here"),
        (1, "\"status\":200", "\"status\":99", "received.status: 99 is not a status code"),
        (2, "[[\"host\",\"a\"],0]", "[[\"host\",\"a\"],1]", "received.fields[1]: not the position"),
        (3, "\"reason\":\"OK\",", "", "heads[0].reason: missing"),
        (4, "\"tls\":null,", "\"tls\":null,\"u\":1,", "upstream.u: no such member"),
    ] {
        let found = with(which, from, to);
        assert!(found.starts_with(error), "{found}");
    }
}

proptest! {
    #[test]
    fn any_octets_survive(pairs in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..6)) {
        let fields = pairs.into_iter().map(|(n, v)| (Octets::Owned(n), Shown::Plain(v.into())));
        let fields: Vec<_> = fields.collect();
        let received_fields = received(&fields[fields.len() / 2..], &fields);
        let fields = fields[fields.len() / 2..].to_vec();
        let trailers = Trailers { fields, received_fields };
        prop_assert_eq!(Trailers::decode(&trailers.encode()), Ok(trailers));
    }

    #[test]
    fn received_fields_always_read_back(outgoing in prop::collection::vec(0_u8..5, 0..12), incoming in prop::collection::vec(0_u8..5, 0..12)) {
        let fields = |numbers: &[u8]| numbers.iter().map(|n| (Octets::Owned(vec![*n]), Shown::Secret([*n; 32]))).collect::<Vec<_>>();
        let (outgoing, incoming) = (fields(&outgoing), fields(&incoming));
        let resolved: Vec<_> = received(&outgoing, &incoming).into_iter().map(|field| match field {
            Received::Same(index) => outgoing[index as usize].clone(),
            Received::Own(field) => field,
        }).collect();
        prop_assert_eq!(resolved, incoming);
    }

    #[test]
    fn an_edited_unit_is_refused_or_its_own_canonical_text(which in 0_usize..5, at: prop::sample::Index, byte: u8) {
        let mut bytes = texts()[which].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = again(which, &bytes) {
            prop_assert_eq!(text, bytes);
        }
    }
}
