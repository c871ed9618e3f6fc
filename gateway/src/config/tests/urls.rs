//! Addresses of upstreams.

use super::*;

impl Url {
    pub(super) fn to_string_for_test(&self) -> String {
        format!("{} {} {} {}", self.scheme.as_str(), self.host, self.port, self.prefix)
    }
}

#[test]
fn urls_are_taken_apart_strictly() {
    let good = [
        ("http://h", "http h 80 "),
        ("HTTPS://API.Example.COM/", "https api.example.com 443 "),
        ("https://h:8443/a/b/", "https h 8443 /a/b"),
        ("http://[2001:DB8::1]:8080/x//", "http 2001:db8::1 8080 /x/"),
        ("http://127.0.0.1:11434", "http 127.0.0.1 11434 "),
        ("https://h/a%2Fb/../c", "https h 443 /a%2Fb/../c"),
        ("https://h./", "https h. 443 "),
    ];
    for (text, expected) in good {
        assert_eq!(text.parse::<Url>().unwrap().to_string_for_test(), expected, "{text}");
    }
    let bad = [
        ("h/a", UrlError::Scheme),
        ("ftp://h", UrlError::Scheme),
        ("http://", UrlError::Host),
        ("http://:80", UrlError::Host),
        ("http://a..b", UrlError::Host),
        ("http://a b", UrlError::Host),
        ("http://a%41", UrlError::Host),
        ("http://[::1", UrlError::Host),
        ("http://[h]", UrlError::Host),
        ("http://::1", UrlError::Host),
        ("http://h:", UrlError::Port),
        ("http://h:0", UrlError::Port),
        ("http://h:65536", UrlError::Port),
        ("http://h:+80", UrlError::Port),
        ("http://[::1]80", UrlError::Port),
        ("http://u@h", UrlError::Credentials),
        ("http://u:p@h:1/x", UrlError::Credentials),
        ("http://h/?q", UrlError::Query),
        ("http://h#f", UrlError::Query),
        ("http://h/a b", UrlError::Path),
        ("http://h/\u{e9}", UrlError::Path),
    ];
    for (text, expected) in bad {
        assert_eq!(text.parse::<Url>().unwrap_err(), expected, "{text}");
    }
}

#[test]
fn authorities_leave_the_default_port_out() {
    let authority = |text: &str| text.parse::<Url>().unwrap().authority();
    assert_eq!(authority("https://h:443"), "h");
    assert_eq!(authority("https://h:80"), "h:80");
    assert_eq!(authority("http://[::1]:80"), "[::1]");
    assert_eq!(authority("h2c://[::1]:81"), "[::1]:81");
}
