//! How the story is told: numbered steps, what was found, colour where there is a terminal.
//!
//! Every line is written as it happens. Captured bytes are only told as sizes and digests, or
//! through `ls`, which escapes what would steer a terminal.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::error::DemoError;
use crate::command::Output;

const TITLE: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const FOUND: Style = AnsiColor::Yellow.on_default().bold();

/// The telling.
pub(super) struct Story<'s, 'o> {
    output: &'s mut Output<'o>,
    steps: u32,
}

impl<'s, 'o> Story<'s, 'o> {
    /// A story that has not begun.
    pub(super) fn new(output: &'s mut Output<'o>) -> Self {
        Self { output, steps: 0 }
    }

    /// The next step.
    pub(super) fn step(&mut self, title: &str) -> Result<(), DemoError> {
        self.steps = self.steps.saturating_add(1);
        let number = self.steps;
        self.write(&format!("{TITLE}{number}. {title}{TITLE:#}\n"))
    }

    /// Something to know.
    pub(super) fn fact(&mut self, name: &str, value: &str) -> Result<(), DemoError> {
        self.write(&format!("     {QUIET}{name}{QUIET:#}  {value}\n"))
    }

    /// Something that came out as it should.
    pub(super) fn good(&mut self, text: &str) -> Result<(), DemoError> {
        self.write(&format!("  {GOOD}ok{GOOD:#} {text}\n"))
    }

    /// A forgery or a lie that was found, as it should be.
    pub(super) fn found(&mut self, what: &str, text: &str) -> Result<(), DemoError> {
        self.write(&format!("  {FOUND}{what}{FOUND:#}: {text}\n"))
    }

    /// Text that others laid out, with their styles.
    pub(super) fn laid_out(&mut self, text: &str) -> Result<(), DemoError> {
        let indented: String = text.lines().map(|line| format!("     {line}\n")).collect();
        self.write(&indented)
    }

    /// A line of its own.
    pub(super) fn line(&mut self, text: &str) -> Result<(), DemoError> {
        self.write(&format!("{text}\n"))
    }

    fn write(&mut self, text: &str) -> Result<(), DemoError> {
        let written = self.output.styled().write_all(text.as_bytes());
        written.and_then(|()| self.output.exact().flush()).map_err(DemoError::Output)
    }
}

/// The first twelve digits of a digest in hex: enough to compare by eye.
pub(super) fn short(digest: &[u8; 32]) -> String {
    hex(digest).chars().take(12).collect()
}

/// A digest in lowercase hex.
pub(super) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
