//! The journey of a CONNECT: who may have a tunnel where, and the record of one that stays unread.
//!
//! A tunnel that is opened has no record of its own: the requests in it have. One that is refused is
//! recorded as any refused request, one that is passed on unread or that its client would not have
//! opened as opaque, under a number that is on disk before anything goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sealtap_common::leaf::{ErrorCode, Outcome, TunnelReason};
use sealtap_common::unit::Ingress;

use super::{Journey, Settings, routeless};
use crate::accept::{Accepted, BodyLength, Client, Reply};
use crate::forward::answer::Answer;
use crate::forward::connect::{ConnectError, Dialled};
use crate::forward::{Look, Opaque, Rest, Side, Summary, opaque};
use crate::identify::{self, By, Held, Identified, Identity, RunName};
use crate::route::{Destination, Fate, Protocol, RouteError, Scheme, Upstream};
use crate::wire::message::{Fields, RequestHead, Version};
use crate::wire::source::Source;

/// A CONNECT that may have its tunnel.
pub struct Asked {
    head: RequestHead,
    started_us: u64,
    client: Arc<Client>,
    identity: Identity,
    /// Where it leads.
    pub destination: Destination,
    /// What becomes of what is in it, as far as the destination says.
    pub fate: Fate,
    /// The destination as it is dialled.
    pub upstream: Arc<Upstream>,
    /// What counted when it was asked for.
    pub settings: Arc<Settings>,
    /// The connection to it; none where it was reached not long ago.
    pub dialled: Option<Dialled>,
    /// Whether it was asked for, or the kernel led the connection here.
    pub ingress: Ingress,
}

impl Asked {
    /// The connection of the client that asked.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The run that the CONNECT named.
    #[must_use]
    pub fn named(&self) -> Option<RunName> {
        let run = &self.identity.run;
        run.name.is_some().then(|| run.clone())
    }
}

/// A CONNECT that may have its tunnel, and its connection.
type Granted = Box<(Asked, Source, Reply)>;

impl Journey {
    /// Decides whether a CONNECT may have its tunnel, and connects to where it leads.
    ///
    /// # Errors
    ///
    /// What is left of the connection once it was refused, and the refusal recorded.
    pub async fn ask(&self, accepted: Accepted) -> Result<Granted, Rest> {
        let own_run = accepted.client().run();
        let identified = match identify::stage_beside(accepted) {
            Ok(identified) => identified,
            Err((error, request)) => {
                let answer =
                    Answer::new(error.status(), ErrorCode::MalformedRequest, error.to_string());
                let refused = self.tap.refuse_unidentified(request, None, own_run);
                return Err(self.refuse(refused, answer).await);
            }
        };
        let settings = self.settings();
        match destination(&settings, identified.request()).await {
            Ok((destination, fate, upstream, dialled)) => {
                let (accepted, identity) = identified.into_parts();
                let (head, started_us) = (accepted.head().clone(), accepted.started_us());
                let client = Arc::clone(accepted.client());
                let (body, reply) = accepted.into_streams();
                let asked = Asked {
                    head,
                    started_us,
                    client,
                    identity,
                    destination,
                    fate,
                    upstream,
                    settings,
                    dialled,
                    ingress: Ingress::Connect,
                };
                Ok(Box::new((asked, body, reply)))
            }
            Err(answer) => Err(self.decline(identified, answer).await),
        }
    }

