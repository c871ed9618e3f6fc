//! Capture: every byte of an exchange into the journal, under its number.
//!
//! In: a routed request, or one that is refused. Out: [`Captured`] or [`Refused`], which only
//! [`Tap`] can make: the request together with the [`Recorder`] that has its number. Fails with
//! [`journal::Down`] where the journal takes nothing, and nothing may then be forwarded. Never
//! touches the disk on the caller's thread, never keeps a secret value.

pub mod connection;
mod heads;
pub mod journal;
pub mod record;
mod recorder;
pub mod secrets;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::crypto::SecureRandom;
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{ClosedReason, Coverage};
pub use sealtap_common::leaf::{End, ErrorCode, Outcome};
use sealtap_common::unit::Ingress;

use self::heads::Heads;
use self::journal::{Down, Journal, Position};
use self::record::{Came, ExchangeKeys, Opened, kind};
pub use self::recorder::{Recorder, Tapped};
use self::secrets::Secrets;
use crate::accept::{Accepted, Client};
use crate::clock::Timeline;
use crate::identify::{By, Identified, Identity, Launch};
use crate::route::{Route, Routed, Upstream};
use crate::wire::message::RequestHead;

/// A request that is in the journal and may be forwarded.
#[derive(Debug)]
pub struct Captured {
    recorder: Recorder,
    request: Accepted,
    route: Route,
}

impl Captured {
    /// The record, the request and where it goes.
    #[must_use]
    pub fn into_parts(self) -> (Recorder, Accepted, Route) {
        (self.recorder, self.request, self.route)
    }
}

/// A request that is in the journal and will be answered by the gateway.
#[derive(Debug)]
pub struct Refused {
    recorder: Recorder,
    request: Accepted,
}

impl Refused {
    /// The record and the request.
    #[must_use]
    pub fn into_parts(self) -> (Recorder, Accepted) {
        (self.recorder, self.request)
    }
}

/// Where exchanges get their numbers.
pub struct Tap {
    journal: Journal,
    timeline: Timeline,
    heads: ArcSwap<Heads>,
    random: &'static dyn SecureRandom,
    strict: bool,
    /// The one run of everything, where the gateway runs for one command.
    launch: Option<Launch>,
}

impl Tap {
    /// A tap into `journal`.
    #[must_use]
    pub fn new(
        journal: Journal,
        timeline: Timeline,
        secrets: Secrets,
        random: &'static dyn SecureRandom,
        strict: bool,
    ) -> Self {
        Self {
            journal,
            timeline,
            heads: ArcSwap::from_pointee(Heads::new(secrets)),
            random,
            strict,
            launch: None,
        }
    }

