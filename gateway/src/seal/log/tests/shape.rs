//! What the log writes when all goes well.
use super::*;

#[test]
fn a_log_grows_and_is_taken_up_again() {
    let place = Place::new();
    let mut size = 0;
    for count in [1, 3, 252, 300, 1] {
        let (mut log, report) = place.open().unwrap();
        assert_eq!((report.size, report.completed, report.adopted), (size, 0, None));
        assert_eq!(log.append(&leaves(size, count)).unwrap(), size..size + count);
        size += count;
        assert_eq!((log.size(), log.append(&[]).unwrap()), (size, size..size));
        assert_eq!(log.entries(0..size).unwrap(), leaves(0, size));
        log.close().unwrap();
        let published = audit(&place.data.log(), place.keys.log().public()).unwrap();
        assert_eq!((published.leaves, published.superfluous), (leaves(0, size), 0));
    }
}
