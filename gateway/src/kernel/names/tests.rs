//! Questions as they come, and as they do not; what is kept of many.

use sealtap_common::unit::Questions;

use super::super::message::{NamesCounted, Packet};
use super::question::{Read, read};
use super::{Asked, Copies, Telling, together};
use crate::clock::Reading;

const NOW: Reading = Reading { boottime_us: 50_000_000, wall_us: 1_790_000_000_000_000 };

/// A query as stub resolvers make it.
fn query(questions: &[(&str, u16)]) -> Vec<u8> {
    let count = u8::try_from(questions.len()).unwrap();
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, count, 0, 0, 0, 0, 0, 0];
    for (name, kind) in questions {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
    }
    bytes
}

fn packet(bytes: Vec<u8>) -> Packet {
    let length = u32::try_from(bytes.len()).unwrap();
    let executable = Some("/usr/bin/python3".to_owned());
    Packet { process: 4711, executable, passed: 49_000_000_000, length, each: 0, bytes }
}

fn names(read: &Read) -> Vec<&str> {
    read.questions.iter().map(|question| question.name.as_str()).collect()
}

fn of(bytes: Vec<u8>) -> Read {
    read(&packet(bytes))
}

fn listed(asked: &Asked) -> Questions<'static> {
    Questions::decode(&asked.unit(1 << 20).0.unwrap()).unwrap()
}

#[test]
fn questions_are_read_as_they_were_asked() {
    let read = of(query(&[("Model.Example", 28)]));
    assert!(read.whole);
    assert_eq!(names(&read), ["Model.Example"]);
    assert_eq!((read.questions[0].kind, read.questions[0].class), (28, 1));
    // What follows the questions is not looked at, whatever it says.
    let mut with_more = query(&[("a.example", 1), ("b.example", 16)]);
    with_more[11] = 9;
    with_more.extend_from_slice(&[0xff; 40]);
    assert_eq!(names(&of(with_more)), ["a.example", "b.example"]);
    // The root, and a message that asks nothing.
    assert_eq!(names(&of(query(&[("", 2)]))), ["."]);
    let nothing = of(query(&[]));
    assert!(nothing.whole && nothing.questions.is_empty());
}

#[test]
fn octets_that_are_no_text_are_escaped() {
    let mut bytes = query(&[]);
    bytes[5] = 1;
    bytes.extend_from_slice(&[5, b'a', b'.', b'\\', 0x1b, 0xff, 0, 0, 1, 0, 1]);
    assert_eq!(names(&of(bytes)), [r"a\.\\\027\255"]);
}

#[test]
fn what_is_no_message_is_not_read() {
    let whole = query(&[("model.example", 1)]);
    // Every beginning of a message but the whole of it.
    for length in 0..whole.len() {
        let read = of(whole[..length].to_vec());
        assert!(!read.whole && read.questions.is_empty(), "{length}");
    }
    for garbage in [vec![], vec![0xff; 512], vec![0; 11]] {
        assert!(!of(garbage).whole);
    }
    // A label of a type that there is not, and a name that is too long.
    let mut reserved = whole;
    reserved[12] = 0x40;
    assert!(!of(reserved).whole);
    let long = vec!["x".repeat(63); 4].join(".");
    assert!(!of(query(&[(&long, 1)])).whole);
}

#[test]
fn compression_that_leads_nowhere_ends() {
    let header = query(&[]);
    for pointer in [[0xc0, 12], [0xc0, 14], [0xff, 0xff], [0xc0, 0]] {
        let mut bytes = header.clone();
        bytes[5] = 1;
        bytes.extend_from_slice(&pointer);
        bytes.extend_from_slice(&[0, 1, 0, 1]);
        // Into the header it is a name of sorts: the label is as long as its first octet says.
        assert!(!of(bytes).whole || pointer == [0xc0, 0], "{pointer:?}");
    }
    // Two that lead to each other, and a chain as long as a packet takes.
    let mut chain = header;
    chain[5] = 200;
    for at in (12_u16..510).step_by(2) {
        chain.extend_from_slice(&(0xc000 | (at + 2)).to_be_bytes());
    }
    assert!(!of(chain).whole);
    // A second name may lean on the first.
    let mut leaning = query(&[("model.example", 1)]);
    leaning[5] = 2;
    leaning.extend_from_slice(&[3, b'w', b'w', b'w', 0xc0, 12, 0, 28, 0, 1]);
    assert_eq!(names(&of(leaning)), ["model.example", "www.model.example"]);
}

#[test]
fn a_message_that_asks_much_is_read_in_part() {
    // One name as long as names are, and as many more as fit that are all the same.
    let long = format!("{}{}", format!("{}.", "x".repeat(63)).repeat(3), "x".repeat(61));
    let mut bytes = query(&[(&long, 1)]);
    for count in 2..=30 {
        bytes[5] = count;
        bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        let read = of(bytes.clone());
        assert_eq!((read.questions.len(), read.whole), (usize::from(count.min(4)), count <= 4));
        assert!(names(&read).iter().all(|name| *name == long));
    }
}

#[test]
fn what_was_asked_before_the_fault_is_kept() {
    let mut bytes = query(&[("first.example", 1)]);
    bytes[5] = 2;
    bytes.extend_from_slice(&[63, b'x']);
    let read = of(bytes);
    assert!(!read.whole);
    assert_eq!(names(&read), ["first.example"]);
}

