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

/// Further hosts of model APIs, which a client may reach by CONNECT.
pub(super) const CAPTURED: &[&str] = &[
    "*.api.cognitive.microsoft.com",
    "*.cognitiveservices.azure.com",
    "*.inference.ai.azure.com",
    "*.models.ai.azure.com",
    "*.services.ai.azure.com",
    "aiplatform.googleapis.com",
    "api-inference.huggingface.co",
    "api.ai21.com",
    "api.aleph-alpha.com",
    "api.cerebras.ai",
    "api.cohere.ai",
    "api.fireworks.ai",
    "api.githubcopilot.com",
    "api.inceptionlabs.ai",
    "api.jina.ai",
    "api.moonshot.ai",
    "api.moonshot.cn",
    "api.novita.ai",
    "api.perplexity.ai",
    "api.replicate.com",
    "api.sambanova.ai",
    "api.voyageai.com",
    "api.z.ai",
    "chatgpt.com",
    "codestral.mistral.ai",
    "dashscope.aliyuncs.com",
    "eu.api.openai.com",
    "inference.baseten.co",
    "integrate.api.nvidia.com",
    "models.github.ai",
    "models.inference.ai.azure.com",
    "router.huggingface.co",
    "us.api.openai.com",
];

impl Pattern {
    /// Whether `host` is one of the pattern's.
    pub(super) fn is_of(&self, host: &str) -> bool {
        let label = host.strip_prefix(self.before).and_then(|rest| rest.strip_suffix(self.after));
        label.is_some_and(|label| self.host(label.as_bytes()).is_some())
    }

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
