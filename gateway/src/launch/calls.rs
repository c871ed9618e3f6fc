//! What passed while the command ran, counted as it ended.
//!
//! In: a [`Summary`] per exchange, from traffic. Out: counts by upstream, refusals by reason, and the
//! ids of the first exchanges, to be looked at afterwards. Bounded, however many calls there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sealtap_common::leaf::{Outcome, alert_name};

use crate::forward::Summary;

/// Upstreams and reasons that are told apart; further ones are counted together.
const KINDS: usize = 200;

/// Exchanges whose bodies are looked at for the names of models.
const LOOKED_AT: usize = 500;

/// The name under which further ones are counted.
const OTHERS: &str = "others";

/// What passed, shared with the traffic.
#[derive(Default)]
pub(super) struct Calls(Mutex<Counted>);

/// What was counted.
#[derive(Clone, Default)]
pub(super) struct Counted {
    /// By the upstream's origin.
    pub(super) upstreams: BTreeMap<String, Passed>,
    /// Tunnels that were passed on unread, by where they led and why.
    pub(super) opaque: BTreeMap<String, Unread>,
    /// Requests that went nowhere, by the registered error.
    pub(super) refused: BTreeMap<String, u64>,
    /// The first exchanges with an upstream: their ids, and its origin.
    pub(super) first: Vec<([u8; 16], String)>,
}

/// The exchanges with one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// How many.
    pub(super) calls: u64,
    /// Those without a whole answer, or with one of status 400 or more.
    pub(super) failed: u64,
    /// Bytes of request bodies.
    pub(super) sent: u64,
    /// Bytes of response bodies.
    pub(super) received: u64,
}

/// Tunnels that were passed on unread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread {
    /// How many.
    pub(super) tunnels: u64,
    /// Why, in the format's words, with the alert of a client that refused the certificate.
    pub(super) why: String,
    /// Bytes from the command.
    pub(super) sent: u64,
    /// Bytes to it.
    pub(super) received: u64,
}

impl Calls {
    /// Counts one exchange that is over.
    pub(super) fn add(&self, summary: &Summary) {
        let mut counted = self.lock();
        if let Some(tunnel) = &summary.tunnel {
            let key = room(&counted.opaque, &summary.url);
            let unread = counted.opaque.entry(key).or_default();
            unread.tunnels += 1;
            unread.sent += tunnel.from_client;
            unread.received += tunnel.to_client;
            unread.why = match tunnel.alert {
                Some(alert) => format!("{} ({})", tunnel.reason.as_str(), alert_name(alert)),
                None => tunnel.reason.as_str().to_owned(),
            };
            return;
        }
        if summary.outcome == Outcome::Refused {
            let why = summary.error.map_or("refused", |error| error.as_str());
            let key = room(&counted.refused, why);
            *counted.refused.entry(key).or_default() += 1;
            return;
        }
        let origin = origin(&summary.url);
        if summary.recorded && counted.first.len() < LOOKED_AT {
            counted.first.push((summary.id, origin.to_owned()));
        }
        let key = room(&counted.upstreams, origin);
        let passed = counted.upstreams.entry(key).or_default();
        let good = summary.status.is_some_and(|status| status < 400);
        passed.calls += 1;
        passed.failed += u64::from(!good || summary.outcome != Outcome::Complete);
        passed.sent += summary.request_bytes;
        passed.received += summary.response_bytes;
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Exchanges with upstreams.
    pub(super) fn total(&self) -> u64 {
        self.upstreams.values().map(|passed| passed.calls).sum()
    }
}

/// The key to count `name` under, so that nobody who makes up names makes the table grow.
fn room<T>(map: &BTreeMap<String, T>, name: &str) -> String {
    let known = map.len() < KINDS || map.contains_key(name);
    if known { name } else { OTHERS }.to_owned()
}

/// Scheme and authority of a URL; of a target without them, the target.
fn origin(url: &str) -> &str {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let authority = rest.split('/').next().unwrap_or_default();
    url.get(..scheme.len() + "://".len() + authority.len()).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use sealtap_common::leaf::{Tunnel, TunnelReason};
    use sealtap_common::unit::Ingress;

    use super::*;

    fn summary(url: &str, status: u16, outcome: Outcome) -> Summary {
        Summary {
            id: [1; 16],
            number: 1,
            method: "POST".to_owned(),
            run: "r".to_owned(),
            url: url.to_owned(),
            status: Some(status),
            ingress: Ingress::Reverse,
            outcome,
            error: None,
            request_bytes: 10,
            response_bytes: 20,
            started_us: 1,
            duration_us: 1,
            ttfb_us: None,
            recorded: true,
            tunnel: None,
        }
    }

    #[test]
    fn exchanges_are_counted_by_upstream() {
        let calls = Calls::default();
        calls.add(&summary("https://a.example/v1/chat", 200, Outcome::Complete));
        calls.add(&summary("https://a.example/v1/chat", 429, Outcome::Complete));
        calls.add(&summary("https://a.example", 200, Outcome::UpstreamFailed));
        calls.add(&summary("/nope", 404, Outcome::Refused));
        let counted = calls.counted();
        let passed = Passed { calls: 3, failed: 2, sent: 30, received: 60 };
        assert_eq!(counted.upstreams, [("https://a.example".to_owned(), passed)].into());
        assert_eq!(counted.refused, [("refused".to_owned(), 1)].into());
        assert_eq!((counted.total(), counted.first.len()), (3, 3));
    }

    #[test]
    fn tunnels_that_were_not_read_are_told_apart() {
        let calls = Calls::default();
        let (alert, reason) = (Some(48), TunnelReason::ClientRejected);
        let tunnel = Some(Tunnel { alert, from_client: 5, reason, to_client: 7 });
        let opaque = summary("a.example:443", 200, Outcome::ClientCancelled);
        calls.add(&Summary { tunnel, ..opaque });
        let counted = calls.counted();
        let why = "client_rejected (unknown_ca)".to_owned();
        let unread = Unread { tunnels: 1, why, sent: 5, received: 7 };
        assert_eq!(counted.opaque, [("a.example:443".to_owned(), unread)].into());
        assert_eq!(counted.total(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let calls = Calls::default();
        for n in 0..2_000 {
            calls.add(&summary(&format!("http://{n}.example/"), 200, Outcome::Complete));
        }
        let counted = calls.counted();
        assert_eq!((counted.total(), counted.first.len()), (2_000, LOOKED_AT));
        assert!(counted.upstreams.len() <= KINDS + 1 && counted.upstreams.contains_key(OTHERS));
    }
}
