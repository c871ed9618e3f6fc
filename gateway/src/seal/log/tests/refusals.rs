//! What is refused at opening, each by its name.
use super::*;

#[test]
fn a_second_writer_is_refused() {
    let place = Place::new();
    let (_log, _) = place.open().unwrap();
    assert!(matches!(place.open(), Err(LogError::Lock(crate::seal::lock::LockError::Held { .. }))));
}
