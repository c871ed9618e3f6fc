//! One authority's key and certificate at work: leaves, each minted once and used until it is old.
//!
//! All leaves share one key, drawn when the authority is opened and never written down. A key per
//! leaf would cost as much as the signature again (about 20 us each) and protect nothing: whoever
//! reads one from this process reads them all. Each leaf costs one ECDSA signature, about what the
//! handshake that waits for it costs anyway, so it is made where it is asked for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hashlink::LruCache;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::certificate::{Certificate, serial, set_validity};
use super::error::{AuthorityError, minting};
use super::name::LeafName;

/// How long a leaf is good for, from when it is made.
pub(super) const LEAF_LIFETIME: Duration = Duration::from_secs(48 * 3_600);

/// How old a leaf may become here: clients whose clocks are far ahead still find it in date.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Leaves that are kept, about 2 KiB each; the one unused for longest goes first.
const MOST_LEAVES: usize = 4_096;

/// The longest that a common name may be (RFC 5280, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// An authority that signs.
pub(super) struct Issuing {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    /// Of all leaves.
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    /// The certificate's file, to name it.
    path: PathBuf,
    leaves: Mutex<LruCache<LeafName, Slot>>,
}

/// The place of one name's leaf; whoever holds its lock mints, and others of that name wait.
type Slot = Arc<Mutex<Option<Leaf>>>;

struct Leaf {
    made: SystemTime,
    key: Arc<CertifiedKey>,
}

impl Issuing {
    /// The authority of this certificate, which was read from `path`, and of this key.
    pub(super) fn new(
        certificate: Certificate,
        authority_key: KeyPair,
        path: PathBuf,
    ) -> Result<Self, AuthorityError> {
        let unfit = |why: String| AuthorityError::Unfit { path: path.clone(), why };
        let Some(first) = certificate.chain.first() else {
            return Err(unfit("it holds no certificate".to_owned()));
        };
        let issuer = Issuer::from_ca_cert_der(first, authority_key)
            .map_err(|error| unfit(format!("leaves cannot be made under it ({error})")))?;
        let key = KeyPair::generate().map_err(minting("leaves"))?;
        let der = Zeroizing::new(key.serialize_der());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice()));
        let signer = any_ecdsa_type(&private).map_err(minting("leaves"))?;
        let leaves = Mutex::new(LruCache::new(MOST_LEAVES));
        Ok(Self { certificate, issuer, key, signer, path, leaves })
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The leaf for `name`, made now if there is none that is young enough.
    pub(super) fn leaf(
        &self,
        name: &LeafName,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        if !self.certificate.constraints.allow(name) {
            return Err(AuthorityError::NotPermitted { name: name.clone() });
        }
        // A clock that was put back is the gateway's own fault: clients may have the right one.
        if self.certificate.is_over_at(now) {
            return Err(AuthorityError::OutOfDate { path: self.path.clone() });
        }
        let slot = {
            let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
            match leaves.get(name) {
                Some(slot) => Arc::clone(slot),
                None => {
                    let slot = Slot::default();
                    leaves.insert(name.clone(), Arc::clone(&slot));
                    slot
                }
            }
        };
        let mut leaf = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaf.as_ref().filter(|leaf| leaf.is_young(now)) {
            return Ok(Arc::clone(&leaf.key));
        }
        let key = self.mint(name, now)?;
        *leaf = Some(Leaf { made: now, key: Arc::clone(&key) });
        Ok(key)
    }

    /// Whether there is a leaf for `name`.
    #[cfg(test)]
    pub(super) fn holds(&self, name: &LeafName) -> bool {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = leaves.get(name).map(Arc::clone);
        slot.is_some_and(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    pub(super) fn mint(
        &self,
        name: &LeafName,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut params = CertificateParams::default();
        let end = u64::try_from(self.certificate.until).unwrap_or_default();
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end)).unwrap_or(now);
        let until = now.checked_add(LEAF_LIFETIME).unwrap_or(now).min(end);
        set_validity(&mut params, now, until);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "sealtap");
        match name {
            LeafName::Dns(dns) => {
                let text = dns.as_str().try_into().map_err(minting(name))?;
                params.subject_alt_names = vec![SanType::DnsName(text)];
                if dns.len() <= LONGEST_COMMON_NAME {
                    params.distinguished_name.push(DnType::CommonName, dns.as_str());
                }
            }
            // Without a common name: verifiers hold one that looks like an address to the domains.
            LeafName::Address(address) => {
                params.subject_alt_names = vec![SanType::IpAddress(*address)];
            }
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Verifiers in strict mode, Python's from 3.13 on, want it of every leaf.
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        let made = params.signed_by(&self.key, &self.issuer).map_err(minting(name))?;
        let mut chain = vec![made.into()];
        // A root is with the client already, if it is trusted at all.
        if !self.certificate.root {
            chain.extend(self.certificate.chain.iter().cloned());
        }
        Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signer))))
    }
}

impl Leaf {
    /// Whether it can still be shown; one from the future was made under another clock.
    fn is_young(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).is_ok_and(|age| age < RENEWED_AFTER)
    }
}
