//! The flags of `serve` that say the same as a key of the file; they win over it.

use std::path::PathBuf;

use super::upstream::{UpstreamConfig, Url, check_name};
use super::{Capture, Config, ConfigError, MessageForm, kernel, values};

/// Flags as they were typed; what was not given leaves the file's word, or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen ADDRESS`
    pub listen: Option<String>,
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// `--lock DIR`
    pub lock: Option<PathBuf>,
    /// `--upstream NAME=URL`, each replacing everything said about NAME before.
    pub upstreams: Vec<String>,
    /// `--upstream-ca PEM`, added to the file's.
    pub upstream_ca: Vec<PathBuf>,
    /// `--capture known|all`
    pub capture: Option<Capture>,
    /// `--user NAME`
    pub user: Option<String>,
    /// `--log-format text|json`
    pub messages: Option<MessageForm>,
}

impl Flags {
    /// Puts what was given over `config`.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        if let Some(listen) = &self.listen {
            config.listen = values::address(listen).map_err(|why| flag("--listen", listen, why))?;
        }
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if let Some(lock) = &self.lock {
            config.lock = Some(lock.clone());
        }
        for given in &self.upstreams {
            let (name, upstream) = upstream(given).map_err(|why| flag("--upstream", given, why))?;
            config.upstreams.insert(name, upstream);
        }
        config.upstream_ca.extend(self.upstream_ca.iter().cloned());
        if let Some(capture) = self.capture {
            config.capture = capture;
        }
        if let Some(user) = &self.user {
            let user = kernel::user(user).map_err(|why| flag("--user", user, why))?;
            config.user = Some(user);
        }
        if let Some(messages) = self.messages {
            config.observe.messages = messages;
        }
        Ok(())
    }
}

fn upstream(given: &str) -> Result<(String, UpstreamConfig), String> {
    let (name, url) =
        given.split_once('=').ok_or("wants NAME=URL such as local=http://127.0.0.1:8080/v1")?;
    check_name(name).map_err(|error| error.to_string())?;
    let url: Url = url.parse().map_err(|error| format!("{error}"))?;
    Ok((name.to_owned(), UpstreamConfig::new(url)))
}

fn flag(flag: &'static str, value: &str, why: String) -> ConfigError {
    ConfigError::Flag { flag, value: value.to_owned(), why }
}