    /// What is secret of exchanges from now on.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.heads.store(Arc::new(Heads::new(secrets)));
    }

    /// The same tap, where everything belongs to the run of a launch.
    #[must_use]
    pub fn for_launch(self, launch: Option<Launch>) -> Self {
        Self { launch, ..self }
    }

    /// The timeline of this boot.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Gives a routed request its number; `run` is the id of its run.
    ///
    /// # Errors
    ///
    /// [`Down`], with the request handed back to be refused.
    pub fn open(
        &self,
        routed: Routed<Accepted>,
        run: [u8; 16],
    ) -> Result<Captured, Box<(Down, Accepted)>> {
        let (identified, route) = routed.into_parts();
        let (request, identity) = identified.into_parts();
        let way = (Some(&*route.upstream), route.ingress);
        match self.begin(&request, Some(&identity), run, way) {
            Ok(recorder) => Ok(Captured { recorder, request, route }),
            Err(down) => Err(Box::new((down, request))),
        }
    }

    /// Gives a request without a route its number.
    ///
    /// # Errors
    ///
    /// [`Down`], with the request handed back to be refused.
    pub fn refuse(
        &self,
        identified: Identified<Accepted>,
        run: [u8; 16],
    ) -> Result<Refused, Box<(Down, Accepted)>> {
        let (request, identity) = identified.into_parts();
        self.refuse_unidentified(request, Some(&identity), run)
    }

    /// Gives a request whose run could not be found its number.
    ///
    /// # Errors
    ///
    /// [`Down`], with the request handed back to be refused.
    pub fn refuse_unidentified(
        &self,
        request: Accepted,
        identity: Option<&Identity>,
        run: [u8; 16],
    ) -> Result<Refused, Box<(Down, Accepted)>> {
        let begun = self.begin(&request, identity, run, (None, request.ingress()));
        let begun = begun.and_then(|recorder| {
            recorder.requested(request.head(), request.head())?;
            Ok(recorder)
        });
        match begun {
            Ok(recorder) => Ok(Refused { recorder, request }),
            Err(down) => Err(Box::new((down, request))),
        }
    }

    /// Records bytes that were no request: nothing of them is kept but that they came.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn malformed(&self, client: &Client) -> Result<Recorder, Down> {
        let way = (None, Ingress::Reverse);
        self.write((self.timeline.now_us(), client, client.run()), None, way, Bytes::new())
    }

    /// Gives a tunnel that is not captured its number; `head` is the CONNECT that asked for it.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn tunnel(
        &self,
        head: &RequestHead,
        (client, run, started_us): (&Client, [u8; 16], u64),
        identity: &Identity,
        (upstream, ingress): (&Upstream, Ingress),
    ) -> Result<Recorder, Down> {
        let way = (Some(upstream), ingress);
        let authority = Bytes::copy_from_slice(upstream.authority.as_bytes());
        let recorder = self.write((started_us, client, run), Some(identity), way, authority)?;
        recorder.requested(head, head)?;
        Ok(recorder)
    }

    /// Records that a run is over; whether the journal took it.
    pub fn run_ended(&self, run: [u8; 16], reason: ClosedReason) -> bool {
        self.journal.note(kind::RUN_ENDED, &[&record::ending(&run, reason)]).is_ok()
    }

    /// Records what the kernel said; where it stands, if the journal took it.
    pub fn coverage(&self, said: &Coverage) -> Option<Position> {
        self.journal.note(kind::COVERAGE, &[&said.encode().ok()?]).ok()
    }

    /// Waits until what stands there is on disk; whether it is.
    pub async fn kept(&self, position: Position) -> bool {
        self.journal.durable(position).await.is_ok()
    }

    /// Records that a run took over the name of one that is over.
    pub fn run_opened(&self, run: [u8; 16], previous: [u8; 16]) {
        // Where the journal is down no exchange of the new run gets a number either.
        let _ = self.journal.note(kind::RUN_OPENED, &[&run, &previous]);
    }

    fn begin(
        &self,
        request: &Accepted,
        identity: Option<&Identity>,
        run: [u8; 16],
        way: (Option<&Upstream>, Ingress),
    ) -> Result<Recorder, Down> {
        let authority = match way.0 {
            Some(upstream) => Bytes::copy_from_slice(upstream.authority.as_bytes()),
            // Nobody but the gateway itself, by the name it was called.
            None => authority(request.head()),
        };
        self.write((request.started_us(), request.client(), run), identity, way, authority)
    }

    fn write(
        &self,
        (started_us, client, run): (u64, &Client, [u8; 16]),
        identity: Option<&Identity>,
        (upstream, ingress): (Option<&Upstream>, Ingress),
        authority: Bytes,
    ) -> Result<Recorder, Down> {
        let url = upstream.map(Upstream::url);
        let (id, keys) = self.draw();
        let launched = self.launch.as_ref().map(Launch::run);
        let named = launched.as_ref().or(identity.map(|identity| &identity.run));
        let opened = Opened {
            id,
            started_us,
            keys,
            run,
            run_by: named.map_or(By::Connection, |named| named.by).as_str().into(),
            run_name: named.and_then(|named| named.name.as_deref()).map(Into::into),
            client: client.label().into(),
            upstream_name: upstream.map(|upstream| upstream.name.as_str().into()),
            upstream_url: url.as_deref().map(Into::into),
            strict: self.strict,
        };
        let connection = client.connection();
        let bytes = record::opening(&opened, Came { ingress, connection });
        let (ticket, _) = self.journal.begin(kind::OPENED, &[&bytes])?;
        let label = named.and_then(|named| named.name.clone());
        Ok(Recorder::new(
            id,
            label.unwrap_or_else(|| Id(run).to_string()),
            self.journal.clone(),
            ticket,
            self.timeline,
            self.heads.load_full(),
            authority,
        ))
    }

    /// Id and keys of one exchange, drawn at once: each draw costs as much as several hundred bytes
    /// of it.
    fn draw(&self) -> ([u8; 16], ExchangeKeys) {
        let mut drawn = [0; 16 + 8 * 32];
        fill(self.random, &mut drawn);
        let (id, drawn) = drawn.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        let (keys, _) = drawn.as_chunks::<32>();
        let mut keys = keys.iter().copied();
        let mut next = || keys.next().unwrap_or_default();
        let keys = ExchangeKeys {
            request_head: next(),
            request_body: next(),
            request_trailers: next(),
            interim: next(),
            response_head: next(),
            response_body: next(),
            response_trailers: next(),
            context: next(),
        };
        (*id, keys)
    }
}

/// Whom a request without an upstream is for: its `:authority`, else its `Host`.
fn authority(head: &RequestHead) -> Bytes {
    let host = || Bytes::copy_from_slice(head.fields.first("host").unwrap_or_default());
    head.authority.clone().unwrap_or_else(host)
}

/// Makes random ids.
#[must_use]
pub fn random_id(random: &dyn SecureRandom) -> [u8; 16] {
    let mut id = [0; 16];
    fill(random, &mut id);
    id
}

fn fill(random: &dyn SecureRandom, bytes: &mut [u8]) {
    // aws-lc draws from a generator in the process; it fails only where the machine has no
    // entropy at all, where TLS and the keys of this gateway would have failed before.
    if random.fill(bytes).is_err() {
        let _ = getrandom::fill(bytes);
    }
}
