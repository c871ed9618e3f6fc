//! The journey of an exchange: the one file that joins all stages.
//!
//! ```text
//! accept ▶ identify ▶ route ▶ capture ▶ forward ──▶ the client's connection again
//!             │          │        │
//!             └──────────┴────────┴▶ refused: recorded, answered, sealed all the same
//! ```
//!
//! Each stage takes what only the stage before it can make. What was captured reaches `seal` and
//! `store` through the journal, behind the traffic's back.

mod settings;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::crypto::SecureRandom;
use sealtap_common::leaf::ClosedReason;

pub use self::settings::{Settings, SettingsError};
pub use self::tunnel::Asked;
use crate::accept::{Accepted, Client, Door, Minter, Reply};
use crate::capture::journal::Down;
use crate::capture::{ErrorCode, Refused, Tap, random_id};
use crate::forward::answer::Answer;
use crate::forward::{
    Forwarded, Rest, Summary, forward, own, refuse, refuse_malformed, refuse_unseen, turn_away,
};
use crate::identify::{self, Held, Runs, Told};
use crate::route::{RouteError, Routed};
use crate::serve::observe::{Observe, Row};
use crate::wire::source::Source;

/// Bounds of the time between two looks for idle runs.
const SWEEP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// What every exchange passes through.
pub struct Journey {
    /// What a reload can change; taken once by each exchange.
    pub settings: ArcSwap<Settings>,
    /// Requests become records.
    pub tap: Tap,
    /// Names of runs become ids.
    pub runs: Runs,
    /// The id of the one run of everything, where the gateway runs for one command.
    pub launch: Option<[u8; 16]>,
    /// Where random ids come from.
    pub random: &'static dyn SecureRandom,
    /// Counts, and answers for the gateway itself.
    pub observe: Arc<Observe>,
    /// Speaks TLS in the name of captured hosts.
    pub minter: Minter,
    /// Told of each exchange that is over.
    pub report: Box<dyn Fn(Summary) + Send + Sync>,
}

impl Journey {
    /// Takes one request to its end, and gives back what is left of its connection.
    pub async fn travel(&self, accepted: Accepted) -> Rest {
        let head = accepted.head();
        let client = Arc::clone(accepted.client());
        let front = matches!(client.door(), Door::Front);
        if let Some(page) = self.observe.own_page(&head.method, &head.target).filter(|_| front) {
            return own(accepted, page).await;
        }
        let _open = self.observe.traffic().begin();
        let own_run = client.run();
        let settings = self.settings();
        let proxied = settings.rules.enabled() && settings.table.is_forward(&head.target);
        let own_target = front && !proxied;
        let identified = match own_target {
            true => identify::stage(accepted),
            false => identify::stage_beside(accepted),
        };
        let identified = match identified {
            Ok(identified) => identified,
            Err((error, request)) => {
                let answer =
                    Answer::new(error.status(), ErrorCode::MalformedRequest, error.to_string());
                let refused = self.tap.refuse_unidentified(request, None, own_run);
                return self.refuse(refused, answer).await;
            }
        };
        let identified = match client.door() {
            Door::Opened { named: Some(named), .. } => identified.or_named(named),
            _ => identified,
        };
        let named = identified.identity().run.name.as_deref();
        // Held until the exchange is over, so that its run does not end before it.
        let held = named.map(|name| self.runs.enter(name, self, || self.new_run()));
        let run = held.as_ref().map_or(own_run, Held::id);
        let routed = match client.door() {
            Door::Opened { upstream, ingress, .. } => {
                Routed::through(identified, upstream, *ingress)
            }
            Door::Front if proxied => settings.table.forward(&settings.rules, identified),
            Door::Front => settings.table.route(identified),
        };
        let routed = match routed {
            Ok(routed) => routed,
            Err((error, identified)) => {
                let refused = self.tap.refuse(identified, run);
                return self.refuse(refused, routeless(&error)).await;
            }
        };
        let row = self.observe.traffic().row(Some(&routed.upstream().name));
        let forwarded = match self.tap.open(routed, run) {
            Ok(captured) => forward(&settings.forwarder, captured).await,
            Err(down) => turn_away(down).await,
        };
        self.arrive(forwarded, &row)
    }

    /// Records and answers bytes that were no request.
    pub async fn malformed(
        &self,
        client: &Arc<Client>,
        answer: Answer,
        reply: Reply,
        body: Source,
    ) -> Rest {
        let _open = self.observe.traffic().begin();
        let recorder = self.tap.malformed(client);
        let row = self.observe.traffic().row(None);
        self.arrive(refuse_malformed(recorder, reply, body, answer).await, &row)
    }

    /// Records a request that the HTTP/2 library refused before anybody saw it: with a reset, or
    /// where it was `too_large` with a 431.
    pub fn refused_unseen(&self, client: &Arc<Client>, too_large: bool) {
        // Where the journal is down, it has counted the refusal.
        if let Ok(recorder) = self.tap.malformed(client) {
            let summary = refuse_unseen(recorder, too_large);
            let traffic = self.observe.traffic();
            traffic.end(&traffic.row(None), &summary);
            (self.report)(summary);
        }
    }

    /// Records that a client's connection is over.
    pub fn connection_ended(&self, run: [u8; 16]) {
        if self.launch.is_some() {
            return;
        }
        // Where the journal is down the run is closed when the gateway stops.
        self.tap.run_ended(run, ClosedReason::ConnectionEnded);
    }

    /// Ends named runs that had no open exchange for `idle`, again and again.
    pub async fn end_idle_runs(&self, idle: Duration) {
        let mut ticks = tokio::time::interval((idle / 4).clamp(SWEEP.0, SWEEP.1));
        loop {
            ticks.tick().await;
            self.runs.sweep(self, idle);
        }
    }

    /// A new run's id; where there is one run of everything, that one's.
    #[must_use]
    pub fn new_run(&self) -> [u8; 16] {
        self.launch.unwrap_or_else(|| random_id(self.random))
    }

    /// The settings that count now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Now, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.tap.timeline().now_us()
    }

    async fn refuse(
        &self,
        refused: Result<Refused, Box<(Down, Accepted)>>,
        answer: Answer,
    ) -> Rest {
        let forwarded = match refused {
            Ok(refused) => refuse(refused, answer).await,
            Err(down) => turn_away(down).await,
        };
        self.arrive(forwarded, &self.observe.traffic().row(None))
    }

    fn arrive(&self, forwarded: Forwarded, row: &Row) -> Rest {
        let (rest, summary) = forwarded.into_parts();
        self.observe.traffic().end(row, &summary);
        summary.tell();
        (self.report)(summary);
        rest
    }
}

impl Told for Journey {
    fn run_opened(&self, id: [u8; 16], previous: [u8; 16]) {
        self.tap.run_opened(id, previous);
    }

    fn run_ended(&self, id: [u8; 16], reason: ClosedReason) -> bool {
        self.tap.run_ended(id, reason)
    }
}

fn routeless(error: &RouteError) -> Answer {
    let code = ErrorCode::parse(error.code()).unwrap_or(ErrorCode::UnknownUpstream);
    let mut answer = Answer::new(error.status(), code, error.to_string());
    if let RouteError::UnknownUpstream { known, .. } = error {
        answer.details.push(("upstreams", known.iter().map(String::as_str).collect()));
    }
    answer
}

/// A method that could not be read.
pub(crate) const NO_METHOD: Bytes = Bytes::from_static(b"-");
