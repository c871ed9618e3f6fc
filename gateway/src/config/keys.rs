//! The keys of the config file, by section; one list for the reader, for suggestions and for the
//! test that holds the example to it.

/// One section and the keys it may hold.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The section's name; empty for the top of the file, `upstreams.*` for each upstream.
    pub section: &'static str,
    /// The keys, sub-sections included.
    pub keys: &'static [&'static str],
}

/// The top of the file.
pub const TOP: Keys = Keys {
    section: "",
    keys: &[
        "listen",
        "data",
        "lock",
        "origin",
        "durability",
        "capture",
        "upstream_ca",
        "tls",
        "ca",
        "upstreams",
        "timeouts",
        "limits",
        "secrets",
        "forwarded",
        "log",
        "journal",
        "observe",
        "retention",
        "witness",
        "timestamp",
        "runs",
        "proxy",
        "kernel",
        "serve",
    ],
};

/// `[tls]`
pub const TLS: Keys = Keys { section: "tls", keys: &["certificate", "key"] };

/// `[ca]`
pub const CA: Keys = Keys { section: "ca", keys: &["domains", "networks", "lifetime"] };

/// `[upstreams.NAME]`
pub const UPSTREAM: Keys =
    Keys { section: "upstreams.*", keys: &["url", "ca", "protocol", "host"] };

/// `[timeouts]`
pub const TIMEOUTS: Keys = Keys {
    section: "timeouts",
    keys: &["connect", "first_byte", "between_bytes", "client_head", "client_idle", "client_ping"],
};
/// `[limits]`
pub const LIMITS: Keys = Keys { section: "limits", keys: &["connections", "streams"] };

/// `[secrets]`
pub const SECRETS: Keys = Keys { section: "secrets", keys: &["headers", "query"] };

/// `[forwarded]`
pub const FORWARDED: Keys = Keys { section: "forwarded", keys: &["via", "forwarded"] };

/// `[log]`
pub const LOG: Keys = Keys { section: "log", keys: &["checkpoint", "heartbeat", "progress"] };

/// `[journal]`
pub const JOURNAL: Keys = Keys { section: "journal", keys: &["file_size", "pending"] };

/// `[runs]`
pub const RUNS: Keys = Keys { section: "runs", keys: &["idle", "apps"] };

/// `[proxy]`
pub const PROXY: Keys = Keys {
    section: "proxy",
    keys: &["enabled", "capture", "other", "credentials", "open", "detect", "allow", "deny"],
};

/// `[observe]`
pub const OBSERVE: Keys = Keys {
    section: "observe",
    keys: &["enabled", "listen", "log_late", "disk_left", "messages", "level"],
};

/// `[retention]`
pub const RETENTION: Keys = Keys { section: "retention", keys: &["max_age", "max_bytes"] };

/// `[witness]`
pub const WITNESS: Keys =
    Keys { section: "witness", keys: &["policy", "ca", "timeout", "on_conflict"] };

/// `[timestamp]`
pub const TIMESTAMP: Keys = Keys { section: "timestamp", keys: &["url", "ca", "interval"] };

/// `[kernel]`
pub const KERNEL: Keys = Keys {
    section: "kernel",
    keys: &["mode", "scopes", "loopback_allow", "resolver", "interval", "canary"],
};

/// `[serve]`
pub const SERVE: Keys = Keys { section: "serve", keys: &["user"] };

/// Every section.
pub const KEYS: &[Keys] = &[
    TOP, TLS, CA, UPSTREAM, TIMEOUTS, LIMITS, SECRETS, FORWARDED, LOG, JOURNAL, OBSERVE, RETENTION,
    WITNESS, TIMESTAMP, RUNS, PROXY, KERNEL, SERVE,
];

impl Keys {
    /// `key` with its section in front, as a person would point at it.
    #[must_use]
    pub fn dotted(&self, key: &str) -> String {
        if self.section.is_empty() { key.to_owned() } else { format!("{}.{key}", self.section) }
    }
}

/// The known key that a person who wrote `key` in `section` most likely meant: the nearest name in
/// the same section, else the same name in another one.
#[must_use]
pub fn nearest(section: &Keys, key: &str) -> Option<String> {
    let near = section
        .keys
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, key), *known))
        .filter(|(distance, known)| *distance <= (known.len().max(key.len()) / 3).max(1))
        .min();
    if let Some((_, known)) = near {
        return Some(section.dotted(known));
    }
    let elsewhere = KEYS.iter().find(|other| other.keys.contains(&key));
    if let Some(other) = elsewhere {
        return Some(other.dotted(key));
    }
    // `client-idle` or `clientIdle` at the top still finds `timeouts.client_idle`.
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    KEYS.iter()
        .flat_map(|other| other.keys.iter().map(move |known| (other, *known)))
        .map(|(other, known)| {
            (strsim::damerau_levenshtein(&plain(known), &plain(key)), other, known)
        })
        .filter(|(distance, _, _)| *distance <= 1)
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, other, known)| other.dotted(known))
}
