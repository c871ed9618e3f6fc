//! What may change while the gateway runs: one snapshot, which each exchange takes once.
//!
//! In: a configuration. Out: [`Settings`], made whole before any of it counts. An exchange that is
//! under way keeps the snapshot it began with to its end, and so do the connections it uses.

use std::net::SocketAddr;

use tokio_rustls::TlsAcceptor;

use crate::accept::authority::LeafName;
use crate::accept::{TlsError, server_config};
use crate::config::{Config, Limits, Timeouts};
use crate::descriptors::Sockets;
use crate::forward::{Forwarder, TrustError};
use crate::route::{ProxyRules, Scheme, Table, TableError};

/// Everything that a reload can put in place of what was there.
pub struct Settings {
    /// Names become upstreams.
    pub table: Table,
    /// Records go on their way.
    pub forwarder: Forwarder,
    /// Who may use the forward proxy, and what of it is captured.
    pub rules: ProxyRules,
    /// What the listener shows to clients, where it speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much clients may hold at once.
    pub limits: Limits,
    /// Connections of clients, at most.
    pub clients: usize,
}

/// Why a configuration cannot be put in place.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificate authorities of upstreams.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The upstreams.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The forward proxy would be open to strangers.
    #[error(
        "{listen} is reached from other machines, and the forward proxy asks for no credentials: set \
         `[proxy] credentials = \"user:password\"`, or `[proxy] open = true` if all who reach it may \
         use it, or `[proxy] enabled = false`"
    )]
    OpenProxy {
        /// The address.
        listen: SocketAddr,
    },
}

/// A proxy that strangers reach must ask for credentials, or be meant to be open.
fn refuse_open_proxy(config: &Config) -> Result<(), SettingsError> {
    let proxy = &config.proxy;
    let alone = config.listen.ip().to_canonical().is_loopback();
    match alone || !proxy.enabled || proxy.open || proxy.credentials.is_some() {
        true => Ok(()),
        false => Err(SettingsError::OpenProxy { listen: config.listen }),
    }
}

impl Settings {
    /// Settings of `config`, whose upstreams are `table`.
    ///
    /// # Errors
    /// [`SettingsError`]: a file that it names cannot be used.
    pub fn new(config: &Config, table: Table) -> Result<Self, SettingsError> {
        refuse_open_proxy(config)?;
        let tls = config.tls.as_ref();
        let tls = tls.map(|tls| server_config(&tls.certificate, &tls.key)).transpose()?;
        Ok(Self {
            table,
            forwarder: Forwarder::new(config)?,
            rules: ProxyRules::new(config),
            tls: tls.map(TlsAcceptor::from),
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            clients: Sockets::of_process(config.limits.connections).clients,
        })
    }

    /// The hosts whose leaves will be asked for first.
    #[must_use]
    pub fn opened_hosts(&self) -> Vec<LeafName> {
        let upstreams = self.table.upstreams().filter(|upstream| upstream.scheme == Scheme::Https);
        upstreams.filter_map(|upstream| LeafName::parse(&upstream.host).ok()).collect()
    }

    /// The same for a listener that is bound to `address`.
    #[must_use]
    pub fn bound_to(self, address: SocketAddr) -> Self {
        let (table, forwarder) = (self.table.bound_to(address), self.forwarder.bound_to(address));
        Self { table, forwarder, ..self }
    }

    /// Settings of `config` that take over from these: sockets that are open count on.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn followed_by(&self, config: &Config, address: SocketAddr) -> Result<Self, SettingsError> {
        let mut next = Self::new(config, Table::new(config)?)?.bound_to(address);
        next.forwarder.take_over(&self.forwarder);
        Ok(next)
    }
}