    /// Decides what becomes of a connection that the kernel led here on its way to `address`, and
    /// connects to there. None where that is not to be had; it is then recorded, and the client sees
    /// its connection fall, since to it it stands already.
    pub async fn ask_redirected(
        &self,
        client: &Arc<Client>,
        address: SocketAddr,
    ) -> Option<Box<Asked>> {
        let settings = self.settings();
        let destination = Destination { host: address.ip().to_string(), port: address.port() };
        let fate = settings.table.fate(&settings.rules, &destination.host, destination.port);
        let upstream = upstream(&settings, &destination);
        let mut asked = Asked {
            head: stands_for(&destination),
            started_us: self.now_us(),
            client: Arc::clone(client),
            identity: Identity { run: RunName { by: By::Connection, name: None }, named_at: 0..0 },
            destination,
            fate,
            upstream,
            settings,
            dialled: None,
            ingress: Ingress::Transparent,
        };
        let found = match asked.fate {
            // The address says little: a name may follow that is captured, and nothing goes there before.
            Fate::Refuse => Ok(None),
            fate => match reach(&asked.settings, &asked.destination, fate, &asked.upstream).await {
                Ok(dialled) => Ok(dialled),
                Err(error) => Err(Answer::unreachable(&error).code),
            },
        };
        match found {
            Ok(dialled) => {
                asked.dialled = dialled;
                Some(Box::new(asked))
            }
            Err(code) => {
                self.fell(&asked, code);
                None
            }
        }
    }

    /// Records a connection that the kernel led here and that leads nowhere.
    fn fell(&self, asked: &Asked, code: ErrorCode) {
        let _open = self.observe.traffic().begin();
        let begun = self.tunnel(asked, asked.client.run()).and_then(|recorder| {
            Opaque::begin(recorder, TunnelReason::NotListed, None, None, Version::Http11)
        });
        if let Ok(begun) = begun {
            self.tell(begun.close(Outcome::UpstreamFailed, Some(code), self.summary(asked)));
        }
    }

    async fn decline(&self, identified: Identified<Accepted>, answer: Answer) -> Rest {
        let own_run = identified.request().client().run();
        let named = identified.identity().run.name.as_deref();
        let held = named.map(|name| self.runs.enter(name, self, || self.new_run()));
        let run = held.as_ref().map_or(own_run, Held::id);
        self.refuse(self.tap.refuse(identified, run), answer).await
    }

    /// Passes on what is in a tunnel, unread, under a number of its own. `leads_to` is the address it
    /// leads to, and what TLS is spoken there where that was opened.
    pub async fn pass_unread(
        &self,
        asked: &Asked,
        reason: TunnelReason,
        leads_to: (String, Option<String>),
        (client, server): (Side, Side),
        look: Option<Box<dyn Look>>,
    ) {
        let _open = self.observe.traffic().begin();
        let held = self.held(asked);
        let run = held.as_ref().map_or(asked.client.run(), Held::id);
        let (address, tls) = &leads_to;
        let begun = self.tunnel(asked, run).and_then(|recorder| {
            let leads_to = Some((address.as_str(), tls.as_deref()));
            Opaque::begin(recorder, reason, None, leads_to, asked.head.version)
        });
        match begun {
            Ok(begun) => {
                let summary = opaque(begun, client, server, look, self.summary(asked)).await;
                self.tell(summary);
            }
            // Nothing goes on that cannot be recorded; the journal has counted it.
            Err(_) => client.writer.ground().reset(),
        }
    }

    /// Records that the client would not speak TLS with the gateway, and which alert it sent.
    pub async fn rejected(&self, asked: &Asked, alert: Option<u8>) {
        let end = (Outcome::ClientCancelled, Some(ErrorCode::ClientTls));
        self.nothing_passed(asked, (TunnelReason::ClientRejected, alert), end);
    }

    /// Records that a tunnel which would have passed unread for `reason` ended before anything went
    /// on, and how.
    pub fn cut_short(
        &self,
        asked: &Asked,
        reason: TunnelReason,
        end: (Outcome, Option<ErrorCode>),
    ) {
        self.nothing_passed(asked, (reason, None), end);
    }

    fn nothing_passed(
        &self,
        asked: &Asked,
        (reason, alert): (TunnelReason, Option<u8>),
        (outcome, error): (Outcome, Option<ErrorCode>),
    ) {
        let held = self.held(asked);
        let run = held.as_ref().map_or(asked.client.run(), Held::id);
        let begun = self
            .tunnel(asked, run)
            .and_then(|recorder| Opaque::begin(recorder, reason, alert, None, asked.head.version));
        if let Ok(begun) = begun {
            self.tell(begun.close(outcome, error, self.summary(asked)));
        }
    }

