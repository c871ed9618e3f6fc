//! From the file's text to a [`Config`], section by section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::error::{ConfigError, ProblemKind};
use super::section::{Faults, Section};
use super::upstream::{Protocol, Scheme, UpstreamConfig, Url, check_name};
use super::values::{self, ADDRESS, DURATION, DURATION_OR_NONE, SIZE};
use super::{Apps, Capture, Config, Durability, Tls, keys};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads `text`, which came from the file `path`.
pub(super) fn read(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let faults = Faults::new(text);
    let parsed = DeTable::parse(text);
    let mut config = Config::default();
    match &parsed {
        Err(error) => {
            let message = error.message().to_owned();
            faults.note(&error.span().unwrap_or_default(), ProblemKind::Syntax { message });
        }
        Ok(document) => {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let top = Section::open(document.get_ref(), String::new(), 0..0, &keys::TOP, &faults);
            Reader { folder }.top(&top, &mut config);
        }
    }
    drop(parsed);
    let problems = faults.into_problems();
    match problems.is_empty() {
        true => Ok(config),
        false => Err(ConfigError::File { path: path.to_owned(), problems }),
    }
}

/// Puts `value` in `place` when there is one.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

struct Reader<'a> {
    folder: &'a Path,
}

impl Reader<'_> {
    fn top(&self, top: &Section<'_>, config: &mut Config) {
        set(&mut config.listen, top.parsed("listen", ADDRESS, values::address));
        set(&mut config.data, self.path(top, "data"));
        config.lock = self.path(top, "lock");
        config.origin = top.parsed("origin", "a string", values::origin);
        let durability = [("strict", Durability::Strict), ("relaxed", Durability::Relaxed)];
        set(&mut config.durability, choice(top, "durability", &durability));
        let capture = [("known", Capture::Known), ("all", Capture::All)];
        set(&mut config.capture, choice(top, "capture", &capture));
        set(&mut config.upstream_ca, self.paths(top, "upstream_ca"));
        config.tls = top.section("tls", &keys::TLS).and_then(|tls| self.tls(&tls));
        for (name, section) in top.sections("upstreams", &keys::UPSTREAM) {
            let name = section.parse(&name, |name| {
                check_name(name).map_err(|error| error.to_string())?;
                Ok(name.to_owned())
            });
            let upstream = self.upstream(&section);
            if let (Some(name), Some(upstream)) = (name, upstream) {
                config.upstreams.insert(name, upstream);
            }
        }
        if let Some(section) = top.section("timeouts", &keys::TIMEOUTS) {
            timeouts(&section, config);
        }
        if let Some(section) = top.section("secrets", &keys::SECRETS) {
            set(&mut config.secrets.headers, names(&section, "headers", values::header_name));
            set(&mut config.secrets.query, names(&section, "query", values::query_name));
        }
        if let Some(section) = top.section("forwarded", &keys::FORWARDED) {
            set(&mut config.forwarded.via, section.boolean("via"));
            set(&mut config.forwarded.forwarded, section.boolean("forwarded"));
        }
        if let Some(section) = top.section("log", &keys::LOG) {
            let checkpoint = Duration::from_millis(10)..=Duration::from_secs(60);
            set(&mut config.log.checkpoint, duration(&section, "checkpoint", &checkpoint));
            set(&mut config.log.heartbeat, duration(&section, "heartbeat", &(SECOND..=HOUR)));
        }
        if let Some(section) = top.section("runs", &keys::RUNS) {
            let range = Duration::from_millis(100)..=24 * HOUR;
            set(&mut config.runs.idle, duration(&section, "idle", &range));
            let apps = [("same-user", Apps::SameUser), ("other-user", Apps::OtherUser)];
            config.runs.apps = choice(&section, "apps", &apps);
        }
        if let Some(section) = top.section("journal", &keys::JOURNAL) {
            let size = |key: &str, range: std::ops::RangeInclusive<u64>| {
                section.parsed(key, SIZE, |text| values::size(text, &range))
            };
            set(&mut config.journal.file_size, size("file_size", 64 << 10..=4 << 30));
            set(&mut config.journal.pending, size("pending", 1 << 20..=1 << 30));
        }
    }

    fn tls(&self, section: &Section<'_>) -> Option<Tls> {
        section.demand("certificate", "a listener with TLS shows one");
        section.demand("key", "the certificate is of no use alone");
        let certificate = self.path(section, "certificate");
        let key = self.path(section, "key");
        Some(Tls { certificate: certificate?, key: key? })
    }

    fn upstream(&self, section: &Section<'_>) -> Option<UpstreamConfig> {
        let expected = "a URL such as \"https://api.example.com/v1\"";
        let url = section.text("url", expected);
        section.demand("url", "an upstream has an address");
        let choices =
            [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];
        let protocol = choice(section, "protocol", &choices);
        let ca = self.paths(section, "ca");
        let host = section.parsed("host", "a string such as \"api.example.com\"", |text| {
            let visible = |byte: u8| byte.is_ascii_graphic() && !b"/?#@".contains(&byte);
            match !text.is_empty() && text.bytes().all(visible) {
                true => Ok(text.to_owned()),
                false => Err("wants a host name, with a port if need be".to_owned()),
            }
        });
        let url = url?;
        let mut upstream = section.parse(&url, |text| {
            let url: Url = text.parse().map_err(|error| format!("{error}"))?;
            with_protocol(url, protocol)
        })?;
        set(&mut upstream.ca, ca);
        upstream.host = host;
        Some(upstream)
    }

    fn path(&self, section: &Section<'_>, key: &str) -> Option<PathBuf> {
        section.parsed(key, "a path as a string", not_empty).map(|path| self.folder.join(path))
    }

    fn paths(&self, section: &Section<'_>, key: &str) -> Option<Vec<PathBuf>> {
        let texts = section.texts(key, "an array of paths such as [\"ca.pem\"]")?;
        let paths = texts.iter().filter_map(|text| section.parse(text, not_empty));
        Some(paths.map(|path| self.folder.join(path)).collect())
    }
}

