//! Standard output as a command sees it: exact bytes, or text with styles.
//!
//! The two must not be mixed up: what takes styles out of text would take the same bytes out of a
//! captured body.

use std::io::{self, Write};

use anstream::adapter::StripBytes;
use anstream::{AutoStream, ColorChoice};

/// Where results go.
pub struct Output<'a> {
    raw: &'a mut dyn Write,
    styles: bool,
}

impl<'a> Output<'a> {
    /// Output to `raw`; `styles` says whether it is shown where styles are.
    pub fn new(raw: &'a mut dyn Write, styles: bool) -> Self {
        Self { raw, styles }
    }

    /// Whether standard output shows styles: a terminal, unless the environment says otherwise.
    #[must_use]
    pub fn standard_has_styles() -> bool {
        AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    /// For JSON and bodies: every byte arrives as it is.
    pub fn exact(&mut self) -> &mut dyn Write {
        self.raw
    }

    /// For people: `anstyle` styles are shown, or taken out where they cannot be.
    pub fn styled(&mut self) -> Box<dyn Write + '_> {
        match self.styles {
            true => Box::new(&mut *self.raw),
            false => Box::new(Stripped { raw: self.raw, state: StripBytes::new() }),
        }
    }
}

/// Text on its way to where styles mean nothing.
struct Stripped<'o> {
    raw: &'o mut dyn Write,
    state: StripBytes,
}

impl Write for Stripped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for text in self.state.strip_next(bytes) {
            self.raw.write_all(text)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.raw.flush()
    }
}
