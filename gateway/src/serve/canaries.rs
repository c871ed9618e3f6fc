//! Canaries of a gateway that serves: one at the start, and one after each pause.
//!
//! In: a canary that was started while there were privileges, and the coverage that it is a part of. Out:
//! a leaf for each that came back, and a message where one went around. One that could not be sent says
//! nothing of coverage, and is tried again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sealtap_common::leaf::{Canary as Tried, CanaryOutcome, CanaryWay, CoverageMode};

use crate::gateway::CoverageTeller;
use crate::kernel::Observer;
use crate::kernel::canary::{Canary, Ending};

/// Canaries that are sent.
pub(super) struct Canaries {
    stop: Sender<()>,
    ending: Ending,
    cgroup: u64,
    thread: JoinHandle<()>,
}

impl Canaries {
    /// Sends the first one, and goes on.
    pub(super) fn begin(
        mut canary: Canary,
        observer: Arc<Observer>,
        (resolver, mode): (Option<SocketAddr>, CoverageMode),
        teller: CoverageTeller,
        pause: Duration,
    ) -> io::Result<Self> {
        let (ending, cgroup) = (canary.ending()?, canary.cgroup());
        let (stop, stopped) = channel::<()>();
        if let Err(why) = canary.frames(&observer) {
            tracing::warn!(%why, "the canary tries no frames below IP: packet is unavailable");
        }
        let thread = std::thread::Builder::new().name("canary".to_owned()).spawn(move || {
            loop {
                match canary.send(&observer, resolver, mode) {
                    Ok(tried) => {
                        told(&tried);
                        teller.counts().canary(&tried);
                        teller.tried(tried);
                    }
                    // It was ended while it was out.
                    Err(_) if stopped.try_recv() == Err(TryRecvError::Disconnected) => return,
                    Err(error) => tracing::warn!(%error, "the canary did not come back"),
                }
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        })?;
        Ok(Self { stop, ending, cgroup, thread })
    }

    /// Where they are sent from.
    pub(super) fn cgroup(&self) -> u64 {
        self.cgroup
    }

    /// Sends none any more.
    pub(super) fn end(self) {
        drop(self.stop);
        self.ending.end();
        // What came back is sealed.
        let _ = self.thread.join();
    }
}

/// TCP is led to the gateway whatever else is done: where it is not, somebody should look.
fn told(tried: &Tried) {
    let led = [
        CanaryWay::Tcp4,
        CanaryWay::Tcp6,
        CanaryWay::TcpMapped,
        CanaryWay::FastOpen,
        CanaryWay::Multipath,
    ];
    let passed = tried.with(CanaryOutcome::Passed);
    let names =
        |ways: &[CanaryWay]| ways.iter().map(|way| way.as_str()).collect::<Vec<_>>().join(" ");
    let wrong: Vec<CanaryWay> = passed.iter().copied().filter(|way| led.contains(way)).collect();
    if !wrong.is_empty() {
        tracing::error!(ways = names(&wrong), "the canary went around the gateway");
    }
    tracing::info!(
        led = names(&tried.with(CanaryOutcome::Led)),
        denied = names(&tried.with(CanaryOutcome::Denied)),
        passed = names(&passed),
        "the canary is back"
    );
}