    /// Records a tunnel that was opened and in which nothing came before its client left.
    pub async fn unused(&self, asked: &Asked, outcome: Outcome) {
        let held = self.held(asked);
        let run = held.as_ref().map_or(asked.client.run(), Held::id);
        let begun = self.tunnel(asked, run).and_then(|recorder| {
            let version = asked.head.version;
            Opaque::begin(recorder, TunnelReason::NotHttp, None, None, version)
        });
        if let Ok(begun) = begun {
            self.tell(begun.close(outcome, None, self.summary(asked)));
        }
    }

    fn held(&self, asked: &Asked) -> Option<Held<'_>> {
        let named = asked.identity.run.name.as_deref();
        named.map(|name| self.runs.enter(name, self, || self.new_run()))
    }

    fn tunnel(
        &self,
        asked: &Asked,
        run: [u8; 16],
    ) -> Result<crate::capture::Recorder, crate::capture::journal::Down> {
        let who = (&*asked.client, run, asked.started_us);
        let way = (&*asked.upstream, asked.ingress);
        self.tap.tunnel(&asked.head, who, &asked.identity, way)
    }

    fn summary(&self, asked: &Asked) -> Summary {
        Summary::tunnel(asked.destination.authority(), asked.started_us, asked.ingress)
    }

    fn tell(&self, summary: Summary) {
        let traffic = self.observe.traffic();
        traffic.end(&traffic.row(None), &summary);
        (self.report)(summary);
    }
}

/// Where a CONNECT leads, what becomes of what is in it, and the connection there.
async fn destination(
    settings: &Settings,
    accepted: &Accepted,
) -> Result<(Destination, Fate, Arc<Upstream>, Option<Dialled>), Answer> {
    let head = accepted.head();
    let rules = &settings.rules;
    rules.admit(&head.fields).map_err(|error| routeless(&error))?;
    if accepted.length() != BodyLength::None {
        let message = "a CONNECT has no body: what follows it is what the tunnel carries";
        return Err(Answer::new(400, ErrorCode::MalformedRequest, message));
    }
    let destination = Destination::parse(&head.target, None);
    let destination = destination.ok_or_else(|| routeless(&RouteError::Form))?;
    let fate = settings.table.fate(rules, &destination.host, destination.port);
    if fate == Fate::Refuse {
        let authority = destination.authority();
        return Err(routeless(&RouteError::NotListed { authority }));
    }
    let upstream = upstream(settings, &destination);
    let dialled = reach(settings, &destination, fate, &upstream).await;
    let dialled = dialled.map_err(|error| Answer::unreachable(&error))?;
    // `127.1`, or a name of it, is the same host: what is dialled counts, not how it was spelled.
    let fate = match &dialled {
        Some(Dialled { address, .. }) if fate == Fate::Tunnel => {
            let ip = address.ip().to_canonical().to_string();
            settings.table.fate(rules, &ip, address.port())
        }
        _ => fate,
    };
    Ok((destination, fate, upstream, dialled))
}

/// A destination as it is dialled.
fn upstream(settings: &Settings, destination: &Destination) -> Arc<Upstream> {
    let upstream = settings.table.at(Scheme::Https, destination, None, Protocol::Auto);
    let authority = destination.authority();
    Arc::new(Upstream { name: authority.clone(), authority, ..upstream })
}

/// The connection to a destination; none where it is captured and was reached not long ago.
async fn reach(
    settings: &Settings,
    destination: &Destination,
    fate: Fate,
    upstream: &Upstream,
) -> Result<Option<Dialled>, ConnectError> {
    let known = settings.forwarder.knows(&destination.host, destination.port);
    match fate == Fate::Capture && known {
        true => Ok(None),
        false => Ok(Some(settings.forwarder.dial(upstream).await?)),
    }
}

/// The request that stands for a connection which nobody asked for in words.
fn stands_for(destination: &Destination) -> RequestHead {
    RequestHead {
        method: Bytes::from_static(b"CONNECT"),
        target: destination.authority().into(),
        scheme: None,
        authority: None,
        version: Version::Http11,
        fields: Fields::default(),
    }
}
