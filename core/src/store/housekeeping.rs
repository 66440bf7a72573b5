//! The one thread that each store has in each process: it does ahead, or now and then, what no
//! caller should wait for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::death::PROBE_MS;
use super::inner::{StoreInner, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Hurry, Partition};

/// How often the thread looks around while nothing is leased.
const IDLE: Duration = Duration::from_secs(1);
/// And while anything is, or senders are busy: the leases of a dead process come back within 100 ms
/// (P10).
const SOON: Duration = Duration::from_millis(50);

/// Whether a part wants to be looked at soon again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing waits for time to pass.
    Idle,
    /// Something is leased or delayed, or the part is busy.
    Soon,
    /// Something is due after this time.
    Within(Duration),
}

/// A part of an opened store that housekeeping looks after. Held strongly until the store closes,
/// so it must hold the store weakly.
pub(crate) trait Tended: Send + Sync {
    /// Whether it was deleted: then the files are none any more, or another one's.
    fn is_gone(&self) -> bool {
        false
    }
    /// Whether it is to be looked at at once when it is new, and not at the next beat.
    fn is_urgent(&self) -> bool {
        true
    }
    /// Routine work: prepare ahead, expire leases.
    fn tend(&self) -> Result<Pace>;
    /// How often `sync` is to be called.
    fn sync_interval(&self) -> Option<Duration> {
        None
    }
    /// Puts on disk what was published.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    /// By a member that leaves others behind, when no other thread of it works any more: what was
    /// promised to be on disk soon.
    fn leave(&self) -> Result<()> {
        Ok(())
    }
    /// By the last member: everything on disk and marked as clean.
    fn close_clean(&self) -> Result<()> {
        Ok(())
    }
    /// The partition, if this is one that is open.
    fn partition(&self) -> Option<Arc<Partition>> {
        None
    }
    /// Whether nobody but housekeeping has it open any more, and all is done that was promised:
    /// then since when, as a number that rises.
    fn releasable(&self) -> Option<u64> {
        None
    }
    /// Since when a part that has anything mapped was not used, as far as can be told.
    fn mapped_since(&self) -> Option<Instant> {
        None
    }
    /// Unmaps what is not used now.
    fn rest(&self) {}
    /// Lets go of what it keeps open, if that is so still. What is needed to leave and to close
    /// cleanly is opened again then.
    fn release(&self) {}
}

enum Task {
    /// Only a reason to wake up, as what is wanted is said by `Tasks::look`.
    Look,
    /// Its sender is fast: pages for what comes next, and nothing else.
    Hurry(Weak<Partition>),
    Stop,
}

/// What the thread is told, before it runs and after.
pub(super) struct Tasks {
    tasks: Sender<Task>,
    inbox: Receiver<Task>,
    /// Whether to look around now.
    look: Arc<AtomicBool>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (tasks, inbox) = bounded(4);
        let look = Arc::default();
        Self { tasks, inbox, look }
    }
}

impl Tasks {
    /// Has the thread look around now; never waits.
    pub(super) fn nudge(&self) -> Box<dyn Fn() + Send + Sync> {
        let (tasks, look) = (self.tasks.clone(), self.look.clone());
        Box::new(move || {
            // A full channel holds a task by which the thread wakes up just as well.
            look.store(true, Ordering::Release);
            let _ = tasks.try_send(Task::Look);
        })
    }

    /// Has the thread make pages for the sender of a partition; never waits. Where the thread does
    /// not come to it the sender makes its pages itself.
    pub(super) fn hurry(&self) -> Hurry {
        let tasks = self.tasks.clone();
        Box::new(move |partition| {
            let _ = tasks.try_send(Task::Hurry(partition.clone()));
        })
    }
}

/// The running thread.
pub(super) struct Housekeeper {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
}

impl Housekeeper {
    pub(super) fn start(store: &Arc<StoreInner>, tasks: Tasks) -> Result<Self> {
        let Tasks { tasks, inbox, look } = tasks;
        let weak = Arc::downgrade(store);
        let path = store.path.display();
        let thread = thread::Builder::new()
            .name("libqueue".to_owned())
            .spawn(move || run(&weak, &inbox, &look))
            .map_err(|e| {
                let message = format!("cannot start the housekeeping thread of {path}: {e}");
                Error::new(ErrorKind::TooMany, message)
            })?;
        Ok(Self { tasks, thread })
    }

