//! Observe: `/metrics` and `/healthz`, what the gateway says of itself.
//!
//! In: counters of traffic ([`Traffic`]), the journal's own account, the progress of the threads
//! behind it, the disks. Out: two pages, Prometheus text (OpenMetrics 1.0) and a verdict, on the
//! gateway's own listener or on one of their own, and warnings in the operator's log. Reading never
//! holds traffic up: everything is an atomic or lies behind a lock held for a copy. No page holds a
//! secret, a client's address, or anything that a client chose: labels are names of the configuration
//! and words of closed lists.

mod families;
mod health;
mod kernel;
mod listener;
mod process;
#[cfg(test)]
mod tests;
mod traffic;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::capture::journal::Journal;
use crate::seal::progress::Progress;
use crate::seal::vouching::Vouching;

pub use self::health::{Bounds, Check};
pub use self::kernel::Kernel;
pub use self::listener::ObserveListener;
pub use self::traffic::{Present, Row, Traffic};
pub use self::watch::watch;

/// A page of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// A disk that the gateway writes to.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What lies there: `data` or `lock`.
    pub what: &'static str,
    /// The directory.
    pub path: PathBuf,
    /// Bytes that this process may still use there, as last seen.
    pub left: Option<u64>,
    /// Bytes of the disk.
    pub size: Option<u64>,
}

/// What is observed of one gateway.
#[derive(Debug)]
pub struct Observe {
    traffic: Traffic,
    journal: Journal,
    progress: Arc<Progress>,
    vouching: Vouching,
    disks: Mutex<Vec<Disk>>,
    bounds: Bounds,
    kernel: Kernel,
    /// Why the kernel sees no more, where it did; none where nobody asked it to.
    coverage: Mutex<Option<Option<String>>>,
    /// Whether the gateway's own listener answers for it.
    on_main: bool,
    started: SystemTime,
}

impl Observe {
    /// Observes a gateway with these parts; `disks` are directories by what lies there.
    #[must_use]
    pub fn new(
        upstreams: &[String],
        journal: Journal,
        (progress, vouching): (Arc<Progress>, Vouching),
        disks: Vec<(&'static str, PathBuf)>,
        bounds: Bounds,
        on_main: bool,
    ) -> Self {
        let disk = |(what, path)| Disk { what, path, left: None, size: None };
        let observe = Self {
            traffic: Traffic::new(upstreams),
            journal,
            progress,
            vouching,
            disks: Mutex::new(disks.into_iter().map(disk).collect()),
            bounds,
            kernel: Kernel::default(),
            coverage: Mutex::default(),
            on_main,
            started: SystemTime::now(),
        };
        observe.look_at_disks();
        observe
    }

    /// The counters that traffic counts in.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What the kernel saw.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The page that a request on the gateway's own listener asks for, if it asks for one: `GET` or
    /// `HEAD` of exactly `/metrics` or `/healthz`.
    #[must_use]
    pub fn own_page(&self, method: &[u8], target: &[u8]) -> Option<Page> {
        let asked = self.on_main && matches!(method, b"GET" | b"HEAD");
        if asked { self.page(target) } else { None }
    }

    fn page(&self, path: &[u8]) -> Option<Page> {
        match path {
            b"/metrics" => Some(self.metrics()),
            b"/healthz" => Some(self.healthz()),
            _ => None,
        }
    }

    fn healthz(&self) -> Page {
        let checks = self.checks();
        if checks.iter().all(|check| check.wrong.is_none()) {
            let body = Bytes::from_static(b"ok\n");
            return Page { status: 200, content_type: "text/plain; charset=utf-8", body };
        }
        let body = health::document(&checks).into();
        let status = if checks.iter().any(Check::stops_capture) { 503 } else { 200 };
        Page { status, content_type: "application/json", body }
    }

    /// Every check as it is now.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let standing = self.progress.standing();
        let mut checks =
            health::checks(&self.journal.stats(), &standing, &self.disks(), self.bounds);
        checks.extend(self.coverage().clone().map(Check::coverage));
        checks
    }

    /// From now on the kernel watches.
    pub fn coverage_began(&self) {
        *self.coverage() = Some(None);
    }

    /// It does no more, and nobody asked for that.
    pub fn coverage_ended(&self, why: &str) {
        *self.coverage() = Some(Some(why.to_owned()));
    }

    fn coverage(&self) -> std::sync::MutexGuard<'_, Option<Option<String>>> {
        self.coverage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disks(&self) -> Vec<Disk> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the system how much is left; may block where a disk does not answer.
    fn look_at_disks(&self) {
        let mut disks = self.disks();
        for disk in &mut disks {
            let found = rustix::fs::statvfs(&disk.path).ok();
            let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
            disk.left = found.as_ref().map(|found| bytes(found.f_bavail, found.f_frsize));
            disk.size = found.as_ref().map(|found| bytes(found.f_blocks, found.f_frsize));
        }
        *self.disks.lock().unwrap_or_else(PoisonError::into_inner) = disks;
    }
}
