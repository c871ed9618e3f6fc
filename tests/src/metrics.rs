//! Metrics: the gateway's own pages, read as strictly as a scraper may.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::http1::{Message, head};
use crate::wire::Wire;

/// Asks for a page of the gateway's own.
pub fn ask(address: SocketAddr, method: &str, target: &str) -> Message {
    let mut client = Wire::connect(address);
    client.send(head(format!("{method} {target} HTTP/1.1"), &[("Host", "gateway")]));
    client.response(method)
}

/// Every sample by its name and labels.
pub type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics strictly: each sample belongs to the family before it, whose HELP, TYPE and,
/// where the name ends in one, UNIT are given once.
fn read(page: &str) -> Samples {
    let body = page.strip_suffix("# EOF\n").expect("the page has its end");
    let (mut samples, mut families) = (Samples::new(), Vec::<String>::new());
    let (mut help, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        let mut words = line.splitn(4, ' ');
        if line.starts_with("# ") {
            let (what, name, said) = (words.nth(1).unwrap(), words.next().unwrap(), words.next());
            let said = said.expect("a family has words");
            match what {
                "HELP" => {
                    assert!(!families.iter().any(|family| family == name), "{name} twice");
                    assert!(said.len() > 6, "{line}");
                    families.push(name.to_owned());
                    help = name.to_owned();
                }
                "TYPE" => {
                    assert_eq!(name, help, "a TYPE stands behind its HELP");
                    kind = said.to_owned();
                }
                "UNIT" => assert!(name == help && name.ends_with(&format!("_{said}")), "{line}"),
                other => panic!("{other} in {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        let plain = name.split('{').next().unwrap();
        let suffix =
            plain.strip_prefix(help.as_str()).unwrap_or_else(|| panic!("{line} in {help}"));
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            other => panic!("a family of type {other}"),
        };
        assert!(allowed.contains(&suffix), "{line} in a {kind}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "{name} twice");
    }
    // Every histogram has a bucket for all there is, which holds as many as were counted.
    for (name, count) in samples.iter().filter(|(name, _)| name.contains("_count")) {
        let bucket = match name.split_once('{') {
            None => format!("{}{{le=\"+Inf\"}}", name.replace("_count", "_bucket")),
            Some((name, labels)) => {
                format!("{}{{le=\"+Inf\",{labels}", name.replace("_count", "_bucket"))
            }
        };
        assert_eq!(samples.get(&bucket), Some(count), "{bucket}");
    }
    for family in families {
        assert!(samples.keys().any(|name| name.starts_with(&family)), "{family} has no sample");
    }
    samples
}

/// The page `/metrics`, by sample.
pub fn metrics(address: SocketAddr) -> Samples {
    let page = ask(address, "GET", "/metrics");
    assert_eq!(page.status(), 200);
    let kind = page.head.one("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    read(std::str::from_utf8(page.bytes()).unwrap())
}
