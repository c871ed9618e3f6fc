//! Whoever wants to know what passes a socket, and when it ends.

use std::sync::Arc;

use tokio::net::TcpStream;

/// Wants to know.
pub trait Watcher: Send + Sync {
    /// So many bytes came.
    fn received(&self, bytes: usize);

    /// So many bytes were sent.
    fn sent(&self, bytes: usize);

    /// The last owner lets go of the socket, which is still there.
    fn closing(&self, stream: &TcpStream);
}

/// A socket that is watched, shared by its owners.
pub(super) struct Watching {
    stream: Arc<TcpStream>,
    pub(super) watcher: Arc<dyn Watcher>,
}

impl Watching {
    pub(super) fn new(stream: &Arc<TcpStream>, watcher: Arc<dyn Watcher>) -> Self {
        Self { stream: Arc::clone(stream), watcher }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watcher.closing(&self.stream);
    }
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watching").finish_non_exhaustive()
    }
}
