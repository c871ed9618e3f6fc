//! The registered words of leaves. Every list is closed: another word is not a leaf of version 1.

use crate::words::words;

words! {
    /// The kinds of leaves that are checked.
    Kind {
        /// An exchange that was forwarded.
        Exchange = "exchange",
        /// An exchange that the gateway answered itself.
        Refused = "refused",
        /// An exchange that a crash cut off.
        Interrupted = "interrupted",
        /// The start of a boot.
        Restart = "restart",
        /// What is open.
        Heartbeat = "heartbeat",
        /// A time without capture.
        Gap = "gap",
        /// A log taken over without its lock.
        Adopted = "adopted",
        /// What is no longer held of exchanges that were sealed before.
        Retention = "retention",
        /// What open exchanges have shown so far.
        Progress = "progress",
        /// One key took the place of another.
        KeyChange = "key-change",
        /// A run that goes on under a name another run had.
        RunOpened = "run-opened",
        /// A run that is over.
        RunClosed = "run-closed",
        /// A signed record of a run.
        RunRecord = "run-record",
        /// A tunnel whose content was not captured.
        Opaque = "opaque",
        /// The kernel begins to watch.
        CoverageArmed = "coverage-armed",
        /// What the kernel has seen so far.
        CoverageHeartbeat = "coverage-heartbeat",
        /// The kernel watches no more.
        CoverageClosed = "coverage-closed",
        /// A probe tried each way out.
        CoverageCanary = "coverage-canary",
        /// A connection that the kernel led to the gateway, and what it carried.
        Connection = "connection",
        /// Something that went around the gateway.
        Bypass = "bypass",
        /// Names that were asked for at the configured resolver.
        DnsQueries = "dns-queries",
    }
}

words! {
    /// A way by which traffic can leave a watched program.
    Channel {
        /// TCP, over either family, however it is begun.
        Tcp = "tcp",
        /// UDP, connected or not.
        Udp = "udp",
        /// Queries for names at the configured resolver.
        Names = "names",
        /// Raw sockets.
        Raw = "raw",
        /// Frames below the socket: packet sockets and the like. Those on the loopback device are not seen.
        Packet = "packet",
        /// Sockets of virtual machines, and of every other family for which there is no program: Bluetooth, RDS,
        /// TIPC, SMC and the like. What the kernel connects by TCP for them is among it.
        Vsock = "vsock",
        /// A helper on the same machine that is reached without IP, or the kernel itself: a network's file system, a
        /// disk over the network.
        Helper = "helper",
        /// Sockets in another network namespace.
        Namespace = "namespace",
        /// Connections that were made before the coverage began.
        Older = "older",
        /// Sockets that a task makes once it has left what is watched.
        Moved = "moved",
    }
}

words! {
    /// What is known of a channel.
    ChannelState {
        /// A hook redirects or denies all of it.
        ClosedByHook = "closed_by_hook",
        /// What starts the program denies it.
        DeniedByLaunchPolicy = "denied_by_launch_policy",
        /// A probe tried it and was stopped.
        CanaryTested = "canary_tested",
        /// It is counted and told of, and goes on.
        ObservedOnly = "observed_only",
        /// Nothing is known of it.
        NotCovered = "not_covered",
    }
}

words! {
    /// What is done with what cannot be redirected.
    CoverageMode {
        /// It is counted and let go.
        Observe = "observe",
        /// It is counted and denied.
        Enforce = "enforce",
    }
}

words! {
    /// A program of the kernel.
    KernelProgram {
        /// Connections over IPv4.
        Connect4 = "connect4",
        /// Connections over IPv6.
        Connect6 = "connect6",
        /// Unconnected sends over IPv4.
        Sendmsg4 = "sendmsg4",
        /// Unconnected sends over IPv6.
        Sendmsg6 = "sendmsg6",
        /// The beginning and end of TCP sockets.
        Socket = "socket",
        /// The gateway's question for the destination.
        Asked = "asked",
        /// Options by which frames would pass unseen.
        Option = "option",
        /// Packets that leave sockets.
        Packets = "packets",
        /// Frames that leave by a device.
        Uplink = "uplink",
        /// That a process becomes another program.
        Exec = "exec",
    }
}

words! {
    /// Why a coverage is over.
    CoverageEnd {
        /// What was watched has ended, or the gateway stopped.
        Ended = "ended",
        /// A program was detached or replaced, or what the programs go by was written to by somebody else.
        LinksChanged = "links_changed",
        /// The process that held the programs is gone, and its numbers with it.
        LoaderGone = "loader_gone",
        /// The last numbers did not add up, or not all of them are known, and they are not stated.
        NumbersWrong = "numbers_wrong",
        /// Something that should be watched is not, so the numbers would not be all, and are not stated.
        Unwatched = "unwatched",
    }
}

words! {
    /// How it was learned who made a connection.
    Attribution {
        /// The kernel named the process that called `connect`, and that was looked at while it was there.
        KernelTask = "kernel_task",
        /// The same, of a process that is not watched itself and used a socket of one that is.
        KernelCreator = "kernel_creator",
        /// It was not learned: the process was gone, or could not be looked at.
        Unknown = "unknown",
    }
}

words! {
    /// How a connection ended.
    ConnectionEnd {
        /// It was over.
        Closed = "closed",
        /// The gateway was over before it.
        Interrupted = "interrupted",
        /// It was turned away: nobody had led it here, or it was meant for that listener.
        Refused = "refused",
    }
}

words! {
    /// The side of the gateway that a connection is on.
    Side {
        /// Between a client and the gateway.
        Client = "client",
    }
}

