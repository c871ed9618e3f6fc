//! What becomes of a digested exchange: its leaf, and what the store takes.

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    CONNECTION_EXTENSION, Exchange, Extensions, Request, Response, RunLink, Source, connection_tag,
};
use sealtap_common::websocket::EXTENSION;

use super::digest::Digested;
use super::pins::Held;
use super::sealed::{SealedExchange, Slot};

/// About how long a leaf is, in bytes.
const LEAF: usize = 1_536;

impl Digested {
    /// Its leaf, linked to its run and made at `sealed`.
    pub(super) fn leaf(&self, run: RunLink, sealed: u64) -> Exchange {
        let unit = |slot: Slot| {
            let found = self.units.iter().find(|(unit, _)| unit.slot == slot);
            found.map(|(_, unit)| *unit)
        };
        let (body, end, same) = self.request;
        let request = Request {
            body,
            end,
            head: unit(Slot::RequestHead),
            same,
            trailers: unit(Slot::RequestTrailers),
        };
        let (head, interim) = (unit(Slot::ResponseHead), unit(Slot::Interim));
        let known = self.response.filter(|_| head.is_some() || interim.is_some());
        let response = known.map(|(body, end, same, source): (_, _, _, Source)| Response {
            body,
            end,
            head,
            interim,
            same,
            source,
            trailers: unit(Slot::ResponseTrailers),
        });
        let messages = unit(Slot::Messages).map(|unit| (EXTENSION.to_owned(), unit.root));
        let connection =
            self.connection.map(|id| (CONNECTION_EXTENSION.to_owned(), connection_tag(&Id(id))));
        let ext: Extensions = messages.into_iter().chain(connection).collect();
        Exchange {
            boot: Id(self.boot),
            context: self.context,
            ended: self.ended_us,
            error: self.error,
            exchange: Id(self.id),
            ext,
            number: self.number,
            outcome: self.outcome,
            policy: self.policy,
            request,
            response,
            run,
            sealed,
            started: self.started_us,
            tunnel: self.tunnel,
        }
    }

    /// What the journal keeps for it.
    #[must_use]
    pub fn held(&self) -> Held {
        Held::Exchange((self.boot, self.number))
    }

    /// About how much memory it takes until it is stored, its leaf included, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let units = self.units.iter().map(|(unit, _)| unit.bytes.capacity());
        let units = units.sum::<usize>() + size_of_val(self.units.as_slice());
        let lists = self
            .bodies
            .iter()
            .map(|body| 24 * (body.segments.capacity() + body.extents.capacity()));
        let bodies = lists.sum::<usize>() + size_of_val(self.bodies.as_slice());
        let bytes = units + bodies + self.records.weight() + size_of::<Self>() + LEAF;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The exchange as the store takes it, now that its leaf stands at `leaf_index`.
    #[must_use]
    pub fn into_sealed(self, leaf_index: u64, leaf: Vec<u8>) -> SealedExchange {
        let ns = |until: u64| until.saturating_sub(self.started_us).saturating_mul(1_000);
        let weight = self.weight();
        SealedExchange {
            weight,
            leaf_index,
            leaf,
            boot: self.boot,
            number: self.number,
            id: self.id,
            first_file: self.first_file,
            ttfb_ns: self.answered_us.map(ns),
            duration_ns: ns(self.ended_us),
            units: self.units.into_iter().map(|(unit, _)| unit).collect(),
            bodies: self.bodies,
        }
    }
}
