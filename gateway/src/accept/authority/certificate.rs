//! The authority's certificate: how a new one looks, and what is read from one.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::constraints::{Constraints, wanted};
use super::error::{AuthorityError, minting};
use crate::config::Ca;
use crate::seal::keys::own_file;

/// Certificates begin so long before they are made: clients' clocks may be late.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// What the common name of an authority made here begins with.
const NAME: &str = "sealtap interception CA";

/// What an authority's certificate says.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The file's text.
    pub pem: String,
    /// The certificate, and behind it those that lead to its root where it is not one itself.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of the certificate: what `openssl x509 -fingerprint -sha256` prints.
    pub fingerprint: [u8; 32],
    /// Whom it names, as RFC 4514 writes it.
    pub subject: String,
    /// Not valid before, in seconds since the Unix epoch.
    pub from: i64,
    /// Not valid after, in seconds since the Unix epoch.
    pub until: i64,
    /// Whether it vouches for itself.
    pub(super) root: bool,
    pub(super) constraints: Constraints,
    /// The public key, as DER.
    key: Vec<u8>,
}

impl Certificate {
    /// Reads what stands in `pem`, which came from `path`.
    pub(super) fn read(pem: String, path: &Path) -> Result<Self, AuthorityError> {
        let unfit = |why: String| AuthorityError::Unfit { path: path.to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unfit(format!("no certificate in PEM can be read in it ({error})")))?;
        let Some(first) = chain.first() else {
            return Err(unfit("it holds no certificate in PEM".to_owned()));
        };
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| unfit(format!("its certificate cannot be read ({error})")))?;
        let signs = parsed.key_usage().map_err(|error| unfit(error.to_string()))?;
        if !parsed.is_ca() || signs.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(unfit("its certificate is not one of an authority".to_owned()));
        }
        let constraints = Constraints::of(&parsed).map_err(unfit)?;
        Ok(Self {
            fingerprint: Sha256::digest(first).into(),
            subject: parsed.subject().to_string(),
            from: parsed.validity().not_before.timestamp(),
            until: parsed.validity().not_after.timestamp(),
            root: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            key: parsed.public_key().raw.to_vec(),
            constraints,
            chain,
            pem,
        })
    }

    /// Whether `key` is the one that it names.
    pub(super) fn is_of(&self, key: &KeyPair) -> bool {
        self.key == key.subject_public_key_info()
    }

    /// Whether it is in date.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.from..=self.until).contains(&seconds(now))
    }

    /// Whether it was in date once and is no more.
    pub(super) fn is_over_at(&self, now: SystemTime) -> bool {
        self.until < seconds(now)
    }

    /// The fingerprint as `openssl` and browsers print it: upper-case pairs with colons between.
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        let pairs: Vec<String> =
            self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// The domains it may vouch for, each with the names below it; empty for all names.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        self.constraints.domains()
    }

    /// Whether a new authority of these settings would vouch for the same names.
    #[must_use]
    pub fn fits(&self, settings: &Ca) -> bool {
        self.constraints == Constraints::of_settings(settings)
    }
}

/// The text of a new certificate for `key`.
pub(super) fn new(key: &KeyPair, settings: &Ca, now: SystemTime) -> Result<String, AuthorityError> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, now.checked_add(settings.lifetime).unwrap_or(now));
    // Two authorities of one name and different keys confuse clients that look issuers up by name.
    let id = own_file::random_hex::<4>()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "sealtap");
    params.distinguished_name.push(DnType::CommonName, format!("{NAME} {}", *id));
    // No authority below this one; and for servers only, whoever holds the key.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = wanted(settings);
    params.serial_number = Some(serial()?);
    let made = params.self_signed(key).map_err(minting("the authority itself"))?;
    Ok(made.pem())
}

/// Whether `der` is the certificate of an authority made here, or by another sealtap.
pub(super) fn is_of_sealtap(der: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return false };
    let mut names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.any(|name| name.starts_with(NAME))
}

/// A serial number that no other certificate has: clients refuse two of one issuer and number.
pub(super) fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = *own_file::random::<16>()?;
    if let Some(first) = bytes.first_mut() {
        // Positive, and of one length.
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// Makes it good from a little before `now` until `until`, in whole seconds.
pub(super) fn set_validity(params: &mut CertificateParams, now: SystemTime, until: SystemTime) {
    let moment = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
    };
    params.not_before = moment(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = moment(until);
}

/// Seconds since the Unix epoch.
pub(super) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
