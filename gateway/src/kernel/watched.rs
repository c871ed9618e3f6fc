//! Watched: what the programs are told to watch, to lead and to leave alone.
//!
//! In: cgroups, places, the bank that is to count. Out: the programs' maps. The kernel replaces an entry of a
//! table as a whole, but copies settings in any order while programs read them: so a word of theirs means
//! something by itself, or is waited for.

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::maps::{Array, HashMap};
use sealtap_common::kernel::{Endpoint, Settings, Watch, alone};

use super::grace::Grace;
use super::programs::ProgramsError;
use super::raw::{Value, own_namespace};

/// What they were told.
pub(super) struct Watched {
    settings: Settings,
    /// What is to be done with each, and the levels at which it lies.
    cgroups: BTreeMap<u64, (Watch, u32)>,
    grace: Grace,
}

impl Watched {
    /// Nothing, for a gateway of that process, which is in this network namespace.
    pub(super) fn by(gateway: u32) -> Result<Self, ProgramsError> {
        let namespace = own_namespace().unwrap_or_default();
        let settings = Settings { gateway, namespace, ..Settings::default() };
        let grace = Grace::begin().map_err(ProgramsError::Wait)?;
        Ok(Self { settings, cgroups: BTreeMap::new(), grace })
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
        table.remove(&cgroup)?;
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
            listed.remove(&place)?;
        }
        for place in places {
            listed.insert(Value(*place), 0, 0)?;
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

    fn set(&self, ebpf: &mut Ebpf) -> Result<(), ProgramsError> {
        let settings = ebpf.map_mut("SETTINGS").ok_or(ProgramsError::Lacks("SETTINGS"))?;
        let mut settings: Array<_, Value<Settings>> = settings.try_into()?;
        Ok(settings.set(0, Value(self.settings), 0)?)
    }

    /// Waits until each program that runs now has ended.
    fn wait(&self) -> Result<(), ProgramsError> {
        self.grace.wait().map_err(ProgramsError::Wait)
    }
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
