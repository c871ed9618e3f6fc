//! What comes before the files: records that were carried over, and how the files follow them.

use super::super::carried::{Carried, Stands};
use super::super::open::file_name;
use super::super::{Batch, JournalError};
use super::{Place, Reader};

/// What was carried over comes first.
pub(super) enum FromCarried {
    /// It was not looked for yet.
    Unknown,
    /// It is being read.
    Reading(Carried),
    /// It was read, and the files go on from it.
    Read(Stands),
    /// There is none, or it is not wanted.
    Nothing,
}

impl Reader {
    pub(super) fn next_carried(&mut self) -> Result<Option<Batch>, JournalError> {
        if let FromCarried::Unknown = self.carried {
            self.carried = match Carried::open(&self.disk)? {
                Some(carried) => {
                    self.first = self.first.max(carried.stands.next);
                    FromCarried::Reading(carried)
                }
                None => FromCarried::Nothing,
            };
        }
        let FromCarried::Reading(carried) = &mut self.carried else { return Ok(None) };
        let stands = carried.stands;
        let Some((batch, _)) = carried.next()? else {
            self.carried = FromCarried::Read(stands);
            return Ok(None);
        };
        if self.boots.last() != Some(&batch.boot) {
            self.boots.push(batch.boot);
        }
        Ok(Some(batch))
    }

    /// There is no file: right where nothing was ever captured, or only what was carried is wanted.
    pub(super) fn no_files(&self) -> Result<Option<Batch>, JournalError> {
        match &self.carried {
            FromCarried::Read(stands) if stands.next <= self.last => {
                let path = self.disk.path(&file_name(stands.next));
                Err(JournalError::MissingFile { path })
            }
            _ => Ok(None),
        }
    }

    /// The first file is the one that what was carried over stands in front of.
    pub(super) fn follows_carried(
        &self,
        entered: Option<&Place>,
        first: u64,
    ) -> Result<(), JournalError> {
        let FromCarried::Read(stands) = &self.carried else { return Ok(()) };
        if first != stands.next {
            let path = self.disk.path(&file_name(stands.next));
            return Err(JournalError::MissingFile { path });
        }
        match entered {
            Some(place) if (place.expected, place.chain) != (stands.first_batch, stands.chain) => {
                Err(self.corrupt(place))
            }
            _ => Ok(()),
        }
    }

    /// Whether everything was read up to the batch before `first_batch`, whose checksum is `chain`.
    pub(in super::super) fn reached(&self, first_batch: u64, chain: u32) -> bool {
        let reached = match (&self.place, &self.carried) {
            (Some(place), _) => (place.expected, place.chain),
            (None, FromCarried::Read(stands)) => (stands.first_batch, stands.chain),
            (None, _) => return false,
        };
        reached == (first_batch, chain)
    }

    /// A file that was taken back held nothing that is needed, unless that was carried over since.
    pub(super) fn nothing_carried_since(&self, place: &Place) -> Result<(), JournalError> {
        let Some(carried) = Carried::open(&self.disk)? else { return Ok(()) };
        if carried.stands.next <= place.header.sequence {
            return Ok(());
        }
        let path = self.disk.path(&place.name);
        Err(JournalError::MissingFile { path })
    }
}
