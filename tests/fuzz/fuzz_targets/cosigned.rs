//! What witnesses send and are sent: cosigned notes, cosignature lines, keys and requests print to the
//! very text that was read, and no line counts that the witness did not make.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::note::{Note, PublicKey, SignatureLine, WitnessKey};
use sealtap_common::witness::{AddCheckpoint, Seen, decimal};
use sealtap_fuzz::{LOG_KEY, WITNESS_KEY, same};

/// The text that the vectors' witness cosigned, and when.
const TEXT: &str = "sealtap.example/vectors\n42\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n";
const TIME: u64 = 1_679_315_147;

fn line(witness: &WitnessKey, text: &str, line: &SignatureLine) {
    let printed = line.emit();
    let again = SignatureLine::parse(printed.strip_suffix('\n').expect("a line"));
    same(&again.as_ref(), &Some(line));
    if let Some(time) = witness.cosigned(text, line) {
        same(&(text, time), &(TEXT, TIME));
    }
}

fuzz_target!(|data: &[u8]| {
    let witness = WitnessKey::parse(WITNESS_KEY).expect("a key");
    let log = PublicKey::parse(LOG_KEY).expect("a key");
    if let Ok(note) = Note::parse(data) {
        same(&note.emit().as_bytes(), &data);
        note.signatures.iter().for_each(|found| line(&witness, &note.text, found));
    }
    if let Ok(request) = AddCheckpoint::parse(data) {
        same(&request.emit().as_bytes(), &data);
        assert!(request.note.text.starts_with(request.origin()));
        if let Ok(accepted) = request.consider(&[&log], Seen::NOTHING) {
            assert!(request.note.verify(&log).is_ok() && accepted.text == request.note.text);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for found in text.lines().filter_map(SignatureLine::parse) {
        line(&witness, TEXT, &found);
    }
    if let Ok(key) = WitnessKey::parse(text) {
        same(&key.vkey().as_str(), &text);
        assert!(PublicKey::parse(text).is_err(), "a witness's key is no log's");
    }
    if let Some(number) = decimal(text) {
        same(&number.to_string().as_str(), &text);
    }
});
