//! The authority opened beside the rest of a start.
//!
//! In: where it is. Out: the authority, or why there is none. A new one costs tens of milliseconds,
//! most of them until the library's generator has begun; log and store need none of it. Never goes on
//! after it was dropped: who gives up a start finds nothing changing behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::accept::authority::{Authority, AuthorityError};
use crate::config::Ca;

type Opened = Result<Authority, AuthorityError>;

/// An authority that is being opened, or is open.
pub(super) struct Opening {
    directory: PathBuf,
    settings: Ca,
    thread: Option<JoinHandle<Opened>>,
    open: Option<Arc<Authority>>,
}

impl Opening {
    /// Begins to open the one in `directory`.
    pub(super) fn start(directory: PathBuf, settings: Ca) -> Self {
        let (place, wanted) = (directory.clone(), settings.clone());
        let thread = thread::Builder::new().name("authority".to_owned());
        // Without a thread it is opened once it is waited for.
        let thread = thread.spawn(move || Authority::open(&place, &wanted)).ok();
        Self { directory, settings, thread, open: None }
    }

    /// Waits for it.
    pub(super) fn wait(&mut self) -> Result<Arc<Authority>, AuthorityError> {
        if let Some(open) = &self.open {
            return Ok(Arc::clone(open));
        }
        let opened = self.thread.take().and_then(|thread| thread.join().ok());
        let opened = opened.unwrap_or_else(|| Authority::open(&self.directory, &self.settings));
        Ok(Arc::clone(self.open.insert(Arc::new(opened?))))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What came of it does not matter any more.
            let _ = thread.join();
        }
    }
}
