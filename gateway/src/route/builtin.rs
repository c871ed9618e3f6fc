//! The public model APIs that are known by name.
//!
//! Each is its bare host: what follows the name in a target is the provider's own path, so its API
//! reference reads the same through the gateway.

/// Name and URL of an upstream with one address.
pub(super) const NAMED: [(&str, &str); 11] = [
    ("anthropic", "https://api.anthropic.com"),
    ("cohere", "https://api.cohere.com"),
    ("deepseek", "https://api.deepseek.com"),
    ("gemini", "https://generativelanguage.googleapis.com"),
    ("groq", "https://api.groq.com"),
    ("mistral", "https://api.mistral.ai"),
    ("ollama", "http://127.0.0.1:11434"),
    ("openai", "https://api.openai.com"),
    ("openrouter", "https://openrouter.ai"),
    ("together", "https://api.together.xyz"),
    ("xai", "https://api.x.ai"),
];

/// An API whose host holds one label that the client chooses: `/NAME/LABEL/...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) name: &'static str,
    /// What the label is, as people see it.
    pub(super) label: &'static str,
    before: &'static str,
    after: &'static str,
}

/// The patterns. The label is a single DNS label, so the host always ends in the provider's domain.
pub(super) const PATTERNS: [Pattern; 2] = [
    Pattern { name: "azure", label: "RESOURCE", before: "", after: ".openai.azure.com" },
    Pattern {
        name: "bedrock",
        label: "REGION",
        before: "bedrock-runtime.",
        after: ".amazonaws.com",
    },
];

impl Pattern {
    /// The host for `label`, or nothing when it is not a DNS label of letters, digits and inner
    /// hyphens: a dot, an escape or a userinfo would lead elsewhere.
    pub(super) fn host(&self, label: &[u8]) -> Option<(String, String)> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let hyphen = |byte: Option<&u8>| byte == Some(&b'-');
        if label.is_empty()
            || label.len() > 63
            || !label.iter().all(plain)
            || hyphen(label.first())
            || hyphen(label.last())
        {
            return None;
        }
        let label = std::str::from_utf8(label).ok()?.to_ascii_lowercase();
        let host = format!("{}{label}{}", self.before, self.after);
        Some((label, host))
    }
}
