//! Readers: threads that share what there is to read, since each of them may hang.
//!
//! In: what is to be read and for which scope, and what to do with it. Out: nothing; whoever asked waits no
//! longer than it wants to. One that hangs, in a file or a page that somebody serves who never answers,
//! keeps one item and itself, and the others go on. Nothing ends a thread that hangs but the end of the process,
//! so that no scope may have more of them, or of the places in the queue, than are left for others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::shares::Shares;

/// Where items are put in; the threads end when this is dropped.
pub(super) struct Readers<T>(Arc<Shared<T>>);

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

struct Queue<T> {
    items: VecDeque<(u64, T)>,
    places: Shares,
    threads: Shares,
    ended: bool,
}

impl<T: Send + 'static> Readers<T> {
    /// Starts `count` threads that each do `work` with the next item of at most `places`, until this is dropped
    /// or one says that nobody wants it done.
    pub(super) fn start(
        (name, count): (&str, usize),
        places: usize,
        work: impl Fn(T) -> bool + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (places, threads) = (Shares::new(places), Shares::new(count));
        let queue = Queue { items: VecDeque::new(), places, threads, ended: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let readers = Self(Arc::clone(&shared));
        for _ in 0..count {
            let (shared, work) = (Arc::clone(&shared), work.clone());
            let read = move || {
                while let Some((scope, item)) = shared.next() {
                    let wanted = work(item);
                    shared.done(scope);
                    if !wanted {
                        return;
                    }
                }
            };
            std::thread::Builder::new().name(name.to_owned()).spawn(read)?;
        }
        Ok(readers)
    }

    /// Has an item read for a scope; whether there was room.
    pub(super) fn put(&self, scope: u64, item: T) -> bool {
        let mut queue = self.0.lock();
        let room = queue.places.take(scope);
        if room {
            queue.items.push_back((scope, item));
            drop(queue);
            self.0.changed.notify_one();
        }
        room
    }
}

impl<T> Drop for Readers<T> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl<T> Shared<T> {
    /// The oldest item of a scope that may have a thread; none at the end.
    fn next(&self) -> Option<(u64, T)> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.take() {
                return Some(next);
            }
            if queue.ended {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, scope: u64) {
        self.lock().threads.give(scope);
        // Whose turn it is now, whichever thread finds out.
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn take(&mut self) -> Option<(u64, T)> {
        let at = self.items.iter().position(|(scope, _)| self.threads.may(*scope))?;
        let (scope, item) = self.items.remove(at)?;
        self.places.give(scope);
        self.threads.take(scope);
        Some((scope, item))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Threads that never come back from an item below 100 until they are let go, and tell of the others.
    fn hanging(count: usize) -> (Readers<u32>, Sender<()>, Receiver<u32>) {
        let (done, heard) = channel();
        let (let_go, hangs) = channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        let work = move |item: u32| {
            if item < 100 {
                // It never comes.
                let _ = hangs.lock().unwrap().recv();
            }
            done.send(item).is_ok()
        };
        (Readers::start(("reads", count), 64, work).unwrap(), let_go, heard)
    }

    #[test]
    fn one_that_hangs_keeps_none_of_the_others() {
        let (readers, let_go, heard) = hanging(8);
        assert!((0..3).chain(100..128).all(|item| readers.put(1, item)));
        let read: Vec<u32> = heard.iter().take(28).collect();
        assert_eq!(read, (100..128).collect::<Vec<_>>(), "by the one that is left, in order");
        // All of them end once nobody asks.
        drop((let_go, readers));
        assert_eq!(heard.iter().count(), 3);
    }

    /// However much of a scope hangs or waits: not all threads do, and there is room for another one.
    #[test]
    fn no_scope_keeps_all_threads() {
        let (readers, let_go, heard) = hanging(8);
        let room = (0..99).filter(|item| readers.put(1, *item)).count();
        assert!(
            (28..=36).contains(&room),
            "half of all places, and up to four that left theirs: {room}"
        );
        assert!(readers.put(2, 100));
        assert_eq!(heard.recv(), Ok(100));
        // Nor do a few of them.
        for scope in 2..4 {
            assert!((0..99).any(|item| !readers.put(scope, item)));
        }
        assert!(readers.put(9, 101));
        assert_eq!(heard.recv(), Ok(101));
        drop((let_go, readers));
        assert!(heard.iter().count() > room);
    }
}
