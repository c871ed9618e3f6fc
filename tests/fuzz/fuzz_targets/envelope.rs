//! Run records: an envelope prints to the very bytes that were read, and nothing but the one record that
//! the key signed holds under it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealtap_common::note::PublicKey;
use sealtap_common::record::{Envelope, PAYLOAD_TYPE, pre_authentication, statement};
use sealtap_common::{json, leaf::Leaf};
use sealtap_fuzz::{RUN_RECORD_KEY, entries, same, vectors};

/// The one record that the vectors' key signed.
static SIGNED: LazyLock<Envelope> = LazyLock::new(|| {
    let bundle = std::fs::read(vectors("bundle.tar")).expect("the vectors are there");
    let files = entries(&bundle).expect("a bundle");
    let record = files.iter().find(|(name, _)| name == "record.dsse.json").expect("a record");
    Envelope::decode(&record.1).expect("an envelope")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(envelope) = Envelope::decode(data) {
        same(&envelope.encode().as_slice(), &data);
        let signed = pre_authentication(&envelope.payload);
        assert!(signed.ends_with(&envelope.payload));
        assert!(signed.starts_with(b"DSSEv1 ") && signed.len() > PAYLOAD_TYPE.len());
        let key = PublicKey::parse(RUN_RECORD_KEY).expect("a key");
        if envelope.holds_under(&key) {
            same(&envelope, &SIGNED);
        }
    }
    // What a closing leaf says is always a statement, in the one form that verifiers make anew.
    if let Ok(Leaf::RunClosed(closed)) = Leaf::decode(data) {
        let payload = statement("fuzz.example/log", 1, &closed);
        let value = json::parse(&payload).expect("a statement is canonical");
        same(&value.encode(), &payload);
        let envelope = Envelope { payload, key_id: "x".to_owned(), signature: [7; 64] };
        same(&Envelope::decode(&envelope.encode()).as_ref(), &Ok(&envelope));
    }
});