/// The upstream at `url`, its scheme and protocol made to agree.
fn with_protocol(url: Url, protocol: Option<Protocol>) -> Result<UpstreamConfig, String> {
    let mut upstream = UpstreamConfig::new(url);
    match (upstream.url.scheme, protocol) {
        (Scheme::H2c, Some(Protocol::Http1)) => {
            return Err("h2c:// is HTTP/2, which `protocol = \"http1\"` rules out".to_owned());
        }
        (Scheme::Http, Some(Protocol::Http2)) => {
            upstream.url.scheme = Scheme::H2c;
            upstream.protocol = Protocol::Http2;
        }
        (Scheme::H2c, _) | (_, None) => {}
        (_, Some(protocol)) => upstream.protocol = protocol,
    }
    Ok(upstream)
}

fn timeouts(section: &Section<'_>, config: &mut Config) {
    let range = Duration::from_millis(1)..=24 * HOUR;
    let or_none = |key: &str| {
        section.parsed(key, DURATION_OR_NONE, |text| values::duration_or_none(text, &range))
    };
    let timeouts = &mut config.timeouts;
    set(&mut timeouts.connect, duration(section, "connect", &range));
    set(&mut timeouts.first_byte, or_none("first_byte"));
    set(&mut timeouts.between_bytes, or_none("between_bytes"));
    set(&mut timeouts.client_head, duration(section, "client_head", &range));
    set(&mut timeouts.client_idle, duration(section, "client_idle", &range));
}

fn duration(
    section: &Section<'_>,
    key: &str,
    range: &std::ops::RangeInclusive<Duration>,
) -> Option<Duration> {
    section.parsed(key, DURATION, |text| values::duration(text, range))
}

fn choice<T: Copy>(section: &Section<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    section.parsed(key, "a string", |text| values::choice(text, choices))
}

fn names(
    section: &Section<'_>,
    key: &str,
    parse: fn(&str) -> Result<String, String>,
) -> Option<Vec<String>> {
    let texts = section.texts(key, "an array of strings such as [\"x-internal-token\"]")?;
    Some(texts.iter().filter_map(|text| section.parse(text, parse)).collect())
}

fn not_empty(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("wants a path".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}
