//! From the file's text to a [`Config`], section by section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::error::{ConfigError, ProblemKind};
use super::section::{Faults, Section, Text};
use super::upstream::{Protocol, Scheme, UpstreamConfig, Url, check_name};
use super::values::{self, ADDRESS, DURATION, DURATION_OR_NONE, SIZE};
use super::{
    Apps, Capture, Config, Durability, MessageForm, MessageLevel, OnConflict, Other, Timestamp,
    Tls, Witness, ca, kernel, keys,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

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
        if let Some(section) = top.section("ca", &keys::CA) {
            ca::read(&section, &mut config.ca);
        }
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
        if let Some(section) = top.section("limits", &keys::LIMITS) {
            config.limits.connections = section.number("connections", &(1..=1_000_000));
            set(&mut config.limits.streams, section.number("streams", &(1..=100_000)));
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
            let progress = Duration::from_millis(100)..=HOUR;
            set(&mut config.log.progress, duration(&section, "progress", &progress));
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
        if let Some(section) = top.section("observe", &keys::OBSERVE) {
            observe(&section, config);
        }
        if let Some(section) = top.section("proxy", &keys::PROXY) {
            proxy(&section, config);
        }
        if let Some(section) = top.section("retention", &keys::RETENTION) {
            let (ages, sizes) = (SECOND..=100 * 365 * DAY, 1 << 20..=1 << 50);
            config.retention.max_age = section
                .parsed("max_age", values::AGE, |text| values::age_or_none(text, &ages))
                .flatten();
            config.retention.max_bytes = section
                .parsed("max_bytes", values::SIZE_OR_NONE, |text| {
                    values::size_or_none(text, &sizes)
                })
                .flatten();
        }
        if let Some(section) = top.section("kernel", &keys::KERNEL) {
            kernel::read(&section, &mut config.kernel);
        }
        if let Some(section) = top.section("serve", &keys::SERVE) {
            config.user = section.parsed("user", "a string", kernel::user);
        }
        config.witness =
            top.section("witness", &keys::WITNESS).and_then(|section| self.witness(&section));
        config.timestamp =
            top.section("timestamp", &keys::TIMESTAMP).and_then(|section| self.timestamp(&section));
    }

    fn witness(&self, section: &Section<'_>) -> Option<Witness> {
        section.demand("policy", "it says who the witnesses are");
        let policy = self.path(section, "policy");
        let ca = self.paths(section, "ca").unwrap_or_default();
        let range = Duration::from_millis(10)..=Duration::from_secs(60);
        let timeout = duration(section, "timeout", &range).unwrap_or(2 * SECOND);
        let choices = [("stop", OnConflict::Stop), ("warn", OnConflict::Warn)];
        let on_conflict = choice(section, "on_conflict", &choices).unwrap_or_default();
        Some(Witness { policy: policy?, ca, timeout, on_conflict })
    }

    fn timestamp(&self, section: &Section<'_>) -> Option<Timestamp> {
        section.demand("url", "a timestamp authority has an address");
        let expected = "a URL such as \"https://tsa.example.com/tsr\"";
        let url = section.parsed("url", expected, |text| match text.parse::<Url>() {
            Ok(url) if url.scheme == Scheme::H2c => Err("wants http:// or https://".to_owned()),
            Ok(url) => Ok(url),
            Err(error) => Err(error.to_string()),
        });
        let ca = self.paths(section, "ca").unwrap_or_default();
        let interval = duration(section, "interval", &(SECOND..=24 * HOUR)).unwrap_or(HOUR);
        Some(Timestamp { url: url?, ca, interval })
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
    set(&mut timeouts.client_ping, or_none("client_ping"));
}

fn observe(section: &Section<'_>, config: &mut Config) {
    let observe = &mut config.observe;
    set(&mut observe.enabled, section.boolean("enabled"));
    observe.listen = section.parsed("listen", ADDRESS, values::address);
    set(&mut observe.log_late, duration(section, "log_late", &(SECOND..=24 * HOUR)));
    let left = section.parsed("disk_left", SIZE, |text| values::size(text, &(0..=1 << 50)));
    set(&mut observe.disk_left, left);
    let forms = [("text", MessageForm::Text), ("json", MessageForm::Json)];
    set(&mut observe.messages, choice(section, "messages", &forms));
    let levels = [MessageLevel::Error, MessageLevel::Warn, MessageLevel::Info, MessageLevel::Debug];
    let levels = levels.map(|level| (level.as_str(), level));
    set(&mut observe.level, choice(section, "level", &levels));
}

fn proxy(section: &Section<'_>, config: &mut Config) {
    let proxy = &mut config.proxy;
    set(&mut proxy.enabled, section.boolean("enabled"));
    set(&mut proxy.capture, list(section, "capture", "an array such as [\"*.example.com\"]"));
    let others = [("tunnel", Other::Tunnel), ("refuse", Other::Refuse)];
    set(&mut proxy.other, choice(section, "other", &others));
    proxy.credentials = section.text("credentials", "a string").and_then(|text| {
        let parsed = text.text.parse();
        // A password stands in no error.
        let hidden = Text { text: "...", ..text };
        section.parse(&hidden, |_| parsed)
    });
    set(&mut proxy.open, section.boolean("open"));
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    set(&mut proxy.detect, duration(section, "detect", &range));
    set(&mut proxy.allow, list(section, "allow", "an array such as [\"169.254.7.0/24\"]"));
    set(&mut proxy.deny, list(section, "deny", "an array such as [\"10.0.0.0/8\"]"));
}

fn list<T: std::str::FromStr<Err = String>>(
    section: &Section<'_>,
    key: &str,
    expected: &'static str,
) -> Option<Vec<T>> {
    let texts = section.texts(key, expected)?;
    Some(texts.iter().filter_map(|text| section.parse(text, str::parse)).collect())
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

pub(super) fn names<T>(
    section: &Section<'_>,
    key: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let texts = section.texts(key, "an array of strings such as [\"x-internal-token\"]")?;
    Some(texts.iter().filter_map(|text| section.parse(text, parse)).collect())
}

fn not_empty(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("wants a path".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}
