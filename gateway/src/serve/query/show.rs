//! Show: one exchange, for people or as JSON.

use std::io::{self, Write};

use sealtap_common::unit::{Field, Received, Trailers};

use super::Query;
use super::detail::{BodyFacts, Detail};
use super::error::QueryError;
use super::json;
use super::octets::{joined, printable, readable, shown};
use super::overlay::Overlay;
use super::people::{Format, Paint, Tone, duration, size, tone};
use super::view::{MessageView, PrunedView, hex, rfc3339};

/// Lines of WebSocket messages for people; `--json` has all of them.
const MESSAGES: usize = 40;

impl<O: Overlay> Query<O> {
    /// Writes everything about the exchange that `text` stands for, apart from its bodies.
    ///
    /// # Errors
    ///
    /// There is none, there are several, store or journal cannot be read, or `out` fails.
    pub fn show(
        &mut self,
        text: &str,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<(), QueryError> {
        let detail = self.detail(text)?;
        let written = match format {
            Format::Json => json::detail(&detail)
                .and_then(|object| serde_json::to_writer_pretty(&mut *out, &object))
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
            Format::People(paint) => Page { detail: &detail, paint, out: &mut *out }.write(),
        };
        written.and_then(|()| out.flush()).map_err(QueryError::Output)
    }
}

struct Page<'a> {
    detail: &'a Detail,
    paint: Paint,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn write(&mut self) -> io::Result<()> {
        self.summary()?;
        self.request()?;
        self.response()?;
        self.messages()?;
        self.hints()
    }

    fn line(&mut self, name: &str, value: &str) -> io::Result<()> {
        let name = self.paint.paint(Tone::Quiet, &format!("{name:<10}"));
        writeln!(self.out, "{name}{}", printable(value))
    }

    fn summary(&mut self) -> io::Result<()> {
        let view = &self.detail.view;
        let id = self.paint.paint(Tone::Strong, &view.id.to_string());
        let mut outcome = view.outcome.to_owned();
        if let Some(error) = view.error {
            outcome.push_str(&format!(" ({error})"));
        }
        let outcome = self.paint.paint(tone(view.outcome, view.status), &outcome);
        let name = self.paint.paint(Tone::Quiet, &format!("{:<10}", "exchange"));
        writeln!(self.out, "{name}{id}  {outcome}")?;
        let run = match &view.run.name {
            Some(name) => format!("{name}  (id {})", view.run.id),
            None => view.run.id.to_string(),
        };
        self.line("run", &run)?;
        let leaf = match (view.leaf, &self.detail.seal) {
            (Some(leaf), Some(seal)) => format!(
                "leaf {leaf}, position {} of its run, sealed {}, policy {}",
                seal.position,
                moment(seal.sealed),
                seal.policy
            ),
            (Some(leaf), None) => format!("leaf {leaf}"),
            (None, _) => "not sealed yet".to_owned(),
        };
        self.line("log", &leaf)?;
        if let Some(pruned) = &view.pruned {
            let PrunedView { leaf, sealed, retention } = pruned;
            let why =
                format!("retention of {retention}, stated in leaf {leaf}, {}", moment(*sealed));
            self.line("pruned", &format!("heads and bodies are held no longer: {why}"))?;
        }
        let mut took = format!("{}, took {}", moment(view.started), duration(view.duration_ns));
        if let Some(ttfb) = view.response.as_ref().and_then(|response| response.ttfb_ns) {
            took.push_str(&format!(", first byte after {}", duration(ttfb)));
        }
        self.line("started", &took)?;
        if let Some(tunnel) = &view.tunnel {
            let (sent, got) = (size(tunnel.from_client), size(tunnel.to_client));
            self.line(
                "tunnel",
                &format!("{}; {sent} from the client, {got} to it", tunnel.said()),
            )?;
            if let Some(hint) = tunnel.hint {
                self.line("hint", hint)?;
            }
        }
        let client = view.client.as_deref().unwrap_or("unknown");
        let ingress = view.ingress.map(|it| format!("  ({it})")).unwrap_or_default();
        self.line("client", &format!("{client}{ingress}"))?;
        if let Some(maker) = &view.maker {
            self.line("made by", &maker.said())?;
            if let Some(sha256) = &maker.sha256 {
                self.line("", &format!("sha256 {sha256}"))?;
            }
            if let Some(command) = &maker.command {
                self.line("", command)?;
            }
        }
        let context = self.detail.units.context.as_ref();
        let more = context.map(|it| [&it.upstream_url, &it.upstream_address, &it.upstream_tls]);
        let more: Vec<_> = more
            .into_iter()
            .flatten()
            .flatten()
            .map(|octets| readable(octets))
            .filter(|text| Some(text) != view.upstream.as_ref())
            .collect();
        let upstream = view.upstream.as_deref().unwrap_or("none");
        if more.is_empty() {
            self.line("upstream", upstream)
        } else {
            self.line("upstream", &format!("{upstream}  ({})", more.join(", ")))
        }
    }

