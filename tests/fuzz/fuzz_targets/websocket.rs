//! WebSocket frames: messages do not depend on how bytes arrive, and the index reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::serve::query::deflate::Inflater;
use sealtap::serve::query::websocket::{Lister, Message, Op};
use sealtap_common::websocket::{Indexer, MessageIndex, Side};
use sealtap_fuzz::{cut, same};

fn index(bytes: &[u8], piece: usize) -> Side {
    let mut indexer = Indexer::default();
    bytes.chunks(piece).for_each(|piece| indexer.push(piece));
    indexer.finish()
}

fn list(bytes: &[u8], piece: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut lister = Lister::new(Some(Inflater::new(false)));
    bytes.chunks(piece).for_each(|piece| lister.feed(piece, &mut |message| messages.push(message)));
    lister.finish(&mut |message| messages.push(message));
    messages
}

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let side = index(bytes, usize::MAX);
    same(&side, &index(bytes, piece));
    let messages = list(bytes, usize::MAX);
    same(&messages, &list(bytes, piece));
    // Both readers find the same messages in the same order.
    let complete = messages.iter().filter(|message| message.complete);
    let complete: Vec<Op> = complete.map(|message| message.op).collect();
    let indexed: Vec<Op> = side.messages.iter().map(|entry| Op::Frames(entry.opcode)).collect();
    same(&complete, &indexed);
    assert!(side.messages.iter().all(|entry| entry.end <= bytes.len() as u64));
    let index = MessageIndex { request: side.clone(), response: Side::default() };
    same(&MessageIndex::decode(&index.encode()), &Ok(index));
});
