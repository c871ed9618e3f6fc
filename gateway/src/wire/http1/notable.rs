//! Picks out, in one pass, the fields that frame a message or speak of its connection.

use crate::wire::message::Fields;

/// What one name stands for in a head: its first value, and whether there is another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Value<'a> {
    pub(super) first: Option<&'a [u8]>,
    pub(super) repeated: bool,
}

impl Value<'_> {
    pub(super) fn is_some(self) -> bool {
        self.first.is_some()
    }
}

/// The fields that the parsers look at.
#[derive(Debug, Default)]
pub(super) struct Notable<'a> {
    pub(super) te: Value<'a>,
    pub(super) host: Value<'a>,
    pub(super) expect: Value<'a>,
    pub(super) connection: Value<'a>,
    pub(super) length: Value<'a>,
    pub(super) coding: Value<'a>,
}

impl<'a> Notable<'a> {
    pub(super) fn read(fields: &'a Fields) -> Self {
        let mut notable = Self::default();
        for (name, value) in fields.iter() {
            // The length alone passes over most fields.
            let (text, slot) = match name.len() {
                2 => ("te", &mut notable.te),
                4 => ("host", &mut notable.host),
                6 => ("expect", &mut notable.expect),
                10 => ("connection", &mut notable.connection),
                14 => ("content-length", &mut notable.length),
                17 => ("transfer-encoding", &mut notable.coding),
                _ => continue,
            };
            if name.eq_ignore_ascii_case(text.as_bytes()) {
                slot.repeated = slot.first.is_some();
                slot.first = slot.first.or(Some(value));
            }
        }
        notable
    }
}
