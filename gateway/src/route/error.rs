//! Why a request has no upstream, for the client and for the record.

use serde_json::{Value, json};

/// Why a target leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The first path element is no upstream's name.
    #[error("no upstream is called {name:?}; known: {}", known.join(", "))]
    UnknownUpstream {
        /// The first path element; bytes that are not UTF-8 are replaced.
        name: String,
        /// Every name, sorted; a pattern as `azure/RESOURCE`.
        known: Vec<String>,
    },
    /// A pattern's label is missing or could lead to another host.
    #[error(
        "/{name}/{label} wants {label} to be 1 to 63 letters, digits or inner hyphens, \
         found {found:?}"
    )]
    Label {
        /// The pattern's name.
        name: &'static str,
        /// What the label is: `RESOURCE` or `REGION`.
        label: &'static str,
        /// What stood there.
        found: String,
    },
    /// An absolute-form target for another server: a request to a forward proxy.
    #[error(
        "this listener is not a forward proxy: send /NAME/path to it instead of a request for \
         {authority:?}"
    )]
    ForwardProxy {
        /// The server it was for.
        authority: String,
    },
    /// An authority-form target: CONNECT.
    #[error("this listener opens no tunnels: CONNECT {authority:?} leads nowhere")]
    Connect {
        /// The server it was for.
        authority: String,
    },
    /// The proxy asks for credentials, and these are none or wrong.
    #[error("this proxy asks for credentials: send Proxy-Authorization: Basic, as configured")]
    Credentials,
    /// A server that is not captured, where the others are refused.
    #[error(
        "{authority} is not captured, and other servers are refused: list it in `[proxy] capture`, \
         or set `[proxy] other = \"tunnel\"`"
    )]
    NotListed {
        /// The server.
        authority: String,
    },
    /// `OPTIONS *`, which is about the server itself.
    #[error("the target `*` names no upstream; send OPTIONS /NAME/path")]
    Asterisk,
    /// None of the four forms of RFC 9112 section 3.2.
    ///
    /// What was sent is not repeated: it may hold a password or a key in any place.
    #[error("the target is neither a path nor a URL: send /NAME/path")]
    Form,
}

impl RouteError {
    /// The registered error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownUpstream { .. }
            | Self::ForwardProxy { .. }
            | Self::Connect { .. }
            | Self::Asterisk => "unknown_upstream",
            Self::Label { .. } | Self::Form => "malformed_request",
            Self::Credentials => "proxy_credentials",
            Self::NotListed { .. } => "destination_refused",
        }
    }

    /// The status of the gateway's answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownUpstream { .. } | Self::Asterisk => 404,
            Self::Label { .. } | Self::Form => 400,
            // RFC 9110 section 15.5.20: a server that does not answer for that authority.
            Self::ForwardProxy { .. } => 421,
            Self::Connect { .. } => 501,
            Self::Credentials => 407,
            Self::NotListed { .. } => 403,
        }
    }

    /// The JSON of the gateway's answer: `{"error":{"code","message",["upstreams"]}}`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut error = json!({ "code": self.code(), "message": self.to_string() });
        if let (Self::UnknownUpstream { known, .. }, Some(members)) = (self, error.as_object_mut())
        {
            members.insert("upstreams".to_owned(), json!(known));
        }
        json!({ "error": error })
    }
}
