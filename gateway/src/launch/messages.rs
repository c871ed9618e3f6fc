//! What the gateway has to say while a command has the terminal: into a file of the data directory.
//!
//! The file is made with the first message, so that a run without one costs nothing. It only grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

use crate::config::{MessageForm, MessageLevel};
use crate::data::DataDir;
use crate::serve::messages;

/// The file's name in the data directory.
pub(super) const FILE: &str = "messages.log";

/// Sends messages there from now on.
pub(super) fn to_file(data: &DataDir, told: (MessageForm, MessageLevel)) {
    let lazily = Lazily { path: data.root().join(FILE), file: Mutex::default() };
    messages::to(told, false, lazily);
}

struct Lazily {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl<'w> MakeWriter<'w> for Lazily {
    type Writer = Message<'w>;

    fn make_writer(&'w self) -> Self::Writer {
        Message(self)
    }
}

struct Message<'l>(&'l Lazily);

impl Write for Message<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.0.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => {
                let opened =
                    OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0.path)?;
                none.insert(opened)
            }
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
