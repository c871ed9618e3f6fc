//! One text per value, and refusal of all that the restricted form excludes.

use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> JsonError {
    parse(text.as_bytes()).expect_err(text)
}

#[test]
fn canonical_text_reads_and_prints_the_same() {
    for text in [
        "null",
        "true",
        "0",
        "-1",
        "9007199254740991",
        "-9007199254740991",
        "[]",
        "{}",
        "\"\"",
        r#"{"a":[1,{"b":null}],"b":"é\n\u0001\"\\"}"#,
        "\"\u{7f}/\u{2028}\"",
    ] {
        assert_eq!(parse(text.as_bytes()).expect(text).encode(), text.as_bytes());
    }
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        " 1",
        "1 ",
        "1.0",
        "1e2",
        "1E2",
        "-0",
        "0.0",
        "01",
        "+1",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "NaN",
        "[1,]",
        "[1]]",
        "{\"a\":1,\"a\":2}",
        "{\"b\":1,\"a\":2}",
        "{\"é\":1}",
        "{a:1}",
        "'a'",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\t\"",
        "\"a",
        "nul",
        "{\"a\" :1}",
        "[1, 2]",
        "\u{feff}1",
    ] {
        refused(text);
    }
    assert!(parse(b"\"\xff\"").is_err());
    assert!(parse(b"\"\xed\xa0\x80\"").is_err());
    // Readable, but another spelling of the same value.
    for (text, at) in [
        ("\"\\u0041\"", 1),
        ("\"\\/\"", 1),
        ("\"\\u000A\"", 2),
        ("\"\\u000a\"", 2),
        ("\"\\u001F\"", 6),
    ] {
        assert_eq!(refused(text), JsonError::NotCanonical(at), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    refused(&nested(MAX_DEPTH + 1));
    refused(&nested(100_000));
}

#[test]
fn members_say_where_they_are_wrong() {
    let value = parse(br#"{"a":{"b":"x"},"c":1}"#).unwrap();
    let read = |name: &str| {
        let mut outer = value.members().unwrap();
        outer.take(name, |v| -> Result<u64, Refusal> {
            Ok(v.members()?.take("b", Value::unsigned)?)
        })
    };
    assert_eq!(read("a").unwrap_err().to_string(), "a.b: not a non-negative integer");
    assert_eq!(
        read("b").unwrap_err().to_string(),
        "a: no such member in this version of the format"
    );
    assert_eq!(read("A").unwrap_err().to_string(), "A: missing");
    let mut outer = value.members().unwrap();
    outer.take("a", |_| Ok::<_, Problem>(())).unwrap();
    assert_eq!(outer.end(), Err(FieldError::new("c", Problem::Unknown)));
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::Integer),
        any::<String>().prop_map(|text| Value::String(text.into())),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ -~]{0,4}", inner, 0..4).prop_map(|members| {
                Value::Object(
                    members.into_iter().map(|(name, value)| (name.into(), value)).collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_survives_and_serde_json_agrees(value in values()) {
        let text = value.encode();
        prop_assert_eq!(parse(&text), Ok(value));
        // serde_json escapes as RFC 8785 does, and keeps the order it reads.
        let other: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(serde_json::to_vec(&other).unwrap(), text);
    }

    #[test]
    fn hostile_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64),
        text in "[\\[\\]{}\",:0-9a-e\\\\u. -]{0,24}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Ok(value) = parse(bytes) {
                prop_assert_eq!(value.encode(), bytes);
            }
        }
    }
}
