//! Door: a way from a client to its server through sealtap. Opening one starts sealtap and says where
//! the client finds it; closing it verifies the log and lists what was captured.

use std::ffi::OsString;

use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::records::Exchange;

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// A base URL of the gateway.
    Reverse,
}

/// Every door.
pub(crate) const DOORS: [Door; 1] = [Door::Reverse];

impl Door {
    /// The word in the names of tests.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
        }
    }

    /// Whether the server is reached over TLS.
    pub(crate) fn tls(self) -> bool {
        match self {
            Self::Reverse => false,
        }
    }

    /// Opens the door to the server at `upstream`.
    pub(crate) fn open(self, upstream: &str) -> Opened {
        match self {
            Self::Reverse => {
                let gateway = Options::default().upstream("up", upstream).start();
                let base = format!("http://{}/up", gateway.address());
                Opened { base, before: Vec::new(), variables: Vec::new(), gateway }
            }
        }
    }
}

/// A door that stands open.
pub(crate) struct Opened {
    /// What the client takes for its server.
    pub(crate) base: String,
    /// The program that the client runs under, with its arguments.
    pub(crate) before: Vec<OsString>,
    /// Variables of the client's environment.
    pub(crate) variables: Vec<(String, String)>,
    gateway: Gateway,
}

impl Opened {
    /// Closes it, verifies the log and lists what was captured.
    pub(crate) fn close(self) -> Vec<Exchange> {
        self.gateway.finish()
    }
}
