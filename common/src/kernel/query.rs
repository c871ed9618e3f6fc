//! A query for names on its way to the configured resolver.

/// Bytes of a query that are copied, from behind the header of UDP on. A question with the longest name
/// there is takes 271.
pub const QUERY: usize = 512;

/// Bytes of the ring in which queries wait to be read.
pub const QUERIES: usize = 512 << 10;

/// A packet to the resolver, as it passed the hook. Nothing of what it says was looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The socket's cookie.
    pub cookie: u64,
    /// When it passed: `CLOCK_BOOTTIME`, nanoseconds.
    pub passed: u64,
    /// When its socket was connected, or first sent: likewise; 0 where that was not noted.
    pub connected: u64,
    /// The process that did, as the first namespace counts; 0 where that was not noted.
    pub process: u32,
    /// See [`super::flag`].
    pub flags: u32,
    /// How many bytes it has behind the header of UDP.
    pub length: u32,
    /// How many of them follow.
    pub copied: u32,
    /// Where the kernel cuts it into datagrams of so many bytes each; 0 where it is one.
    pub each: u32,
    /// Nothing.
    pub unused: u32,
    /// The first of its bytes; behind them, whatever was there before.
    pub bytes: [u8; QUERY],
}

const _: () = {
    assert!(size_of::<Query>() == 560);
    assert!(core::mem::offset_of!(Query, process) == 24);
    assert!(core::mem::offset_of!(Query, bytes) == 48);
};
