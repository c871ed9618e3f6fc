//! When a gateway stops: told to, spoken against, or unable to go on.

use tokio::sync::watch::Receiver;

use crate::capture::journal::Journal;
use crate::seal::witness::Testimony;

/// Returns when the gateway is told to stop, when a witness speaks against the log, or when nothing
/// can be captured or sealed any more.
pub(super) async fn wait_for_the_end(
    mut stop: Receiver<bool>,
    testimony: Option<Receiver<Option<Testimony>>>,
    journal: &Journal,
) {
    let spoken = async {
        if let Some(mut testimony) = testimony
            && testimony.wait_for(Option::is_some).await.is_ok()
        {
            return;
        }
        // Without witnesses, or once their thread has ended, none will speak.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = spoken => {}
        () = journal.ended() => {
            tracing::error!("nothing can be captured or sealed any more: the gateway stops");
        }
    }
}
