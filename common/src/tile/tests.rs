//! Tile paths, the set of tiles of a size, bundles, and the edge against the plain frontier.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tree::{Frontier, leaf_hash};

fn path(level: Level, index: u64, width: u16) -> TilePath {
    TilePath { level, index, width }
}

#[test]
fn paths_print_and_parse_as_in_the_specification() {
    for (text, tile) in [
        ("tile/0/000", path(Level::Hashes(0), 0, 256)),
        ("tile/entries/x001/x234/067.p/5", path(Level::Entries, 1_234_067, 5)),
        ("tile/0/x001/x234/067.p/5", path(Level::Hashes(0), 1_234_067, 5)),
        ("tile/7/999.p/255", path(Level::Hashes(7), 999, 255)),
        ("tile/1/x001/000", path(Level::Hashes(1), 1000, 256)),
    ] {
        assert_eq!(tile.to_string(), text);
        assert_eq!(text.parse(), Ok(tile));
    }
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p",
        "tile/0/000.p/5/6",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/000.P/5",
        "tile/data/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(bad.parse::<TilePath>(), Err(PathError), "{bad}");
    }
}

#[test]
fn a_tree_has_exactly_these_tiles() {
    let names = |size| tiles(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert!(names(0).is_empty());
    assert_eq!(names(1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
    assert_eq!(names(256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(
        names(70_000).iter().filter(|name| name.contains(".p/")).collect::<Vec<_>>(),
        ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
}

#[test]
fn bundles_keep_entries_and_refuse_torn_ones() {
    let mut bundle = Vec::new();
    for entry in [&b"a"[..], b"", b"longer"] {
        push_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(entries(&bundle).unwrap(), [&b"a"[..], b"", b"longer"]);
    assert_eq!(entries(&bundle[..bundle.len() - 1]), Err(BundleError::Truncated(2)));
    assert_eq!(entries(&bundle[..1]), Err(BundleError::Truncated(0)));
    assert_eq!(push_entry(&mut bundle, &vec![0; 65_536]), Err(BundleError::TooLong(65_536)));
}

#[test]
fn the_edge_makes_every_tile_and_can_be_taken_up_at_any_size() {
    let mut edge = Edge::new();
    let mut frontier = Frontier::new();
    let mut files: BTreeMap<TilePath, Vec<u8>> = BTreeMap::new();
    for n in 0..66_500_u64 {
        let leaf = leaf_hash(&n.to_be_bytes());
        edge.push(leaf, |path, bytes| assert!(files.insert(path, bytes.to_vec()).is_none()));
        frontier.push(leaf);
        if n % 997 == 0 || n % 256 == 255 && n < 2000 || n == 65_535 || n == 66_499 {
            assert_eq!(edge.root(), frontier.root());
            let mut all = files.clone();
            all.extend(edge.partial_tiles().map(|(path, bytes)| (path, bytes.to_vec())));
            assert!(hash_tiles(n + 1).eq(all.keys().copied()), "at {n}");
            let again = Edge::restore(n + 1, |path| all.get(path).cloned()).unwrap();
            assert_eq!((again.root(), again.size()), (edge.root(), edge.size()));
        }
    }
    let missing = path(Level::Hashes(0), 0, 3);
    assert_eq!(Edge::restore(3, |_| None), Err(RestoreError::Missing(missing)));
    assert_eq!(Edge::restore(3, |_| Some(vec![0; 95])), Err(RestoreError::Length(missing)));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_is_the_one_name(text in "(tile/)?([0-9]{1,3}|entries)/[x0-9/]{0,12}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = text.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }

    #[test]
    fn a_tile_belongs_to_the_sizes_it_says(size in 1_u64..100_000_000, level in 0_u8..4) {
        let count = size >> (8 * u32::from(level));
        if let Some(last) = count.checked_sub(1) {
            let tile = TilePath::in_tree(Level::Hashes(level), last / 256, size).unwrap();
            let (from, to) = tile.sizes();
            prop_assert!(from <= size && size < to);
            if !tile.is_full() {
                prop_assert_ne!(TilePath::in_tree(tile.level, tile.index, to), Some(tile));
            }
            prop_assert_ne!(TilePath::in_tree(tile.level, tile.index, from - 1), Some(tile));
        }
    }

    #[test]
    fn hostile_bundles_and_sizes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), index: u64, width: u16, level: u8, size: u64) {
        if let Ok(found) = entries(&bytes) {
            let mut again = Vec::new();
            for entry in found {
                push_entry(&mut again, entry).unwrap();
            }
            prop_assert_eq!(again, bytes);
        }
        let tile = TilePath { level: Level::Hashes(level), index, width };
        let _ = (tile.sizes(), tile.to_string(), TilePath::in_tree(tile.level, index, size));
    }
}