    fn request(&mut self) -> io::Result<()> {
        let view = &self.detail.view;
        writeln!(self.out)?;
        match &self.detail.units.request_head {
            None if view.pruned.is_some() => self.title("request")?,
            None => self.title("no readable request head")?,
            Some(head) => {
                let url = view.url.as_deref().unwrap_or_default();
                let method = readable(&head.line.method);
                self.title(&format!("{method} {url}  HTTP/{}", head.line.version))?;
                if head.line != head.received_line {
                    let line = &head.received_line;
                    let (method, target) = (readable(&line.method), joined(&line.target));
                    self.aside(&format!("came as {method} {target}  HTTP/{}", line.version))?;
                }
                self.fields(&head.fields, &head.received_fields)?;
            }
        }
        let trailers = self.detail.units.request_trailers.as_ref();
        self.trailers(trailers)?;
        let facts = self.detail.seal.as_ref().map(|seal| seal.request);
        self.body(&view.request, facts)
    }

    fn response(&mut self) -> io::Result<()> {
        let view = &self.detail.view;
        let interim = self.detail.units.interim.as_ref();
        for (line, fields) in interim.into_iter().flat_map(|interim| &interim.heads) {
            writeln!(self.out)?;
            let reason = readable(&line.reason);
            self.title(&format!("{} {reason}  HTTP/{}  (interim)", line.status, line.version))?;
            fields.iter().try_for_each(|field| self.field("  ", field))?;
        }
        writeln!(self.out)?;
        let Some(response) = &view.response else { return self.title("no response") };
        let source = self.detail.seal.as_ref().and_then(|seal| seal.source);
        let source = source.map(|source| format!("  (from the {source})")).unwrap_or_default();
        if let Some(head) = &self.detail.units.response_head {
            let (line, reason) = (&head.line, readable(&head.line.reason));
            let space = if reason.is_empty() { "" } else { " " };
            let title = format!("{}{space}{reason}  HTTP/{}{source}", line.status, line.version);
            self.title(&title)?;
            if head.line != head.received_line {
                let line = &head.received_line;
                let reason = readable(&line.reason);
                self.aside(&format!("came as {} {reason}  HTTP/{}", line.status, line.version))?;
            }
            self.fields(&head.fields, &head.received_fields)?;
        }
        let trailers = self.detail.units.response_trailers.as_ref();
        self.trailers(trailers)?;
        let facts = self.detail.seal.as_ref().and_then(|seal| seal.response);
        self.body(&response.message, facts)
    }

    fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint.paint(Tone::Strong, &printable(text));
        writeln!(self.out, "{text}")
    }

    fn aside(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint.paint(Tone::Quiet, &printable(text));
        writeln!(self.out, "  {text}")
    }

    fn field(&mut self, mark: &str, (name, value): &Field<'_>) -> io::Result<()> {
        let name = self.paint.paint(Tone::Quiet, &printable(&readable(name)));
        writeln!(self.out, "{mark}{name}: {}", printable(&shown(value)))
    }

    /// The fields that went on, marked `+` where they did not come so, and those that came and did
    /// not go on, marked `-`.
    fn fields(
        &mut self,
        outgoing: &[Field<'static>],
        received: &[Received<'static>],
    ) -> io::Result<()> {
        let mut came = vec![false; outgoing.len()];
        for field in received {
            if let Received::Same(index) = field
                && let Some(flag) = usize::try_from(*index).ok().and_then(|at| came.get_mut(at))
            {
                *flag = true;
            }
        }
        for (field, came) in outgoing.iter().zip(came) {
            self.field(if came { "  " } else { "+ " }, field)?;
        }
        for field in received {
            if let Received::Own(field) = field {
                self.field("- ", field)?;
            }
        }
        Ok(())
    }

    fn trailers(&mut self, trailers: Option<&Trailers<'static>>) -> io::Result<()> {
        let Some(trailers) = trailers else { return Ok(()) };
        self.aside("trailers")?;
        self.fields(&trailers.fields, &trailers.received_fields)
    }

    fn body(&mut self, message: &MessageView, facts: Option<BodyFacts>) -> io::Result<()> {
        let mut text = format!("body {}", size(message.bytes));
        if message.bytes > 999 {
            text.push_str(&format!(" ({} bytes)", message.bytes));
        }
        let changed = facts.is_some_and(|facts| !facts.same);
        let changed = if changed { ", not all as it arrived" } else { "" };
        text.push_str(&format!(", {}{changed}", message.end));
        if let Some(facts) = facts.filter(|facts| facts.segments > 0) {
            let plural = if facts.segments == 1 { "" } else { "s" };
            let (dialect, count) = (facts.dialect, facts.segments);
            text.push_str(&format!(", {dialect} in {count} segment{plural}"));
        }
        self.aside(&text)?;
        if message.bytes > 0 {
            match &message.sha256 {
                Some(sha256) => self.aside(&format!("sha256 {}", hex(sha256)))?,
                None => self.aside("held no longer")?,
            }
        }
        Ok(())
    }

    fn messages(&mut self) -> io::Result<()> {
        let Some(messages) = &self.detail.messages else { return Ok(()) };
        writeln!(self.out)?;
        let count = messages.len();
        let plural = if count == 1 { "" } else { "s" };
        self.title(&format!("{count} WebSocket message{plural}"))?;
        for (direction, message) in messages.iter().take(MESSAGES) {
            let mut line = format!("  {:<9} {:<8} ", direction.as_str(), message.op.as_str());
            line.push_str(&format!("{:>10}", size(message.length)));
            match (message.compressed, message.decoded) {
                (true, Some(decoded)) => {
                    line.push_str(&format!(", inflates to {}", size(decoded.length)));
                }
                (true, None) => line.push_str(", compressed, not readable"),
                (false, _) => {}
            }
            if !message.complete {
                line.push_str(", cut off");
            }
            if let Some(text) = &message.text {
                let length = message.decoded.map_or(message.length, |decoded| decoded.length);
                let shown = u64::try_from(text.len()).unwrap_or(u64::MAX);
                let more = if length > shown { " ..." } else { "" };
                line.push_str(&format!("  {}{more}", printable(text)));
            }
            writeln!(self.out, "{line}")?;
        }
        let left = messages.len().saturating_sub(MESSAGES);
        if left > 0 {
            self.aside(&format!("and {left} more; --json lists all of them"))?;
        }
        Ok(())
    }

    fn hints(&mut self) -> io::Result<()> {
        let view = &self.detail.view;
        let response = view.response.as_ref().map(|response| &response.message);
        let bodies = [("request", Some(&view.request)), ("response", response)];
        let with_bytes = |message: &&MessageView| message.bytes > 0 && message.sha256.is_some();
        let mut id = view.id.to_string();
        id.truncate(12);
        let mut is_first = true;
        for (direction, _) in bodies.iter().filter(|(_, it)| it.as_ref().is_some_and(with_bytes)) {
            if is_first {
                writeln!(self.out)?;
                is_first = false;
            }
            self.line("bytes", &format!("sealtap show {id} --body {direction} > FILE"))?;
        }
        Ok(())
    }
}

fn moment(microseconds: u64) -> String {
    rfc3339(microseconds).replace('T', " ").replace('Z', " UTC")
}
