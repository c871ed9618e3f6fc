//! A connection that the kernel led here, from its coming to its end, and the books of all of them.
//!
//! In: connections, one after the other. Out: a record for each when it came, when its maker was
//! found, and when its socket and the last of its exchanges were over. A number is given and the
//! record written under one lock, so that whatever a statement counts stands in the journal before it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sealtap_common::kernel::{Flow, flag};
use sealtap_common::leaf::Arrived;
use tokio::net::TcpStream;

use crate::capture::connection::{Began, Learned, Noted, Notes, Over};
use crate::kernel::{Process, address_of, bytes_of};
use crate::wire::watching::Watcher;

/// Refused connections that are told of one by one between two statements; further ones are counted.
const REFUSED: u64 = 64;

/// What became of connections that came to the listener for redirected ones.
#[derive(Debug)]
pub struct Led {
    coverage: [u8; 16],
    books: Mutex<Books>,
    attributed: AtomicU64,
    unknown: AtomicU64,
}

#[derive(Debug)]
struct Books {
    /// The number of the next statement.
    statement: u64,
    /// Connections that were led here and taken.
    known: u64,
    refused: u64,
    /// Those among them that the kernel had led here.
    refused_led: u64,
    /// Refused connections since the last statement.
    refused_lately: u64,
}

impl Led {
    /// Nothing came so far; all of it belongs to this coverage.
    #[must_use]
    pub fn new(coverage: [u8; 16]) -> Self {
        let books = Books { statement: 1, known: 0, refused: 0, refused_led: 0, refused_lately: 0 };
        Self {
            coverage,
            books: Mutex::new(books),
            attributed: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// The coverage.
    #[must_use]
    pub fn coverage(&self) -> [u8; 16] {
        self.coverage
    }

    /// What came so far, and the number of the statement that says so; what comes later is for the
    /// next one.
    #[must_use]
    pub fn cut(&self) -> (u64, Arrived) {
        let mut books = self.books();
        let number = books.statement;
        books.statement = number.saturating_add(1);
        books.refused_lately = 0;
        (number, self.counted(&books))
    }

    /// What came so far.
    #[must_use]
    pub fn arrived(&self) -> Arrived {
        self.counted(&self.books())
    }

    fn counted(&self, books: &Books) -> Arrived {
        let Books { known, refused, refused_led, .. } = *books;
        // Each is counted as known before it is counted as attributed.
        let attributed = self.attributed.load(Ordering::Acquire).min(known);
        Arrived { attributed, known, refused, refused_led }
    }

    /// Connections of which it is known that nobody can say who made them.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Acquire)
    }

    /// A connection that is turned away.
    pub(super) fn refuse(&self, notes: &Notes, from: SocketAddr, flow: Option<&Flow>) {
        let client = from.to_string();
        let began = self.began(notes, &client, flow);
        let mut books = self.books();
        books.refuse(flow.is_some());
        books.refused_lately = books.refused_lately.saturating_add(1);
        if books.refused_lately > REFUSED {
            return;
        }
        let (number, statement) = (books.refused, books.statement);
        // Where the journal is down it is counted all the same.
        let _ = notes.began(&Began { refused: true, number, statement, ..began });
    }

    /// A connection that is taken; none where the journal takes nothing, and nothing may pass then.
    pub(super) fn take(
        self: &Arc<Self>,
        notes: &Notes,
        from: SocketAddr,
        flow: &Flow,
    ) -> Option<Arc<Carrier>> {
        let client = from.to_string();
        let began = self.began(notes, &client, Some(flow));
        let id = began.id;
        let mut books = self.books();
        let (number, statement) = (books.known.saturating_add(1), books.statement);
        if !notes.began(&Began { number, statement, ..began }) {
            // It was led here, and is accounted for: what is redirected is taken, refused, or on its way.
            books.refuse(true);
            return None;
        }
        books.known = number;
        drop(books);
        Some(Arc::new(Carrier {
            id,
            led: Arc::clone(self),
            notes: notes.clone(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            kernel: OnceLock::new(),
        }))
    }

    /// All of it but for its place in the books.
    fn began<'a>(&self, notes: &Notes, client: &'a str, flow: Option<&Flow>) -> Began<'a> {
        let noted = flow.map(|flow| Noted {
            cookie: flow.cookie,
            process: flow.process,
            user: flow.user,
            in_task: flow.flags & flag::IN_TASK != 0,
            by_creator: flow.flags & flag::BY_CREATOR != 0,
            destination: address_of(&flow.destination)
                .map(|address| address.to_string())
                .unwrap_or_default()
                .into(),
        });
        Began {
            id: notes.id(),
            coverage: self.coverage,
            number: 0,
            statement: 0,
            at_us: notes.now_us(),
            refused: false,
            key: notes.key(),
            client: client.into(),
            noted,
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn refuse(&mut self, led: bool) {
        self.refused = self.refused.saturating_add(1);
        self.refused_led = self.refused_led.saturating_add(u64::from(led));
    }
}

/// A connection that was taken. It is over when its last owner lets go: socket, requests, or whoever
/// looks for its maker.
pub struct Carrier {
    id: [u8; 16],
    led: Arc<Led>,
    notes: Notes,
    received: AtomicU64,
    sent: AtomicU64,
    kernel: OnceLock<(u64, u64)>,
}

impl Carrier {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Who made it was found, or was not.
    pub(super) fn learned(&self, process: Option<&Process>) {
        match process {
            Some(process) => {
                self.notes.learned(&Learned { id: self.id, process: Cow::Borrowed(process) });
                self.led.attributed.fetch_add(1, Ordering::AcqRel);
            }
            None => {
                self.led.unknown.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

impl Watcher for Carrier {
    fn received(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    fn closing(&self, stream: &TcpStream) {
        if let Some(bytes) = bytes_of(stream) {
            let _ = self.kernel.set(bytes);
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let statement = self.led.books().statement;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.notes.over(&Over {
            id: self.id,
            statement,
            at_us: self.notes.now_us(),
            passed: (read(&self.received), read(&self.sent)),
            kernel: self.kernel.get().copied(),
        });
    }
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Carrier").finish_non_exhaustive()
    }
}
