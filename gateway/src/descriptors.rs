//! Open files: how many of what the process may open go to whom.
//!
//! In: the system's limit, and how many clients the configuration wants. Out: how many sockets there
//! may be to clients and to upstreams. What is left is the gateway's own: clients decide how many
//! sockets they make it open, and must not bring it to where the journal cannot begin a file.

use rustix::process::{Resource, getrlimit};

/// Descriptors left for journal, store, log and what else the process opens.
const OWN: usize = 256;

/// Sockets that each side has at least, however low the limit.
const LEAST: usize = 16;

/// How many sockets there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// To clients.
    pub clients: usize,
    /// To upstreams.
    pub upstreams: usize,
}

impl Sockets {
    /// What this process may open now, with as many clients as `said`, or half.
    #[must_use]
    pub fn of_process(said: Option<u32>) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        Self::within(limit, said.and_then(|said| usize::try_from(said).ok()))
    }

    /// One HTTP/2 client makes many sockets to HTTP/1 upstreams, so that neither side's number
    /// follows from the other's.
    fn within(limit: usize, said: Option<usize>) -> Self {
        let free = limit.saturating_sub(OWN.min(limit / 2));
        let clients = said.unwrap_or(free / 2).min(free.saturating_sub(LEAST));
        let clients = clients.max(said.unwrap_or(LEAST).min(LEAST));
        Self { clients, upstreams: free.saturating_sub(clients).max(LEAST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_together_leave_the_gateway_its_own() {
        let within = |limit, said| {
            let Sockets { clients, upstreams } = Sockets::within(limit, said);
            (clients, upstreams)
        };
        assert_eq!(within(1_024, None), (384, 384));
        assert_eq!(within(1_024, Some(1)), (1, 767));
        // More than there is room for.
        assert_eq!(within(1_024, Some(10_000)), (752, 16));
        assert_eq!(within(256, None), (64, 64));
        assert_eq!(within(20, None), (16, 16));
        for limit in (64..5_000).step_by(7) {
            for said in [None, Some(1), Some(100), Some(10_000)] {
                let (clients, upstreams) = within(limit, said);
                assert!(clients + upstreams <= limit - OWN.min(limit / 2), "{limit} {said:?}");
                assert!(clients > 0 && upstreams >= LEAST, "{limit} {said:?}");
            }
        }
    }
}
