//! What the log writes when all goes well, and what those who read beside it see.

use super::super::{MAX_LEAF, published, read_entries};
use super::*;

#[test]
fn a_log_grows_and_is_taken_up_again() {
    let place = Place::new();
    let mut size = 0;
    for count in [1, 3, 252, 300, 1, 255] {
        let (mut log, report) = place.open().unwrap();
        assert_eq!((report.size, report.completed, report.adopted), (size, 0, None));
        assert_eq!(log.append(&leaves(size, count)).unwrap(), size..size + count);
        size += count;
        assert_eq!((log.size(), log.append(&[]).unwrap()), (size, size..size));
        assert_eq!(log.entries(0..size).unwrap(), leaves(0, size));
        let signed = log.checkpoint().unwrap().to_vec();
        assert_eq!(std::fs::read(place.log("checkpoint")).unwrap(), signed);
        assert_eq!(std::fs::read(place.lock_file()).unwrap(), signed);
        log.close().unwrap();
        let found = audit(&place.data.log(), place.keys.log().public()).unwrap();
        assert_eq!((found.leaves, found.superfluous), (leaves(0, size), 0));
        assert_eq!(files(&place.data.staging()).len(), 0);
    }
    assert_eq!(empty_directories(&place.data.log()), 0);
}

#[test]
fn tiles_of_one_earlier_checkpoint_stay_while_running() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    let mut earlier = Vec::new();
    for size in [10, 20, 30, 300, 301] {
        log.append(&leaves(log.size(), size - log.size())).unwrap();
        let names: Vec<_> = tiles(size).collect();
        for tile in names.iter().chain(&earlier) {
            assert!(place.log(&tile.to_string()).exists(), "{tile} at {size}");
        }
        let needed = |tile: &&TilePath| !names.contains(tile);
        let extra = earlier.iter().filter(needed).count();
        let found = audit(&place.data.log(), place.keys.log().public()).unwrap();
        assert_eq!(found.superfluous, extra);
        earlier = names;
    }
}

#[test]
fn a_leaf_over_the_limit_is_refused_with_its_batch() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    let batch = [vec![1; MAX_LEAF], vec![2; MAX_LEAF + 1]];
    let error = log.append(&batch).unwrap_err();
    assert!(matches!(error, LogError::LeafTooLong { position: 1, length: 65_536 }), "{error}");
    assert_eq!((log.size(), log.pending(), log.checkpoint()), (0, None, None));
    assert_eq!(log.append(&batch[..1]).unwrap(), 0..1);
}

#[test]
fn leaves_are_read_beside_a_running_writer() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    let directory = place.data.log();
    assert_eq!(published(&directory).unwrap(), None);
    log.append(&leaves(0, 1)).unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            loop {
                let size = published(&directory).unwrap().unwrap().size;
                let from = size.saturating_sub(300);
                assert_eq!(
                    read_entries(&directory, from..size).unwrap(),
                    leaves(from, size - from)
                );
                reads += 1;
                if reads == 1 {
                    begun.send(()).unwrap();
                }
                if size >= 600 {
                    return reads;
                }
            }
        });
        // A thread may begin late, and disks are quick: all would be written before it reads once.
        let _ = begins.recv_timeout(std::time::Duration::from_secs(20));
        while log.size() < 600 {
            log.append(&leaves(log.size(), 7)).unwrap();
        }
        assert!(reader.join().unwrap() > 1);
    });
    assert!(read_entries(&directory, 0..10_000).unwrap_err().to_string().contains("not 10000"));
}

fn empty_directories(directory: &Path) -> usize {
    let below: Vec<_> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    let inside = |path: &PathBuf| path.is_dir().then(|| empty_directories(path));
    below.iter().filter_map(inside).sum::<usize>() + usize::from(below.is_empty())
}
