//! What leaves say of exchanges while they are open: prefixes that only grow.

use super::*;

#[test]
fn a_progress_leaf_is_read_strictly() {
    let refused = |leaf: Leaf| Leaf::decode(&leaf.encode().unwrap()).unwrap_err().to_string();
    let edited = |edit: fn(&mut Prefix)| {
        let mut entry = progressed(3);
        edit(&mut entry.request);
        refused(progress(vec![entry], &[]))
    };
    assert!(refused(progress(Vec::new(), &[])).contains("tells of nothing"));
    assert!(refused(progress(vec![progressed(3)], &[2, 3])).contains("has an entry"));
    for wrong in [[7, 3], [3, 3]] {
        assert!(refused(progress(wrong.map(progressed).to_vec(), &[])).contains("ascend"));
    }
    let edits: [fn(&mut Prefix); 5] = [
        |prefix| prefix.tail = None,
        |prefix| prefix.length = 0,
        |prefix| prefix.root = [1; 32],
        |prefix| prefix.segments = 1,
        |prefix| (prefix.segments, prefix.root) = (6, [1; 32]),
    ];
    for edit in edits {
        assert!(edited(edit).contains("cannot have"));
    }
}

#[test]
fn a_prefix_only_grows() {
    let first = Prefix { length: 9, root: EMPTY_ROOT, segments: 0, tail: Some([1; 32]) };
    let more = Prefix { length: 10, tail: Some([2; 32]), ..first };
    let closed = Prefix { length: 11, root: [3; 32], segments: 1, tail: None };
    for (later, earlier) in [(first, first), (more, first), (closed, more), (closed, first)] {
        assert!(later.continues(&earlier), "{later:?} {earlier:?}");
    }
    let other_tail = Prefix { tail: Some([9; 32]), ..first };
    let other_root = Prefix { length: 12, root: [4; 32], ..closed };
    for (later, earlier) in
        [(first, more), (other_tail, first), (other_root, closed), (more, closed)]
    {
        assert!(!later.continues(&earlier), "{later:?} {earlier:?}");
    }
    let body = Body { dialect: Dialect::EventStream, length: 11, root: [3; 32], segments: 1 };
    assert!(first.begins(&body) && more.begins(&body) && closed.begins(&body));
    assert!(!closed.begins(&Body { root: [5; 32], ..body }));
    assert!(!closed.begins(&Body { length: 10, ..body }));
    assert!(closed.begins(&Body { root: [5; 32], segments: 2, length: 12, ..body }));
}
