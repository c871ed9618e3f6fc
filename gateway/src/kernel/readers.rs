//! Readers: threads that share what there is to read, since each of them may hang.
//!
//! In: what is to be read, one after the other, and what to do with it. Out: nothing; whoever asked waits no
//! longer than it wants to. One that hangs, in a file or a page that somebody serves who never answers,
//! keeps one item and itself, and the others go on. Nothing ends a thread that hangs but the end of the process.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

/// Starts `count` threads that each do `work` with the next item, until there are none or one says that nobody
/// wants it done.
pub(super) fn share<T: Send + 'static>(
    (name, count): (&str, usize),
    items: Receiver<T>,
    work: impl Fn(T) -> bool + Clone + Send + 'static,
) -> io::Result<()> {
    let items = Arc::new(Mutex::new(items));
    for _ in 0..count {
        let (items, work) = (Arc::clone(&items), work.clone());
        let next = move || items.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let read = move || {
            while let Ok(item) = next() {
                if !work(item) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(read)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, sync_channel};

    use super::*;

    #[test]
    fn one_that_hangs_keeps_none_of_the_others() {
        let (ask, items) = sync_channel(64);
        let (done, heard) = channel();
        let (let_go, hangs) = channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        let work = move |item: u32| {
            if item < 3 {
                // It never comes.
                let _ = hangs.lock().unwrap().recv();
            }
            done.send(item).is_ok()
        };
        share(("reads", 4), items, work).unwrap();
        (0..32).for_each(|item| ask.send(item).unwrap());
        let read: Vec<u32> = heard.iter().take(29).collect();
        assert_eq!(read, (3..32).collect::<Vec<_>>(), "by the one that is left, in order");
        // All of them end once nobody asks.
        drop((let_go, ask));
        assert_eq!(heard.iter().count(), 3);
    }
}
