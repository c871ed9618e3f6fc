//! The units of one exchange, decoded.

use sealtap_common::unit::{
    Context, Field, Interim, Octets, Received, RequestHead, ResponseHead, Shown, Trailers,
    UnitError,
};

use sealtap_common::websocket::MessageIndex;

use super::deflate::Deflate;
use crate::store::Slot;

/// What is there of an exchange's heads, trailers, interim answers and context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// The request's head.
    pub request_head: Option<RequestHead<'static>>,
    /// The request's trailers.
    pub request_trailers: Option<Trailers<'static>>,
    /// The final response's head.
    pub response_head: Option<ResponseHead<'static>>,
    /// The response's trailers.
    pub response_trailers: Option<Trailers<'static>>,
    /// The interim answers.
    pub interim: Option<Interim<'static>>,
    /// The context.
    pub context: Option<Context<'static>>,
    /// The index of a WebSocket session's messages.
    pub messages: Option<MessageIndex>,
}

impl Units {
    /// Decodes units from their committed bytes.
    ///
    /// # Errors
    ///
    /// The first unit that cannot be read, and why.
    pub fn decode<'a>(
        units: impl IntoIterator<Item = (Slot, &'a [u8])>,
    ) -> Result<Self, (Slot, UnitError)> {
        let mut decoded = Self::default();
        for (slot, bytes) in units {
            decoded.take(slot, bytes).map_err(|error| (slot, error))?;
        }
        Ok(decoded)
    }

    fn take(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), UnitError> {
        match slot {
            Slot::RequestHead => self.request_head = Some(RequestHead::decode(bytes)?),
            Slot::RequestTrailers => self.request_trailers = Some(Trailers::decode(bytes)?),
            Slot::ResponseHead => self.response_head = Some(ResponseHead::decode(bytes)?),
            Slot::ResponseTrailers => self.response_trailers = Some(Trailers::decode(bytes)?),
            Slot::Interim => self.interim = Some(Interim::decode(bytes)?),
            Slot::Context => self.context = Some(Context::decode(bytes)?),
            Slot::Messages => self.messages = Some(MessageIndex::decode(bytes)?),
        }
        Ok(())
    }

    /// Whether the exchange became a WebSocket session.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        // Over HTTP/2 heads alone do not say it; the sealed index does.
        self.messages.is_some()
            || self.response_head.as_ref().is_some_and(|head| {
                head.line.status == 101
                    && plain_values(&head.fields, "upgrade").any(|value| {
                        value
                            .split(|byte| *byte == b',')
                            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"websocket"))
                    })
            })
    }
}

impl Units {
    /// The compression that client and upstream of a WebSocket session agreed on.
    #[must_use]
    pub fn deflate(&self) -> Option<Deflate> {
        let fields = &self.response_head.as_ref()?.fields;
        let values = plain_values(fields, "sec-websocket-extensions");
        Deflate::agreed(values.map(|octets| octets.as_ref()))
    }
}

/// The values of every field called `name` that are no secrets.
pub(super) fn plain_values<'a>(
    fields: &'a [Field<'_>],
    name: &'a str,
) -> impl Iterator<Item = &'a Octets<'a>> {
    fields.iter().filter_map(move |(field, value)| match value {
        Shown::Plain(octets) if field.eq_ignore_ascii_case(name.as_bytes()) => Some(octets),
        _ => None,
    })
}

/// The fields that came in, with those that went out unchanged filled in.
pub(super) fn received_fields<'a>(
    outgoing: &'a [Field<'static>],
    received: &'a [Received<'static>],
) -> impl Iterator<Item = &'a Field<'static>> {
    received.iter().filter_map(|field| match field {
        Received::Same(index) => outgoing.get(usize::try_from(*index).ok()?),
        Received::Own(field) => Some(field),
    })
}
