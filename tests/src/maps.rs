//! Maps: what a loader's programs hold in the kernel, read as root; and written to, as only somebody else does.

use std::fs;

use aya::maps::{Array, HashMap, Map, MapData, MapInfo};
use sealtap_common::kernel::{Endpoint, Flow, FlowKey, Settings, Watch};

/// Connections that are noted, and how many for each port that they come from.
pub struct Notes {
    entries: HashMap<MapData, [u8; size_of::<FlowKey>()], [u8; size_of::<Flow>()]>,
    counts: Array<MapData, u32>,
}

impl Notes {
    /// Those of a loader.
    ///
    /// # Panics
    /// If it has none.
    pub fn of(loader: u32) -> Self {
        let entries = HashMap::try_from(named(loader, "CONNECTIONS")).expect("a table");
        let counts = Array::try_from(named(loader, "NOTED")).expect("an array");
        Self { entries, counts }
    }

    /// How many connections are noted.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn all(&self) -> u32 {
        let all = self.entries.keys().inspect(|key| assert!(key.is_ok(), "{key:?}"));
        u32::try_from(all.count()).expect("few")
    }

    /// How many are counted for a port.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn at(&self, port: u16) -> u32 {
        self.counts.get(&port.into(), 0).expect("a number")
    }

    /// How many are counted for all ports.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn counted(&self) -> u32 {
        self.counts.iter().map(|number| number.expect("a number")).sum()
    }
}

/// The ids of the cgroups that a loader's programs watch, and what they look at first.
///
/// # Panics
/// If it has none.
pub fn watched(loader: u32) -> (Vec<u64>, [u8; size_of::<Settings>()]) {
    let table: HashMap<_, u64, [u8; size_of::<Watch>()]> =
        HashMap::try_from(named(loader, "WATCHED")).expect("a table");
    let settings = Array::try_from(named(loader, "SETTINGS")).expect("an array");
    let ids = table.keys().collect::<Result<_, _>>().expect("ids");
    (ids, settings.get(&0, 0).expect("one entry"))
}

/// Takes a cgroup away from those that a loader's programs watch.
///
/// # Panics
/// If it is not watched.
pub fn unwatch(loader: u32, cgroup: u64) {
    let mut table: HashMap<_, u64, [u8; size_of::<Watch>()]> =
        HashMap::try_from(named(loader, "WATCHED")).expect("a table");
    table.remove(&cgroup).expect("it is watched");
}

/// Adds a cgroup to them, to be treated like one that is among them.
///
/// # Panics
/// If the other is not watched.
pub fn watch_like(loader: u32, cgroup: u64, other: u64) {
    let mut table: HashMap<_, u64, [u8; size_of::<Watch>()]> =
        HashMap::try_from(named(loader, "WATCHED")).expect("a table");
    let watch = table.get(&other, 0).expect("it is watched");
    table.insert(cgroup, watch, 0).expect("there is room");
}

/// Has a loader's programs leave a place on the machine alone, or what stands for it in their table.
///
/// # Panics
/// If there is no room.
pub fn leave_alone(loader: u32, place: [u8; size_of::<Endpoint>()]) {
    let mut table: HashMap<_, [u8; size_of::<Endpoint>()], u32> =
        HashMap::try_from(named(loader, "LOOPBACK")).expect("a table");
    table.insert(place, 0, 0).expect("there is room");
}

/// Writes zeros over what a loader's programs look at first: nothing is in scope then.
///
/// # Panics
/// If they cannot be written.
pub fn forget_settings(loader: u32) {
    let mut settings: Array<_, [u8; size_of::<Settings>()]> =
        Array::try_from(named(loader, "SETTINGS")).expect("an array");
    settings.set(0, [0; size_of::<Settings>()], 0).expect("one entry");
}

/// The map of that name that a process holds.
fn named(process: u32, name: &str) -> Map {
    let held = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("its descriptors").flatten();
    let texts = held.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let mut ids = texts.filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("map_id:"))?;
        line.trim().parse::<u32>().ok()
    });
    let is_it = |id: &u32| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some(name));
    let id = ids.find(is_it).unwrap_or_else(|| panic!("no map {name}"));
    Map::from_map_data(MapData::from_id(id).expect("it is there")).expect("it is known")
}
