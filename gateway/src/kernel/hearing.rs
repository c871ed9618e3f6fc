//! Hearing: what goes over the socket between gateway and loader, and who waits for it.
//!
//! In: questions, which a thread writes, and whatever the loader says, which another reads. Out: answers to
//! those who wait, in the order of the questions, and what went around. Ends with the socket; whoever waits
//! then hears that.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::around::Around;
use super::message::{Answer, Bypass, Process, Question, Told, Uncounted, read, write};
use super::names::Asked as Names;
use super::unread::Kinds;
use crate::clock::Reading;

/// Ways around that are kept to be told; further ones are counted all the same.
const KEPT: usize = 1024;

/// Whoever waits for an answer, oldest first.
pub(super) type Waiting = Arc<Mutex<Asked>>;

/// What hears of each way around as it is told.
pub(super) type Hears = Box<dyn Fn(&Bypass) + Send>;

/// What was asked and has no answer, and what was told.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) waiting: VecDeque<oneshot::Sender<Answer>>,
    /// Who waits for a process, by the question's number; and the highest of these.
    pub(super) looks: HashMap<u64, oneshot::Sender<Box<Option<Process>>>>,
    pub(super) looked: u64,
    pub(super) gone: bool,
    pub(super) around: Vec<Bypass>,
    pub(super) told: Option<Hears>,
    /// The cgroups whose tries are a canary's own.
    pub(super) canaries: BTreeSet<u64>,
    /// What went around since the last answer with numbers, and what that answer counted.
    fresh: Around,
    pub(super) counted: Around,
    pub(super) unread: Kinds,
    /// The same of what was asked.
    pub(super) fresh_names: Names,
    pub(super) names: Names,
}

/// Writes what is asked, for as long as anybody reads it.
pub(super) fn ask_all(socket: &mut UnixStream, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        if write(socket, &question).is_err() {
            // Who reads the answers finds out as well.
            return;
        }
    }
}

/// Hears what the loader says, until it is gone.
pub(super) fn follow(socket: &mut UnixStream, asked: &Waiting) {
    while let Ok(told) = read(socket) {
        match told {
            Told::Answer(answer) => {
                let mut asked = lock(asked);
                if let Answer::Counted(_) = answer {
                    // Whatever was told before is in these numbers, and nothing that follows.
                    let fresh = std::mem::take(&mut asked.fresh);
                    asked.counted.append(fresh);
                    let fresh = std::mem::take(&mut asked.fresh_names);
                    asked.names.append(fresh);
                }
                let waiting = asked.waiting.pop_front();
                drop(asked);
                // Whoever asked may be gone.
                let _ = waiting.map(|waiting| waiting.send(answer));
            }
            Told::Looked { number, process, unread } => {
                let mut asked = lock(asked);
                asked.unread.add(unread);
                let waiting = asked.looks.remove(&number);
                drop(asked);
                let _ = waiting.map(|waiting| waiting.send(process));
            }
            Told::Bypass(bypass) => {
                let mut asked = lock(asked);
                let canary = asked.canaries.contains(&bypass.scope);
                if !canary && keep(&mut asked.around, &bypass) {
                    say(&bypass);
                }
                if let Some(hears) = &asked.told {
                    hears(&bypass);
                }
                asked.fresh.add(bypass, canary);
            }
            Told::Asked(packets) => {
                let now = Reading::now();
                tracing::debug!(packets = packets.len(), "packets to the resolver were read");
                // Read before the lock: whoever looks for a process needs that too.
                let mut names = Names::default();
                packets.into_iter().for_each(|packet| names.add(packet, &now));
                lock(asked).fresh_names.append(names);
            }
            Told::Uncounted(Uncounted { folder, why }) => tracing::warn!(
                cgroup = folder,
                why,
                "the sockets that were connected here before it was watched cannot be counted: coverage \
                 will end as numbers_wrong; start again to have them counted anew"
            ),
            Told::Armed(_) => break,
        }
    }
    let mut asked = lock(asked);
    asked.gone = true;
    asked.waiting.clear();
    asked.looks.clear();
}

fn say(bypass: &Bypass) {
    let Bypass { destination, way, .. } = bypass;
    let (unit, by) = (bypass.unit().as_str(), bypass.whose().to_string());
    match bypass.denied {
        true => tracing::warn!(%destination, unit, way, by, "denied: it did not go to the gateway"),
        false => tracing::warn!(%destination, unit, way, by, "went around the gateway"),
    }
}

/// Keeps one to be told at the end; whether it is news. Packets of a socket that was told of already
/// are none.
fn keep(around: &mut Vec<Bypass>, bypass: &Bypass) -> bool {
    let known = |other: &&mut Bypass| match bypass.packet {
        true => {
            let same = other.destination == bypass.destination && other.way == bypass.way;
            other.cookie == bypass.cookie && (!other.packet || same)
        }
        false => false,
    };
    if let Some(other) = around.iter_mut().find(known) {
        if other.packet {
            other.times = other.times.saturating_add(bypass.times);
        }
        return false;
    }
    if around.len() < KEPT {
        around.push(bypass.clone());
        return true;
    }
    false
}

pub(super) fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
