//! Secret values: never stored, only tagged.
//!
//! A tag says whether two requests to one authority carried the same secret, to the operator who
//! holds the key; it tells anyone else nothing.

use sealtap_common::commit::secret_tag;
use sealtap_common::tree::Hash;
use zeroize::Zeroizing;

/// Header and trailer fields whose values are secret wherever they stand.
const FIELDS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-auth-token",
    "x-access-token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-csrf-token",
    "ocp-apim-subscription-key",
    // Browsers put keys for realtime APIs here, having no other place.
    "sec-websocket-protocol",
    "openai-insecure-api-key",
];

/// Query parameters whose values are secret.
const PARAMETERS: &[&str] = &[
    "key",
    "api_key",
    "api-key",
    "apikey",
    "access_token",
    "token",
    "auth",
    "password",
    "secret",
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-credential",
    "x-goog-signature",
    "x-goog-credential",
];

/// Which values are secret, and the key of their tags.
pub struct Secrets {
    key: Zeroizing<[u8; 32]>,
    fields: Vec<String>,
    parameters: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// The built-in lists and what the configuration adds to them.
    #[must_use]
    pub fn new(key: &[u8; 32], fields: &[String], parameters: &[String]) -> Self {
        let with = |known: &[&str], more: &[String]| {
            let known = known.iter().map(|name| (*name).to_owned());
            known.chain(more.iter().map(|name| name.to_ascii_lowercase())).collect()
        };
        Self {
            key: Zeroizing::new(*key),
            fields: with(FIELDS, fields),
            parameters: with(PARAMETERS, parameters),
        }
    }

    /// Whether the values of fields called `name` are secret.
    #[must_use]
    pub fn is_field(&self, name: &[u8]) -> bool {
        self.fields.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    }

    /// Whether the values of query parameters called `name` are secret.
    #[must_use]
    pub fn is_parameter(&self, name: &[u8]) -> bool {
        self.parameters.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    }

    /// The tag of a secret value, as FORMAT.md defines it.
    #[must_use]
    pub fn tag(&self, authority: &[u8], name: &[u8], value: &[u8]) -> Hash {
        secret_tag(&self.key, authority, name, value)
    }
}
