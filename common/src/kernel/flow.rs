//! A connection as the kernel saw it before its first packet.

/// An address and a port; IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address in network byte order.
    pub address: [u8; 16],
    /// The port in the machine's byte order.
    pub port: u32,
}

/// What names a connection from both ends: the client's side, as its kernel chose it.
///
/// A source port alone repeats, in other network namespaces and towards other gateways.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// The client's network namespace.
    pub namespace: u64,
    /// The client's address and port.
    pub client: Endpoint,
    /// The port at which the gateway listens, in the machine's byte order.
    pub gateway_port: u32,
}

/// What the kernel knows of a connection. What packets are compared with comes first: the kernel keeps a socket's own
/// one word behind the beginning of a line of its cache, and all of that is in that line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The socket's cookie, unique until the machine starts again.
    pub cookie: u64,
    /// See [`flag`].
    pub flags: u32,
    /// The port of the gateway's listener that it was sent to, in the machine's byte order; 0 for
    /// none.
    pub gateway: u32,
    /// Where the program wanted to go.
    pub destination: Endpoint,
    /// Of an event: what went around. See [`way`].
    pub way: u16,
    /// The number of the protocol within IP; of a frame, its type of Ethernet.
    pub protocol: u16,
    /// The watched cgroup that this connection belongs to.
    pub scope: u64,
    /// The process, as the first namespace counts.
    pub process: u32,
    /// The thread, likewise.
    pub thread: u32,
    /// The cgroup of the task that connected.
    pub cgroup: u64,
    /// The network namespace's cookie.
    pub namespace: u64,
    /// When `connect` was called: `CLOCK_BOOTTIME`, nanoseconds.
    pub connected: u64,
    /// The user who connected.
    pub user: u32,
    /// The address family it asked for: [`family`].
    pub family: u32,
}

/// Bits of [`Flow::flags`].
pub mod flag {
    /// The hook ran in the context of the task that connected.
    pub const IN_TASK: u32 = 1;
    /// In scope by the socket's creator; the task that connected is not.
    pub const BY_CREATOR: u32 = 2;
    /// Of an event: it was counted in the bank of number 1.
    pub const ODD_BANK: u32 = 4;
    /// Of an event: it was counted among the packets, not the connections.
    pub const PACKET: u32 = 8;
    /// Of an event: it was stopped.
    pub const DENIED: u32 = 16;
    /// Of a socket: the gateway itself opened it.
    pub const GATEWAY: u32 = 32;
    /// Of a socket: it is connected to a place on the machine that is left alone.
    pub const LEFT_ALONE: u32 = 64;
    /// Of a socket: it is the gateway's end of a connection that was led there, and has what was noted of the other end.
    pub const LED: u32 = 128;
}

/// Values of [`Flow::way`].
pub mod way {
    /// `connect` of a socket that cannot be sent to the gateway.
    pub const CONNECT: u16 = 1;
    /// A send to an address, without `connect`.
    pub const SEND: u16 = 2;
    /// A packet of a connection that was not sent to the gateway: it is older than the programs, or
    /// somebody else opened it.
    pub const STREAM: u16 = 3;
    /// A datagram.
    pub const DATAGRAM: u16 = 4;
    /// A packet of a raw socket.
    pub const RAW: u16 = 5;
    /// A frame from below IP.
    pub const FRAME: u16 = 6;
}

/// Values of [`Flow::family`], as the system numbers them.
pub mod family {
    /// IPv4.
    pub const INET: u32 = 2;
    /// IPv6.
    pub const INET6: u32 = 10;
}

/// What is done with a watched cgroup's traffic.
pub mod mode {
    /// Redirect what can be, let the rest go, count it.
    pub const OBSERVE: u32 = 1;
    /// Redirect what can be, deny the rest, count it.
    pub const ENFORCE: u32 = 2;
}

/// Bits of [`Settings::left_alone`].
pub mod alone {
    /// Addresses with a port.
    pub const PORTS: u32 = 1;
    /// Addresses with all of their ports.
    pub const ADDRESSES: u32 = 2;
}

/// A watched cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// See [`mode`].
    pub mode: u32,
    /// The port of the gateway's transparent listener, on `127.0.0.1` and `::1`; machine order.
    pub port: u32,
}

/// What the programs look at before anything else. What every packet is compared with comes first, in one line of the
/// processor's cache.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Bit n: some watched cgroup lies n levels below the root.
    pub levels: u32,
    /// Which of the two banks counts now: 0 or 1.
    pub bank: u32,
    /// Where the two below say which cgroup is watched, and no other is: 1 more than the number of levels that it lies
    /// below the root; 0 where they say nothing.
    pub single: u32,
    /// Which kinds of places on the machine are left alone, by the bits of [`alone`]; 0 for none, so that
    /// nobody looks for one.
    pub left_alone: u32,
    /// Its id.
    pub single_id: u64,
    /// What is to be done with it.
    pub single_watch: Watch,
    /// Of the ports of single places that are left alone: bit n for any that is n more than a multiple of 64.
    pub ports: u64,
    /// The gateway's network namespace, by its cookie; 0 where the kernel does not say. From another one its listener is
    /// not reached.
    pub namespace: u64,
    /// Where queries for names may go; a zero port for nowhere.
    pub resolver: Endpoint,
    /// The gateway's process, as the first namespace counts; 0 for none.
    pub gateway: u32,
}

impl Settings {
    /// The bit in [`Settings::ports`] of a port.
    #[must_use]
    pub const fn port_bit(port: u32) -> u64 {
        1 << (port & 63)
    }
}

const _: () = {
    assert!(size_of::<Endpoint>() == 20);
    assert!(size_of::<FlowKey>() == 32);
    assert!(size_of::<Flow>() == 88);
    assert!(size_of::<Watch>() == 8);
    assert!(size_of::<Settings>() == 72);
    assert!(core::mem::offset_of!(Flow, destination) == 16);
    assert!(core::mem::offset_of!(Flow, way) == 36);
    assert!(core::mem::offset_of!(Flow, scope) == 40);
    assert!(core::mem::offset_of!(Flow, thread) == 52);
    assert!(core::mem::offset_of!(Flow, family) == 84);
    assert!(core::mem::offset_of!(Settings, single_id) == 16);
    assert!(core::mem::offset_of!(Settings, resolver) == 48);
    assert!(core::mem::offset_of!(FlowKey, gateway_port) == 28);
};
