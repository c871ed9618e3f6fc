//! The gateway's second listener: for what the kernel leads here.

use std::sync::Arc;

use super::Gateway;
use crate::accept::{Led, Redirected, RedirectedError};
use crate::kernel::Observer;

impl Gateway {
    /// Listens for what the kernel leads here as well; gives the port that it is to be led to, and what
    /// will have become of it.
    ///
    /// # Errors
    ///
    /// [`RedirectedError`].
    pub async fn listen_for_redirected(
        &mut self,
        observer: Arc<Observer>,
    ) -> Result<(u16, Arc<Led>), RedirectedError> {
        let redirected = Redirected::bind(observer, self.report.address).await?;
        let (port, led) = (redirected.port(), redirected.led());
        self.listener.redirect(redirected);
        Ok((port, led))
    }
}
