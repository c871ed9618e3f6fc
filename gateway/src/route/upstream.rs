//! One upstream, ready to connect to.

use std::path::PathBuf;

use crate::config::{Protocol, Scheme, UpstreamConfig, Url};

/// Where requests of one name go, shared by every exchange with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name it is routed by; with a pattern, its label too: `azure/RESOURCE`.
    pub name: String,
    /// How its transport is spoken.
    pub scheme: Scheme,
    /// The name or address to connect to and to check the certificate against, without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// What `Host` or `:authority` says.
    pub authority: String,
    /// What is put before the rest of a target: a path without trailing slash, often empty.
    pub prefix: String,
    /// Which HTTP it is spoken to in.
    pub protocol: Protocol,
    /// PEM files with certificate authorities trusted for it alone.
    pub ca: Vec<PathBuf>,
    /// What its connections are kept under.
    pub key: String,
    /// The name to check its certificate against, where that is not the host.
    pub server_name: Option<String>,
    /// Whether the client chose it: then what it may reach is bounded.
    pub chosen: bool,
    /// Whether a request keeps the authority that its client wrote.
    pub keeps_authority: bool,
}

impl Upstream {
    /// The upstream called `name` that `config` describes.
    #[must_use]
    pub fn new(name: &str, config: &UpstreamConfig) -> Self {
        let UpstreamConfig { url, protocol, ca, host } = config;
        Self {
            name: name.to_owned(),
            scheme: url.scheme,
            host: url.host.clone(),
            port: url.port,
            authority: host.clone().unwrap_or_else(|| url.authority()),
            prefix: url.prefix.clone(),
            protocol: *protocol,
            ca: ca.clone(),
            key: name.to_owned(),
            server_name: None,
            chosen: false,
            keeps_authority: false,
        }
    }

    /// The upstream called `name` at `https://host`.
    pub(super) fn https(name: String, host: String) -> Self {
        let url = Url {
            scheme: Scheme::Https,
            host,
            port: Scheme::Https.default_port(),
            prefix: String::new(),
        };
        Self { key: name.clone(), name, ..Self::new("", &UpstreamConfig::new(url)) }
    }

    /// Its URL, for people and records.
    #[must_use]
    pub fn url(&self) -> String {
        let url = Url {
            scheme: self.scheme,
            host: self.host.clone(),
            port: self.port,
            prefix: String::new(),
        };
        format!("{}://{}{}", self.scheme.as_str(), url.authority(), self.prefix)
    }
}
