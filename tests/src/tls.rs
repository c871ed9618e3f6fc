//! TLS: a certificate authority made for one test, and the settings of both sides.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::gateway::Home;

/// The configuration of a gateway whose listener speaks TLS, by what [`Authority::write_identity`] left in
/// its home.
pub const LISTENER: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

/// A certificate authority that exists for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A client that trusts the gateway of this home, and nobody else, in the name of other hosts.
///
/// # Panics
/// If the gateway has no authority.
pub fn trusting(home: &Home, protocols: &[&str]) -> Arc<ClientConfig> {
    use rustls_pki_types::pem::PemObject as _;
    let path = home.data().join("keys").join("ca.pem");
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(&path).expect("the gateway has an authority");
    roots.add(certificate).expect("it is a certificate");
    client(roots, protocols)
}

/// A certificate for `localhost` and 127.0.0.1 with its key, in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
    der: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
}

impl Authority {
    /// A fresh authority.
    #[expect(clippy::new_without_default, reason = "it draws a key")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Python verifies strictly from 3.13 on.
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "sealtap tests");
        let key = KeyPair::generate().expect("a key can be drawn");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority signs itself");
        Self { issuer }
    }

    /// Writes the authority's certificate as PEM.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.issuer.pem()).expect("a certificate can be written");
    }

    /// Writes such a certificate and its key into a folder, where [`LISTENER`] finds them.
    pub fn write_identity(&self, folder: &Path) {
        let Identity { certificate, key, .. } = self.identity();
        std::fs::write(folder.join("cert.pem"), certificate).expect("it can be written");
        std::fs::write(folder.join("key.pem"), key).expect("it can be written");
    }

    /// A certificate for `localhost` and 127.0.0.1.
    pub fn identity(&self) -> Identity {
        self.identity_for(&["localhost", "127.0.0.1"], 4096)
    }

    /// A certificate for these names that is good until this year ends.
    pub fn identity_for(&self, names: &[&str], until: i32) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key can be drawn");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// A server whose certificate is out of date.
    pub fn expired_server(&self) -> Arc<ServerConfig> {
        server(self.identity_for(&["localhost", "127.0.0.1"], 2020), &["h2", "http/1.1"])
    }

    /// A server whose certificate is for another name.
    pub fn server_for(&self, name: &str) -> Arc<ServerConfig> {
        server(self.identity_for(&[name], 4096), &["h2", "http/1.1"])
    }

    /// A server that offers these protocols by ALPN.
    pub fn server(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        server(self.identity(), protocols)
    }

    /// A client that trusts this authority only and offers these protocols by ALPN.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the authority is a certificate");
        client(roots, protocols)
    }
}

fn server(identity: Identity, protocols: &[&str]) -> Arc<ServerConfig> {
    let (certificate, key) = identity.der;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
        .expect("the key fits the certificate");
    config.alpn_protocols = alpn(protocols);
    Arc::new(config)
}

fn client(roots: RootCertStore, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn(protocols);
    Arc::new(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}
