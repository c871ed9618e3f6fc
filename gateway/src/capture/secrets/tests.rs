use super::*;

fn secrets() -> Secrets {
    Secrets::new(&[7; 32], &["X-House".to_owned()], &["house%20key".to_owned()])
}

/// The target with each secret replaced by the name its tag is made under.
fn hidden(target: &str) -> String {
    let mut out = String::new();
    let mut plain = 0;
    for (range, name) in secrets().in_target(target.as_bytes()) {
        out.push_str(&target[plain..range.start]);
        out.push_str(&format!("<{}>", String::from_utf8(name).unwrap()));
        plain = range.end;
    }
    out + &target[plain..]
}

#[test]
fn every_spelling_of_a_secret_parameter_is_found() {
    for (target, expected) in [
        ("/v1?key=S&b=2", "/v1?key=<key>&b=2"),
        ("/v1?a=1&%6bey=S", "/v1?a=1&%6bey=<key>"),
        ("/v1?%4B%45%59=S", "/v1?%4B%45%59=<key>"),
        ("/v1?%256bey=S", "/v1?%256bey=<key>"),
        ("/v1?+key=S", "/v1?+key=<key>"),
        ("/v1?key%20=S", "/v1?key%20=<key>"),
        ("/v1?key[]=S&key%5B0%5D=S", "/v1?key[]=<key>&key%5B0%5D=<key>"),
        ("/v1?house+key=S", "/v1?house+key=S"),
        ("/v1?house%20KEY=S", "/v1?house%20KEY=<house key>"),
        ("/v1?a=1;key=S;t&b=2", "/v1?a=1;key=<key>&b=2"),
        ("/v1??key=S", "/v1??key=<key>"),
        ("/v1#key=S", "/v1#key=<key>"),
        ("/v1?X-Amz-Signature=S", "/v1?X-Amz-Signature=<x-amz-signature>"),
        ("/v1?client_secret=S=S", "/v1?client_secret=<client_secret>"),
        ("/v1?accessToken=S", "/v1?accessToken=<accesstoken>"),
        ("/v1?access-token=S", "/v1?access-token=<access-token>"),
        ("/v1?apiToken=S&auth.token=S", "/v1?apiToken=<apitoken>&auth.token=<auth.token>"),
        ("/v1?access_key=S", "/v1?access_key=<access_key>"),
        ("/v1?session_id=S", "/v1?session_id=<session_id>"),
        ("/v1?client_assertion=S", "/v1?client_assertion=<client_assertion>"),
        ("/v1?max_tokens=9&token_count=2", "/v1?max_tokens=9&token_count=2"),
        ("/v1?client_assertion_type=jwt", "/v1?client_assertion_type=jwt"),
        ("/v1?pageToken=a&continuation-token=b", "/v1?pageToken=a&continuation-token=b"),
        ("/v1?author=a&secretary=b&hotkey=c", "/v1?author=a&secretary=b&hotkey=c"),
        ("/v1?key=&key", "/v1?key=&key"),
        ("/v1?monkey=plain&%zz=1", "/v1?monkey=plain&%zz=1"),
        ("/key=plain", "/key=plain"),
    ] {
        assert_eq!(hidden(target), expected);
    }
}

#[test]
fn userinfo_is_a_secret() {
    for (target, expected) in [
        ("http://u:S@h:1/x?a=1", "http://<userinfo>@h:1/x?a=1"),
        ("http://u@S@h/x", "http://<userinfo>@h/x"),
        ("u:S@h:443", "<userinfo>@h:443"),
        ("http://h/x@y", "http://h/x@y"),
        ("/x@y", "/x@y"),
        ("http://u:S@h?token=S", "http://<userinfo>@h?token=<token>"),
    ] {
        assert_eq!(hidden(target), expected);
    }
}

#[test]
fn fields_are_secret_by_list_by_ending_and_by_what_their_url_holds() {
    let secrets = secrets();
    for name in [
        "Authorization",
        "x-vendor-api-key",
        "X-Vault-Token",
        "Set-Cookie",
        "x-HOUSE",
        "X-ApiKey",
        "Helicone-Auth",
        "X-Ms-Authorization-Auxiliary",
        "Token",
        "Cf-Access-Jwt-Assertion",
    ] {
        assert!(secrets.is_secret(name.as_bytes(), b"v"), "{name}");
    }
    for name in [
        "accept",
        "tokens",
        "x-tokens-left",
        "x-ratelimit-limit-tokens",
        "access-control-allow-credentials",
        "www-authenticate",
        "author",
        "content-type",
    ] {
        assert!(!secrets.is_secret(name.as_bytes(), b"v"), "{name}");
    }
    assert!(secrets.is_secret(b"Location", b"https://s3.example/x?X-Amz-Signature=S"));
    assert!(secrets.is_secret(b"referer", b"https://u:S@example/"));
    for (name, value) in [
        ("Location", "//u:S@h/x"),
        ("Location", "/\\u:S@h/x"),
        ("Referer", "//u:S@h/"),
        ("Refresh", "0; url=//u:S@b/"),
        ("Link", "<https://a.example/>; rel=prev, <https://u:S@b.example/>; rel=next"),
        ("X-Original-URL", "/x?api_key=S"),
        ("X-Forwarded-Uri", "/x#access_token=S"),
        ("sealtap-run", "x?token=S"),
    ] {
        assert!(secrets.is_secret(name.as_bytes(), value.as_bytes()), "{name}: {value}");
    }
    for value in ["https://s3.example/x?part=2", "https://a.example/@user", "//h?to=a@b", "a//"] {
        assert!(!secrets.is_secret(b"location", value.as_bytes()), "{value}");
    }
}

/// If the time went with the square of the length, one field could keep a thread for minutes, and this test
/// would take hours.
#[test]
fn a_long_value_is_looked_through_once() {
    let secrets = secrets();
    for part in ["x", "/", "//x", "/x", "?a=", "&key", "#?;", "?%25=", "://", "=", "@"] {
        let value = part.repeat((1 << 20) / part.len());
        assert_eq!(secrets.is_secret(b"Referer", value.as_bytes()), part == "@", "{part}");
    }
}
