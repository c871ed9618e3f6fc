//! Whose: how it is said who something came from.
//!
//! In: what was noted of it. Out: words for people, and what programs read. A connection, and a send without
//! one, are noted while their process makes them. A packet has left a socket by then, and what is known is
//! whose that was: the process that connected it, or sent by it first. Others may send by it later.

use std::fmt;

/// Who something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose<'a> {
    /// Whether it was a packet, so that only its socket's process is known.
    pub packet: bool,
    /// The process; 0 where it is not known.
    pub process: u64,
    /// Its executable, where that was found.
    pub executable: Option<&'a str>,
}

impl Whose<'_> {
    /// The process that did it; none where that is not known.
    #[must_use]
    pub fn did(&self) -> Option<u64> {
        (!self.packet && self.process != 0).then_some(self.process)
    }

    /// The process whose socket it left by, where no more is known.
    #[must_use]
    pub fn socket_of(&self) -> Option<u64> {
        (self.packet && self.process != 0).then_some(self.process)
    }
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.packet {
            formatter.write_str("a socket of ")?;
        }
        match (self.process, self.executable) {
            (0, _) => formatter.write_str("a process that is not known"),
            (process, None) => write!(formatter, "process {process} (not known what it ran)"),
            (process, Some(executable)) => write!(formatter, "process {process} ({executable})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_socket_it_was_is_not_who_did_it() {
        let connect = Whose { packet: false, process: 7, executable: Some("/bin/x") };
        assert_eq!(connect.to_string(), "process 7 (/bin/x)");
        assert_eq!((connect.did(), connect.socket_of()), (Some(7), None));
        let packet = Whose { packet: true, ..connect };
        assert_eq!(packet.to_string(), "a socket of process 7 (/bin/x)");
        assert_eq!((packet.did(), packet.socket_of()), (None, Some(7)));
        let gone = Whose { executable: None, ..connect };
        assert_eq!(gone.to_string(), "process 7 (not known what it ran)");
    }

    #[test]
    fn nobody_is_no_process_of_number_0() {
        let nobody = Whose { packet: false, process: 0, executable: None };
        assert_eq!(nobody.to_string(), "a process that is not known");
        assert_eq!((nobody.did(), nobody.socket_of()), (None, None));
        let packet = Whose { packet: true, ..nobody };
        assert_eq!(packet.to_string(), "a socket of a process that is not known");
        assert_eq!((packet.did(), packet.socket_of()), (None, None));
    }
}