#[test]
fn datagrams_that_the_kernel_cuts_later_are_read_each() {
    let (one, two) = (query(&[("one.example", 1)]), query(&[("two.example", 1)]));
    assert_eq!(one.len(), two.len());
    let each = u32::try_from(one.len()).unwrap();
    let both = Packet { each, ..packet([one.clone(), two].concat()) };
    let read_both = read(&both);
    assert!(read_both.whole);
    assert_eq!(names(&read_both), ["one.example", "two.example"]);
    // Of what was not copied nobody knows what it asks.
    let more = Packet { length: both.length + each, ..both };
    assert!(!read(&more).whole);
    // One datagram whose questions are all there asks no more behind them.
    let cut = Packet { length: 9_000, ..packet(one) };
    let read_cut = read(&cut);
    assert!(read_cut.whole);
    assert_eq!(names(&read_cut), ["one.example"]);
}

#[test]
fn the_same_question_of_one_asker_is_counted() {
    let mut asked = Asked::default();
    for ago in [4_u64, 2, 3] {
        let passed = (NOW.boottime_us - ago * 1_000_000) * 1_000;
        asked.add(Packet { passed, ..packet(query(&[("model.example", 1)])) }, &NOW);
    }
    asked.add(packet(query(&[("model.example", 28)])), &NOW);
    asked.add(Packet { process: 0, ..packet(query(&[("model.example", 1)])) }, &NOW);
    asked.add(packet(vec![7; 20]), &NOW);
    assert_eq!((asked.parsed, asked.unparsable, asked.questions), (5, 1, 5));
    let listed = listed(&asked);
    assert_eq!(listed.questions.len(), 3);
    let first = listed.questions.iter().find(|asker| asker.count == 3).unwrap();
    assert_eq!(first.first, NOW.wall_us - 4_000_000);
    assert_eq!(first.last, NOW.wall_us - 2_000_000);
    assert_eq!(first.process, Some(4711));
    assert!(listed.questions.iter().any(|asker| asker.process.is_none()));
}

#[test]
fn what_is_not_listed_is_counted() {
    let mut asked = Asked::default();
    for n in 0..5_000 {
        asked.add(packet(query(&[(&format!("{n}.example"), 1)])), &NOW);
    }
    let mut later = Asked::default();
    later.add(packet(query(&[("0.example", 1)])), &NOW);
    later.add(packet(query(&[("new.example", 1)])), &NOW);
    asked.append(later);
    assert_eq!((asked.parsed, asked.questions), (5_002, 5_002));
    let listed = listed(&asked);
    let sum: u64 = listed.questions.iter().map(|asker| asker.count).sum();
    assert!(asked.omitted > 0);
    assert_eq!(sum + asked.omitted, 5_002);
    // A record that takes less takes less.
    for most in [100_000, 10_000, 500, 100, 0] {
        let (unit, omitted) = asked.unit(most);
        let of_unit = unit.as_ref().map_or(0, |unit| {
            assert!(unit.len() <= most);
            let listed = Questions::decode(unit).unwrap();
            listed.questions.iter().map(|asker| asker.count).sum()
        });
        assert_eq!(of_unit + omitted, 5_002, "{most}");
    }
}

#[test]
fn statements_tell_of_what_was_lost_since_the_last() {
    let mut telling = Telling::new([7; 16]);
    let counted = |lost| Some(NamesCounted { read: 0, lost });
    let mut asked = Asked::default();
    asked.add(packet(query(&[("model.example", 1)])), &NOW);
    assert_eq!(telling.add(&asked, counted(3), (1, 1 << 20)), 3);
    assert_eq!(telling.add(&Asked::default(), counted(3), (2, 1 << 20)), 0);
    assert_eq!(telling.add(&Asked::default(), counted(5), (3, 1 << 20)), 2);
    assert_eq!(telling.add(&asked, None, (4, 1 << 20)), 0);
    let told = telling.told();
    assert_eq!((told.seen, told.parsed, told.lost), (7, 2, 5));
}

#[test]
fn messages_to_the_gateway_stay_short() {
    use sealtap_common::kernel::{QUERY, Query};
    let mut copies = Copies::default();
    let query = Query {
        cookie: 1,
        passed: 2,
        connected: 3,
        process: 0,
        flags: 0,
        length: 9_000,
        copied: u32::try_from(QUERY).unwrap(),
        each: 0,
        unused: 0,
        bytes: [0xff; QUERY],
    };
    for _ in 0..500 {
        copies.add(&query);
    }
    // What a program says it copied is never more than there is.
    copies.add(&Query { copied: u32::MAX, ..query });
    let packets = copies.all().into_iter().map(|copied| copied.packet).collect();
    let messages: Vec<Vec<Packet>> = together(packets).collect();
    assert_eq!(messages.iter().map(Vec::len).sum::<usize>(), 501);
    for message in messages {
        assert!(postcard::to_stdvec(&message).unwrap().len() < 60 << 10);
    }
}

/// Neither what was read nor the packet that it came in says a name where it is printed for a log.
#[test]
fn no_name_is_printed() {
    let packet = packet(query(&[("secret.example", 1)]));
    let raw = format!("{:?}", &packet.bytes[13..19]);
    let shown = format!("{packet:?} {:?}", read(&packet));
    assert!(!shown.contains(raw.trim_matches(['[', ']'])) && !shown.contains("secret"), "{shown}");
    let mut asked = Asked::default();
    asked.add(packet, &NOW);
    assert_eq!(asked.questions, 1);
    let shown = format!("{asked:?} {asked:#?}");
    assert!(!shown.contains("secret") && shown.contains("questions"), "{shown}");
}