words! {
    /// By what way something goes around.
    BypassWay {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// A raw socket.
        Raw = "raw",
        /// A frame from below IP, or what takes those past every look.
        Frame = "frame",
        /// The kernel's word for it does not say.
        Unknown = "unknown",
    }
}

words! {
    /// What became of what went around.
    BypassVerdict {
        /// It was stopped.
        Denied = "denied",
        /// It was let go.
        Passed = "passed",
    }
}

words! {
    /// What is counted of what goes around.
    BypassUnit {
        /// A connection, or a send without one.
        Connect = "connect",
        /// A packet.
        Packet = "packet",
    }
}

words! {
    /// Why the content of a tunnel was not captured.
    TunnelReason {
        /// The host is not one that is captured.
        NotListed = "not_listed",
        /// What passed was not recognised as HTTP in time.
        NotHttp = "not_http",
        /// It could still have become HTTP, or been meant for a host that is captured, when the wait for it
        /// ended.
        Undecided = "undecided",
        /// The client would not take the gateway's certificate; nothing was passed on.
        ClientRejected = "client_rejected",
    }
}

words! {
    /// What a key that changes signs.
    KeyRole {
        /// Checkpoints.
        Log = "log",
        /// Run records.
        RunRecord = "run-record",
    }
}

words! {
    /// Why a run was closed.
    ClosedReason {
        /// The connection that it stood for ended.
        ConnectionEnded = "connection_ended",
        /// No exchange of its name came for a while.
        Idle = "idle",
        /// Too many names were in use at once.
        Crowded = "crowded",
        /// The gateway stopped in good order.
        Stopped = "stopped",
    }
}

words! {
    /// How far the keys of the gateway are from the app.
    IsolationLevel {
        /// The app may run as the user that can read the keys.
        SameUser = "same_user",
        /// The app runs as another user.
        OtherUser = "other_user",
        /// The keys are held by a signer outside the gateway.
        ExternalSigner = "external_signer",
    }
}

words! {
    /// Where the gateway knows the isolation from.
    IsolationBasis {
        /// Nobody said: the worst is assumed.
        Assumed = "assumed",
        /// The operator's configuration says so.
        Declared = "declared",
        /// The gateway started the app itself.
        Launched = "launched",
    }
}

words! {
    /// How an exchange ended as a whole.
    Outcome {
        /// Both messages ended as they should.
        Complete = "complete",
        /// The client went away first.
        ClientCancelled = "client_cancelled",
        /// The upstream could not be reached, or broke off.
        UpstreamFailed = "upstream_failed",
        /// The gateway answered it and forwarded nothing.
        Refused = "refused",
        /// The gateway stopped in the middle of it.
        Interrupted = "interrupted",
    }
}

impl Outcome {
    /// The kind of leaf that an exchange with this outcome is sealed as.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Complete | Self::ClientCancelled | Self::UpstreamFailed => Kind::Exchange,
            Self::Refused => Kind::Refused,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

words! {
    /// How one message's body ended.
    End {
        /// As its framing says, without trailers.
        Complete = "complete",
        /// As its framing says, with trailers.
        Trailers = "trailers",
        /// The client went away.
        ClientCancelled = "client_cancelled",
        /// The upstream broke off.
        UpstreamFailed = "upstream_failed",
        /// The gateway refused the rest.
        GatewayRefused = "gateway_refused",
        /// The gateway stopped.
        Interrupted = "interrupted",
    }
}

words! {
    /// What went wrong in an exchange.
    ErrorCode {
        /// No upstream has the name in the target.
        UnknownUpstream = "unknown_upstream",
        /// The request breaks its protocol or could be read in two ways.
        MalformedRequest = "malformed_request",
        /// The request head is over the limit.
        HeadTooLarge = "head_too_large",
        /// No connection to the upstream.
        UpstreamUnreachable = "upstream_unreachable",
        /// The TLS handshake with the upstream failed.
        UpstreamTls = "upstream_tls",
        /// The upstream did not answer in time.
        UpstreamTimeout = "upstream_timeout",
        /// The upstream broke its protocol.
        UpstreamProtocol = "upstream_protocol",
        /// The upstream closed before its message ended.
        UpstreamClosed = "upstream_closed",
        /// The journal could not take the bytes.
        JournalFailed = "journal_failed",
        /// The gateway was shutting down.
        ShuttingDown = "shutting_down",
        /// The forward proxy asked for credentials that did not come.
        ProxyCredentials = "proxy_credentials",
        /// The client named a server that it may not reach.
        DestinationRefused = "destination_refused",
        /// The client would not speak TLS with the gateway.
        ClientTls = "client_tls",
    }
}

words! {
    /// What the end of a message waits for.
    Policy {
        /// Every byte of it on disk.
        Strict = "strict",
        /// Nothing.
        Relaxed = "relaxed",
    }
}

words! {
    /// Who made a response.
    Source {
        /// The upstream.
        Upstream = "upstream",
        /// The gateway itself.
        Gateway = "gateway",
    }
}

words! {
    /// What happened to exchanges that could not be captured.
    GapAction {
        /// They were refused.
        Refused = "refused",
        /// They were passed on without capture.
        Passed = "passed",
    }
}

words! {
    /// Why exchanges could not be captured.
    GapReason {
        /// No room left.
        DiskFull = "disk_full",
        /// Writing failed otherwise.
        JournalFailed = "journal_failed",
    }
}

/// Kinds that later versions fill; a verifier of this version reports them as not checked.
pub const RESERVED_KINDS: [&str; 7] =
    ["policy", "declaration", "review", "claim-imported", "claim-verdict", "erasure", "legal-hold"];
