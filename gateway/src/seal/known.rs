//! What the first record of an exchange said, kept until its leaf is made.

use std::borrow::Cow;

use sealtap_common::leaf::Policy;
use sealtap_common::unit::RunNamedBy;

use crate::capture::record::{Came, ExchangeKeys, Opened};

/// What the first record said.
pub(super) struct Known {
    pub(super) id: [u8; 16],
    pub(super) started_us: u64,
    pub(super) keys: ExchangeKeys,
    pub(super) run: [u8; 16],
    pub(super) run_by: RunNamedBy,
    pub(super) run_name: Option<String>,
    pub(super) client: String,
    pub(super) upstream_name: Option<String>,
    pub(super) upstream_url: Option<String>,
    pub(super) policy: Policy,
    pub(super) came: Came,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        formatter
            .debug_struct("Known")
            .field("started_us", &self.started_us)
            .finish_non_exhaustive()
    }
}

impl Known {
    /// What `opened` says of an exchange that came so.
    pub(super) fn of(opened: &Opened<'_>, came: Came) -> Self {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        Self {
            id: opened.id,
            started_us: opened.started_us,
            keys: opened.keys.clone(),
            run: opened.run,
            run_by: RunNamedBy::parse(&opened.run_by).unwrap_or(RunNamedBy::Connection),
            run_name: owned(&opened.run_name),
            client: opened.client.clone().into_owned(),
            upstream_name: owned(&opened.upstream_name),
            upstream_url: owned(&opened.upstream_url),
            policy: if opened.strict { Policy::Strict } else { Policy::Relaxed },
            came,
        }
    }
}
