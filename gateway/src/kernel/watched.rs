//! Watched: what the programs are told to watch, to lead and to leave alone.
//!
//! In: cgroups, places, the bank that is to count. Out: the programs' maps. The kernel replaces an entry of a
//! table as a whole, but copies settings in any order while programs read them: so a word of theirs means
//! something by itself, or is waited for. Whoever is root outside can write to these maps as well, and the links
//! stay as they are then: so the maps are read back, and [`Watched::is_changed`] says whether anybody did.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use aya::maps::{Array, HashMap, MapData, MapError};
use aya::{Ebpf, Pod};
use sealtap_common::kernel::{Endpoint, Settings, Watch, alone};

use super::grace::Grace;
use super::programs::ProgramsError;
use super::raw::{Value, own_namespace};

/// What they were told.
pub(super) struct Watched {
    settings: Settings,
    /// What was written last; none before anything was.
    written: Option<Settings>,
    /// What is to be done with each, and the levels at which it lies.
    cgroups: BTreeMap<u64, (Watch, u32)>,
    /// Places that are left alone: address and port.
    places: BTreeSet<([u8; 16], u32)>,
    /// Whether something was found that nobody here wrote. It stays: what was done meanwhile is not known.
    changed: bool,
    grace: Grace,
}

impl Watched {
    /// Nothing, for a gateway of that process, which is in this network namespace.
    pub(super) fn by(gateway: u32) -> Result<Self, ProgramsError> {
        let namespace = own_namespace().unwrap_or_default();
        let settings = Settings { gateway, namespace, ..Settings::default() };
        let grace = Grace::begin().map_err(ProgramsError::Wait)?;
        let (cgroups, places) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { settings, written: None, cgroups, places, changed: false, grace })
    }

    /// Watches a cgroup that lies at one of `levels`; names may be asked for at `resolver`.
    pub(super) fn watch(
        &mut self,
        ebpf: &mut Ebpf,
        cgroup: u64,
        levels: u32,
        watch: Watch,
        resolver: Option<Endpoint>,
    ) -> Result<(), ProgramsError> {
        let table = ebpf.map_mut("WATCHED").ok_or(ProgramsError::Lacks("WATCHED"))?;
        let mut table: HashMap<_, u64, Value<Watch>> = table.try_into()?;
        table.insert(cgroup, Value(watch), 0)?;
        self.cgroups.insert(cgroup, (watch, levels));
        self.several(ebpf)?;
        self.settings.levels = self.levels();
        self.settings.resolver = resolver.unwrap_or_default();
        self.set(ebpf)?;
        self.single(ebpf)
    }

    /// Watches it no more.
    pub(super) fn unwatch(&mut self, ebpf: &mut Ebpf, cgroup: u64) -> Result<(), ProgramsError> {
        if !self.cgroups.contains_key(&cgroup) {
            return Ok(());
        }
        self.several(ebpf)?;
        let table = ebpf.map_mut("WATCHED").ok_or(ProgramsError::Lacks("WATCHED"))?;
        let mut table: HashMap<_, u64, Value<Watch>> = table.try_into()?;
        self.changed |= !took(table.remove(&cgroup))?;
        self.cgroups.remove(&cgroup);
        // Where none is left, nobody looks.
        self.settings.levels = self.levels();
        self.set(ebpf)?;
        self.single(ebpf)
    }

    /// Where there is something to look for.
    fn levels(&self) -> u32 {
        self.cgroups.values().fold(0, |all, (_, levels)| all | levels)
    }

    /// Leaves these places on the machine alone, and no others.
    pub(super) fn leave_alone(
        &mut self,
        ebpf: &mut Ebpf,
        places: &[Endpoint],
    ) -> Result<(), ProgramsError> {
        let listed = ebpf.map_mut("LOOPBACK").ok_or(ProgramsError::Lacks("LOOPBACK"))?;
        let mut listed: HashMap<_, Value<Endpoint>, u32> = listed.try_into()?;
        let before: Vec<Value<Endpoint>> = listed.keys().collect::<Result<_, _>>()?;
        for place in before {
            let known = self.places.remove(&named(&place.0));
            self.changed |= !(took(listed.remove(&place))? && known);
        }
        self.changed |= !self.places.is_empty();
        self.places.clear();
        for place in places {
            listed.insert(Value(*place), 0, 0)?;
            self.places.insert(named(place));
        }
        (self.settings.left_alone, self.settings.ports) = kinds(places);
        self.set(ebpf)
    }

    /// The bank that counts.
    pub(super) const fn bank(&self) -> u32 {
        self.settings.bank
    }

    /// Has the other bank count; none counts into this one any more.
    pub(super) fn turn(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramsError> {
        self.settings.bank = 1 - self.settings.bank;
        self.set(ebpf)?;
        self.wait()
    }

    /// Has the programs look among all that is watched; none of them does otherwise any more.
    fn several(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramsError> {
        if self.settings.single == 0 {
            return Ok(());
        }
        self.settings.single = 0;
        self.set(ebpf)?;
        self.wait()
    }

    /// Says what is watched where it is one cgroup alone, so that the programs need not look for it: first
    /// what nobody reads, then that it may be read, when each program that runs has begun since.
    fn single(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramsError> {
        let mut all = self.cgroups.iter();
        let (Some((id, (watch, levels))), None) = (all.next(), all.next()) else { return Ok(()) };
        // Where its level is not known, it is looked for among all.
        if self.settings.single != 0 || !levels.is_power_of_two() {
            return Ok(());
        }
        let level = levels.trailing_zeros();
        (self.settings.single_id, self.settings.single_watch) = (*id, *watch);
        self.set(ebpf)?;
        self.wait()?;
        self.settings.single = 1 + level;
        self.set(ebpf)
    }

    fn set(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramsError> {
        let settings = ebpf.map_mut("SETTINGS").ok_or(ProgramsError::Lacks("SETTINGS"))?;
        let mut settings: Array<_, Value<Settings>> = settings.try_into()?;
        // Looked at before it is written over: what somebody else wrote would be gone.
        if let Some(written) = self.written {
            self.changed |= settings.get(&0, 0)?.0 != written;
        }
        settings.set(0, Value(self.settings), 0)?;
        self.written = Some(self.settings);
        Ok(())
    }

    /// Whether anything was found in these maps, now or before, that was not written here, or is not there any
    /// more. Two calls for each entry, of which there are at most as many as the tables have room for.
    pub(super) fn is_changed(&mut self, ebpf: &Ebpf) -> Result<bool, ProgramsError> {
        let table = ebpf.map("WATCHED").ok_or(ProgramsError::Lacks("WATCHED"))?;
        let table: HashMap<_, u64, Value<Watch>> = table.try_into()?;
        for (cgroup, (watch, _)) in &self.cgroups {
            let found = found(table.get(cgroup, 0))?;
            self.changed |= found.is_none_or(|found| found.0 != *watch);
        }
        // One more than these would be looked up as well, and may lie within one of them.
        self.changed |= how_many(&table, self.cgroups.len())? != self.cgroups.len();
        let listed = ebpf.map("LOOPBACK").ok_or(ProgramsError::Lacks("LOOPBACK"))?;
        let listed: HashMap<_, Value<Endpoint>, u32> = listed.try_into()?;
        for (address, port) in &self.places {
            let place = Endpoint { address: *address, port: *port };
            self.changed |= found(listed.get(&Value(place), 0))?.is_none();
        }
        self.changed |= how_many(&listed, self.places.len())? != self.places.len();
        Ok(self.changed)
    }

    /// Waits until each program that runs now has ended.
    fn wait(&self) -> Result<(), ProgramsError> {
        self.grace.wait().map_err(ProgramsError::Wait)
    }
}

/// A place in an order.
const fn named(place: &Endpoint) -> ([u8; 16], u32) {
    (place.address, place.port)
}

/// What was found, or nothing; no other error is an answer.
fn found<V>(got: Result<V, MapError>) -> Result<Option<V>, MapError> {
    match got {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether what was to be taken away was there: who takes it away before asks for no more than that.
fn took(removed: Result<(), MapError>) -> Result<bool, MapError> {
    match removed {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        removed => found(removed).map(|there| there.is_some()),
    }
}

/// How many entries a table has; one more than expected where it has more than that: while somebody writes to it,
/// reading it may begin again and again.
fn how_many<K: Pod, V: Pod>(
    table: &HashMap<&MapData, K, V>,
    expected: usize,
) -> Result<usize, MapError> {
    table.keys().take(expected.saturating_add(1)).try_fold(0, |sum: usize, key| {
        key?;
        Ok(sum.saturating_add(1))
    })
}

/// What `Settings` has of places that are left alone: their kinds, and the ports of those that have one.
fn kinds(places: &[Endpoint]) -> (u32, u64) {
    places.iter().fold((0, 0), |(kinds, ports), place| match place.port {
        0 => (kinds | alone::ADDRESSES, ports),
        port => (kinds | alone::PORTS, ports | Settings::port_bit(port)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_known_by_their_kinds_and_ports() {
        let place = |port| Endpoint { port, ..Endpoint::default() };
        assert_eq!(kinds(&[]), (0, 0));
        assert_eq!(kinds(&[place(0)]), (alone::ADDRESSES, 0));
        assert_eq!(kinds(&[place(80), place(144)]), (alone::PORTS, 1 << 16));
        assert_eq!(kinds(&[place(0), place(64)]), (alone::ADDRESSES | alone::PORTS, 1));
    }
}
