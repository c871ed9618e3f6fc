//! Notes and keys: round trips, the published example of Go's `sumdb/note`, and refusals.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;

// The example key pair and note from the documentation of golang.org/x/mod/sumdb/note.
const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn signer(name: &str) -> Signer {
    Signer::new(name, SigningKey::from_bytes(&[9; 32])).unwrap()
}

#[test]
fn agrees_with_the_example_of_the_go_library() {
    let signer = Signer::parse(SKEY).unwrap();
    assert_eq!(*signer.skey(), SKEY);
    assert_eq!(signer.public().vkey(), VKEY);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&PublicKey::parse(VKEY).unwrap()), Ok(()));
    assert_eq!(Note::sign(&note.text, &signer).emit(), NOTE);
}

#[test]
fn each_way_a_note_can_be_wrong_is_named() {
    let key = signer("log");
    let note = Note::sign("text\n", &key);
    let text = note.emit();
    assert_eq!(Note::parse(text.as_bytes()).as_ref(), Ok(&note));
    let with = |from: &str, to: &str| Note::parse(text.replacen(from, to, 1).as_bytes());
    assert_eq!(with("text", "te\u{1}xt"), Err(NoteError::Text));
    assert_eq!(Note::parse(b"te\xff\n\n"), Err(NoteError::Text));
    assert_eq!(with("\n\n", "\n"), Err(NoteError::Shape));
    assert_eq!(with("\u{2014} ", "- "), Err(NoteError::Line(1)));
    assert_eq!(with("=\n", "\n"), Err(NoteError::Line(1)));
    assert_eq!(with("\u{2014} log ", "\u{2014} lo+g "), Err(NoteError::Line(1)));
    assert_eq!(Note::parse(text.trim_end().as_bytes()), Err(NoteError::Shape));
    let forged = with("text", "test").unwrap();
    assert_eq!(forged.verify(key.public()), Err(NoteError::Forged("log".into())));
    assert_eq!(note.verify(signer("other").public()), Err(NoteError::Unsigned("other".into())));
    let mut twice = note;
    twice.signatures.extend_from_within(..);
    assert_eq!(twice.verify(key.public()), Err(NoteError::Forged("log".into())));
}

#[test]
fn each_way_a_key_can_be_wrong_is_named() {
    let key = signer("log").public().clone();
    assert_eq!(PublicKey::parse(&key.vkey()), Ok(key.clone()));
    assert_eq!(PublicKey::from_pem("log", &key.pem()), Ok(key.clone()));
    let swap = |from: &str, to: &str| PublicKey::parse(&key.vkey().replacen(from, to, 1));
    assert_eq!(swap("log+", "lot+"), Err(KeyError::Hash));
    assert_eq!(swap("log+", "+"), Err(KeyError::Name));
    assert_eq!(swap("+A", "+B"), Err(KeyError::Value));
    assert_eq!(PublicKey::parse("log"), Err(KeyError::Shape));
    assert_eq!(PublicKey::parse(&format!("{} ", key.vkey())), Err(KeyError::Shape));
    assert_eq!(PublicKey::new("a b", key.bytes()), Err(KeyError::Name));
    assert_eq!(PublicKey::new("a", &[0; 32]), Err(KeyError::Value), "a point of small order");
    assert_eq!(
        PublicKey::from_pem("a", &key.pem().replace("PUBLIC", "PRIVATE")),
        Err(KeyError::Shape)
    );
    assert_eq!(Signer::parse("PRIVATE+KEY+a").err(), Some(KeyError::Shape));
    assert!(!format!("{:?}", signer("log")).contains("CQkJ"), "a private key never prints itself");
}

proptest! {
    #[test]
    fn hostile_text_is_refused_or_prints_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200), edit in any::<(prop::sample::Index, u8)>()) {
        let mut note = NOTE.as_bytes().to_vec();
        note[edit.0.index(NOTE.len())] = edit.1;
        for bytes in [bytes, note] {
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_eq!(note.emit().into_bytes(), bytes.clone());
            }
            let text = String::from_utf8_lossy(&bytes);
            let _ = (PublicKey::parse(&text), Signer::parse(&text), PublicKey::from_pem("a", &text));
        }
    }
}
