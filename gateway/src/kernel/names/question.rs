//! Question: the names that a message asks for (RFC 1035, section 4.1.2).
//!
//! In: bytes of somebody who may mean harm. Out: each question, as far as there are any to be read, and
//! whether those were all. The message's other sections are not looked at.

use std::fmt;

use domain::base::Message;

use super::super::message::Packet;

/// Questions of one message that are read: resolvers ask one, and names that lean on each other make much
/// text out of few bytes.
const MOST: usize = 4;

/// One question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Question {
    /// The name in presentation format (RFC 4343), in the case it was asked in, without the last dot; `.` for
    /// the root.
    pub(super) name: String,
    /// QTYPE.
    pub(super) kind: u16,
    /// QCLASS.
    pub(super) class: u16,
}

// Its name reaches no log.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Question");
        shown.field("kind", &self.kind).field("class", &self.class).finish_non_exhaustive()
    }
}

/// What was read of a packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The questions, in their order.
    pub(super) questions: Vec<Question>,
    /// Whether these are all that it asks.
    pub(super) whole: bool,
}

/// Reads a packet, which the kernel may yet cut into several datagrams.
pub(super) fn read(packet: &Packet) -> Read {
    let all = is_whole(packet);
    let one = packet.each == 0 || packet.each >= packet.length;
    if one {
        // Questions come first: where they are all there, what is missing behind them asks nothing.
        return message(&packet.bytes);
    }
    let each = usize::try_from(packet.each).unwrap_or(usize::MAX);
    let mut read = Read { questions: Vec::new(), whole: all };
    for datagram in packet.bytes.chunks(each) {
        let Read { questions, whole } = message(datagram);
        read.questions.extend(questions);
        read.whole &= whole;
    }
    read
}

/// Whether all bytes of a packet were copied.
pub(super) fn is_whole(packet: &Packet) -> bool {
    u32::try_from(packet.bytes.len()) == Ok(packet.length)
}

/// Reads one message.
fn message(bytes: &[u8]) -> Read {
    let Ok(message) = Message::from_octets(bytes) else { return Read::default() };
    let mut questions = Vec::new();
    for question in message.question() {
        if questions.len() == MOST {
            return Read { questions, whole: false };
        }
        let Ok(question) = question else { return Read { questions, whole: false } };
        let mut name = question.qname().to_string();
        if name.is_empty() {
            // The library shows no dot for the root either.
            name.push('.');
        }
        questions.push(Question {
            name,
            kind: question.qtype().to_int(),
            class: question.qclass().to_int(),
        });
    }
    Read { questions, whole: true }
}

/// What the fuzzer calls: any bytes, cut anyhow, are read to an end.
#[doc(hidden)]
pub fn read_any(bytes: &[u8], length: u32, each: u32) -> usize {
    let packet = Packet { length, each, bytes: bytes.to_vec(), ..Packet::default() };
    read(&packet).questions.len()
}
