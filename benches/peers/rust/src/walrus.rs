//! walrus: a log with topics inside of one process.
//!
//! It has no acknowledgements: a topic has one cursor, which its readers move on. Its folder and
//! its silence are set by the environment.
//!
//! Works with producers and consumers at once are not among its works: in this version the cursor
//! passes messages by when the producers go on to the next block, and syncs a file at each read
//! while it is behind them.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use walrus_rust::{FsyncSchedule, ReadConsistency};

use crate::peer::{
    Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup, locked_version, look_until,
};

const TOPIC: &str = "bench";
/// Its cursor is saved after so many reads, as its documentation does for speed; what a process
/// read since then comes again after it died.
const SAVED_EVERY: u32 = 1000;
/// What it puts before each message. It counts a batch by the bytes it reads.
const PREFIX: usize = 64;

pub(crate) static WALRUS: Walrus = Walrus {
    open: Mutex::new(Weak::new()),
};

pub(crate) struct Walrus {
    /// The log, while somebody in this process has it open: it must not be opened twice.
    open: Mutex<Weak<Log>>,
}

struct Log {
    log: walrus_rust::Walrus,
    /// It reads and moves the cursor in two steps: without this, four readers got each message
    /// about four times.
    reading: Mutex<()>,
}

impl Walrus {
    fn log(&self, setup: &Setup) -> Outcome<Arc<Log>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.upgrade() {
            return Ok(log);
        }
        let consistency = ReadConsistency::AtLeastOnce {
            persist_every: SAVED_EVERY,
        };
        let schedule = if setup.sync {
            FsyncSchedule::SyncEach
        } else {
            FsyncSchedule::NoFsync
        };
        let log = Arc::new(Log {
            log: walrus_rust::Walrus::with_consistency_and_schedule(consistency, schedule)?,
            reading: Mutex::new(()),
        });
        *open = Arc::downgrade(&log);
        Ok(log)
    }
}

impl Peer for Walrus {
    fn name(&self) -> &'static str {
        "walrus"
    }

    fn installed(&self) -> Installed {
        let version = locked_version("walrus-rust");
        Installed::Yes { version }
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "sync" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        &["W1", "W2", "W3", "W4", "W6"]
    }

    fn note(&self) -> Option<&'static str> {
        Some("no acks: one cursor, saved every 1,000 reads; beside a producer it loses messages")
    }

    fn processes(&self) -> bool {
        false
    }

    fn environment(&self, setup: &Setup) -> Vec<(&'static str, OsString)> {
        vec![
            ("WALRUS_QUIET", "1".into()),
            ("WALRUS_DATA_DIR", setup.dir.clone().into()),
        ]
    }

    fn prepare(&self, _setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        Ok(Box::new(()))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Producer(self.log(setup)?)))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        let (log, size) = (self.log(setup)?, setup.size);
        Ok(Box::new(Worker { log, size }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let log = self.log(setup)?;
        let mut held = 0;
        loop {
            let some = log.log.batch_read_for_topic(TOPIC, 1 << 20, true)?;
            if some.is_empty() {
                return Ok(held);
            }
            held += some.len() as u64;
        }
    }
}

struct Producer(Arc<Log>);

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        Ok(self.0.log.append_for_topic(TOPIC, payload)?)
    }

    /// Its own batches sync their files whatever the schedule says, which makes them thirty times
    /// slower than what a batch saves.
    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        payloads.iter().try_for_each(|payload| self.send(payload))
    }
}

struct Worker {
    log: Arc<Log>,
    size: usize,
}

impl Consumer for Worker {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let Log { log, reading } = &*self.log;
        let most = max * (self.size + PREFIX);
        look_until(wait, || {
            let lock = reading.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = if max == 1 {
                log.read_next(TOPIC, true)?.into_iter().collect()
            } else {
                log.batch_read_for_topic(TOPIC, most, true)?
            };
            drop(lock);
            taken.iter().for_each(|entry| each(&entry.data));
            Ok(taken.len())
        })
    }
}