    /// Ends the thread and waits for it, unless this is the thread: the store's last handle may
    /// have been dropped by its beat.
    pub(super) fn stop(self) {
        if self.thread.thread().id() == thread::current().id() {
            return;
        }
        // An error says that the thread has ended already.
        let _ = self.tasks.send(Task::Stop);
        let _ = self.thread.join();
    }
}

fn run(store: &Weak<StoreInner>, inbox: &Receiver<Task>, asked: &AtomicBool) {
    let mut synced = Instant::now();
    let mut due = Instant::now() + SOON;
    loop {
        match inbox.recv_deadline(due) {
            Ok(Task::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Task::Hurry(partition)) => {
                if let Some(partition) = partition.upgrade() {
                    partition.hurry();
                }
            }
            Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        // However many hurry, the beat is kept.
        if !asked.swap(false, Ordering::AcqRel) && Instant::now() < due {
            continue;
        }
        let Some(store) = store.upgrade() else { return };
        due = Instant::now() + look(&store, &mut synced);
    }
}

/// One look around; when the next one is due. Errors are not lost by being passed over here: who
/// needs what failed fails himself, with the same error and someone to tell it to.
fn look(store: &Arc<StoreInner>, synced: &mut Instant) -> Duration {
    let mut next = IDLE;
    // First, and between what may take long: others wait for what the dead had (P10).
    let _ = store.find_dead(PROBE_MS);
    let unreturned = store.hand_back_rest();
    // What is gone lets go of what it has mapped.
    locked(&store.tended).retain(|_, part| !part.is_gone());
    let tended: Vec<_> = locked(&store.tended).values().cloned().collect();
    let mut interval: Option<Duration> = None;
    for part in &tended {
        match part.tend() {
            Ok(Pace::Soon) => next = next.min(SOON),
            Ok(Pace::Within(time)) => next = next.min(time),
            Ok(Pace::Idle) | Err(_) => {}
        }
        let _ = store.find_dead(PROBE_MS);
        let wanted = part.sync_interval();
        interval = interval.into_iter().chain(wanted).min();
    }
    if let Some(interval) = interval {
        if synced.elapsed() >= interval {
            // The clock starts before the syncs: what is published during them is due after one
            // interval, not two.
            *synced = Instant::now();
            for part in tended.iter().filter(|part| part.sync_interval().is_some()) {
                let _ = part.sync();
                let _ = store.find_dead(PROBE_MS);
            }
        }
        next = next.min(interval.saturating_sub(synced.elapsed()));
    }
    drop(tended);
    store.release_unused();
    store.rest_unused();
    store.retain();
    store.compact();
    if unreturned || store.find_dead_now.load(Ordering::Acquire) {
        next = next.min(SOON);
    }
    next
}

#[cfg(test)]
impl StoreInner {
    /// One look around, with all intervals over, where no thread keeps house.
    pub(crate) fn look_around(self: &Arc<Self>) {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600));
        look(self, &mut long_ago.unwrap_or_else(Instant::now));
    }
}

impl StoreInner {
    /// Has housekeeping look after a part from now on, in the place of an earlier one of this
    /// folder.
    pub(super) fn tend(&self, folder: PathBuf, part: Arc<dyn Tended>) {
        let urgent = part.is_urgent();
        let before = locked(&self.tended).insert(folder, part);
        drop(before);
        if urgent {
            self.nudge();
        }
    }

    /// Has housekeeping look after a part no more.
    pub(super) fn untend(&self, folder: &Path) {
        locked(&self.tended).remove(folder);
    }

    /// Has housekeeping look around now rather than at its next beat; never waits.
    pub(crate) fn nudge(&self) {
        (self.env.nudge)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::{Message, Store, StoreOptions, TopicOptions};

    #[derive(Default)]
    struct Counted {
        looks: AtomicUsize,
    }

    impl Tended for Counted {
        fn tend(&self) -> Result<Pace> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            Ok(Pace::Soon)
        }
    }

    #[test]
    fn p10_the_beat_is_kept_however_many_senders_hurry() {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(folder.path(), StoreOptions::default()).expect("open");
        let inner = store.inner().expect("open");
        let part = Arc::new(Counted::default());
        inner.tend(PathBuf::from("counted"), part.clone());
        let topic = store.topic("t", &TopicOptions::default()).expect("topic");
        topic.send(&Message::new(b"one")).expect("send");
        let log = Arc::downgrade(&topic.inner.partitions[0]);
        let limit = Instant::now() + Duration::from_secs(20);
        while part.looks.load(Ordering::Relaxed) < 4 {
            assert!(Instant::now() < limit, "it only makes pages");
            (inner.env.hurry)(&log);
        }
        inner.untend(Path::new("counted"));
    }
}
