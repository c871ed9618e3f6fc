//! Chunked bodies: the payload does not depend on how the bytes arrive, and its own output reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap::wire::http1::{
    BodyDecoder, BodyError, CHUNK_END, Decoded, LAST_CHUNK, ResponseFraming, write_chunk_head,
};
use sealtap_fuzz::{cut, same};

/// Payload, whether trailers came, bytes used, and the error, if any.
type Read = (Vec<u8>, Option<usize>, usize, Option<BodyError>);

fn read(bytes: &[u8], piece: usize) -> Read {
    let mut decoder = BodyDecoder::new(ResponseFraming::Chunked);
    let (mut payload, mut used) = (Vec::new(), 0);
    let mut limit = 0;
    loop {
        // Nothing of what was not used is lost: the next call sees it again, and more.
        limit = bytes.len().min(limit.max(used) + piece);
        let mut stuck = false;
        while !stuck {
            match decoder.decode(&bytes[used..limit]) {
                Ok((count, Decoded::Data(data))) => {
                    assert!(!data.is_empty() && count >= data.len());
                    payload.extend_from_slice(data);
                    used += count;
                }
                Ok((count, Decoded::End(trailers))) => {
                    used += count;
                    let trailers = trailers.map(|fields| fields.iter().count());
                    assert!(decoder.is_ended());
                    return (payload, trailers, used, None);
                }
                Ok((count, Decoded::More)) => {
                    used += count;
                    stuck = count == 0 || used == limit;
                }
                Err(error) => return (payload, None, 0, Some(error)),
            }
        }
        if limit == bytes.len() {
            return (payload, None, used, decoder.eof().err());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((bytes, piece)) = cut(data) else { return };
    let whole = read(bytes, usize::MAX / 2);
    same(&whole, &read(bytes, piece));
    let (payload, _, used, error) = whole;
    assert!(payload.len() <= bytes.len());
    if error.is_some() {
        return;
    }
    assert!(used <= bytes.len());
    let mut again = Vec::new();
    for chunk in payload.chunks(piece) {
        write_chunk_head(&mut again, chunk.len());
        again.extend_from_slice(chunk);
        again.extend_from_slice(CHUNK_END);
    }
    again.extend_from_slice(LAST_CHUNK);
    again.extend_from_slice(b"\r\n");
    let length = again.len();
    same(&read(&again, 3), &(payload, None, length, None));
});
