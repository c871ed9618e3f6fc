//! What `accept` hands on: one request, its body, and the place where its answer goes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use sealtap_common::unit::Ingress;

use super::door::Carrier;
use crate::identify::RunName;
use crate::route::{Upstream, absolute};
use crate::wire::message::{RequestHead, Version};
use crate::wire::sink::ByteSink;
use crate::wire::source::Source;
use crate::wire::stream::Writer;

/// A client's connection, shared by the requests that come over it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    /// The address as records have it.
    label: String,
    run: [u8; 16],
    door: Door,
    /// The connection, where the kernel led it here: it is over when the last of its requests is.
    led: Option<Arc<Carrier>>,
}

/// By which way requests of a connection came.
#[derive(Clone, Debug)]
pub enum Door {
    /// To the listener itself: reverse mode, or the forward proxy.
    Front,
    /// Through a tunnel to this upstream, which was opened, or by the kernel on the way to it; `named`
    /// is what the CONNECT said of the run.
    Opened {
        /// Where its requests go.
        upstream: Arc<Upstream>,
        /// The run that the CONNECT named.
        named: Option<RunName>,
        /// Whether the tunnel was asked for, or the kernel led the connection here.
        ingress: Ingress,
    },
}

impl Client {
    /// One at `address`, whose connection stands for `run`.
    #[must_use]
    pub fn new(address: SocketAddr, run: [u8; 16], door: Door) -> Self {
        Self { address, label: address.to_string(), run, door, led: None }
    }

    /// The same, led here by the kernel.
    pub(super) fn led(self, led: Option<Arc<Carrier>>) -> Self {
        Self { led, ..self }
    }

    /// The same client by another door.
    pub(super) fn through(&self, door: Door) -> Self {
        let (label, led) = (self.label.clone(), self.led.clone());
        Self { address: self.address, label, run: self.run, door, led }
    }

    /// The id of the connection, where the kernel led it here.
    #[must_use]
    pub fn connection(&self) -> Option<[u8; 16]> {
        self.led.as_ref().map(|led| led.id())
    }

    /// The client's address as text.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// By which way its requests come.
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The run that the connection stands for where nothing names one.
    #[must_use]
    pub fn run(&self) -> [u8; 16] {
        self.run
    }
}

/// How much body a request brings, as far as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// None at all.
    None,
    /// Exactly so many bytes.
    Exactly(u64),
    /// Whatever comes until its end.
    Unknown,
}

/// A request whose head is complete; only `accept` makes one.
#[derive(Debug)]
pub struct Accepted {
    pub(super) head: RequestHead,
    pub(super) length: BodyLength,
    pub(super) body: Source,
    pub(super) reply: Reply,
    pub(super) client: Arc<Client>,
    pub(super) upgrade: bool,
    pub(super) started_us: u64,
}

impl Accepted {
    /// The head as received.
    #[must_use]
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// How the request came, as far as it says so itself.
    #[must_use]
    pub fn ingress(&self) -> Ingress {
        match self.client.door {
            Door::Opened { ingress, .. } => ingress,
            Door::Front if &*self.head.method == b"CONNECT" => Ingress::Connect,
            Door::Front if absolute(&self.head.target).is_some() => Ingress::Forward,
            Door::Front => Ingress::Reverse,
        }
    }

    /// How much body there is.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// The client's connection.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether the client asks for another protocol on this connection.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.upgrade
    }

    /// When the head was complete, in microseconds since the Unix epoch.
    #[must_use]
    pub fn started_us(&self) -> u64 {
        self.started_us
    }

    /// The body and the place for the answer.
    #[must_use]
    pub fn into_streams(self) -> (Source, Reply) {
        (self.body, self.reply)
    }
}

impl crate::identify::Accepted for Accepted {
    fn head(&self) -> &RequestHead {
        &self.head
    }
}

/// Where an answer goes.
#[derive(Debug)]
pub enum Reply {
    /// Over HTTP/1.
    Http1(ByteReply),
    /// Over HTTP/2.
    Http2(SendResponse<Bytes>),
}

impl Reply {
    /// The version the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::Http1(reply) => reply.version,
            Self::Http2(_) => Version::Http2,
        }
    }
}

/// The sending side of a client's HTTP/1 connection, before its answer.
#[derive(Debug)]
pub struct ByteReply {
    pub(super) sink: ByteSink,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
}

impl ByteReply {
    pub(super) fn new(writer: Writer, version: Version, keep_alive: bool) -> Self {
        let sink = ByteSink::new(writer, Vec::new(), crate::wire::sink::Framing::Bodiless);
        Self { sink, version, keep_alive }
    }

    /// Whether the client lets the connection live on after the answer.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The sink to write the answer to.
    #[must_use]
    pub fn into_sink(self) -> ByteSink {
        self.sink
    }

    /// The sink, for interim answers.
    pub fn sink_mut(&mut self) -> &mut ByteSink {
        &mut self.sink
    }
}
