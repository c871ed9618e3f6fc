//! Notes, checkpoints and keys: whatever is accepted prints to the very text that was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::keyring::log_key;
use sealtap_common::note::{Note, PublicKey};
use sealtap_fuzz::same;

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        same(&note.emit().as_bytes(), &data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        same(&checkpoint.to_string().as_str(), &text);
    }
    if let Ok(key) = PublicKey::parse(text) {
        same(&key.vkey().as_str(), &text);
        let pem = key.pem();
        same(&PublicKey::from_pem(key.name(), &pem).as_ref(), &Ok(&key));
    }
    if let Ok(key) = PublicKey::from_pem("fuzz.example", text) {
        same(&PublicKey::from_pem("fuzz.example", &key.pem()).as_ref(), &Ok(&key));
    }
    if let Ok(key) = log_key(text) {
        same(&PublicKey::parse(&key.vkey()).as_ref(), &Ok(&key));
    }
});
