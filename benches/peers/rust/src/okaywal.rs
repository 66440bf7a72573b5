//! okaywal: a write-ahead log inside of one process, whose threads share their syncs.
//!
//! It is no queue: it keeps entries until its user has taken them over elsewhere. Only the synced
//! send has something to be compared with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ::okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup, locked_version};

/// What it puts around an entry, and some more.
const AROUND: usize = 64;

pub(crate) static OKAYWAL: OkayWal = OkayWal {
    open: Mutex::new(Weak::new()),
};

pub(crate) struct OkayWal {
    /// The log, while a thread of this process has it open.
    open: Mutex<Weak<WriteAheadLog>>,
}

impl Peer for OkayWal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn installed(&self) -> Installed {
        let version = locked_version("okaywal");
        Installed::Yes { version }
    }

    fn durability(&self, _sync: bool) -> &'static str {
        "sync"
    }

    fn works(&self) -> &'static [&'static str] {
        &["W3"]
    }

    fn note(&self) -> Option<&'static str> {
        Some("a log without consumers, always synced")
    }

    fn processes(&self) -> bool {
        false
    }

    fn prepare(&self, _setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        Ok(Box::new(()))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.upgrade() {
            return Ok(Box::new(Producer(log)));
        }
        let log = Arc::new(configured(setup)?.open(Count::default())?);
        *open = Arc::downgrade(&log);
        Ok(Box::new(Producer(log)))
    }

    fn consumer(&self, _setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        Err("okaywal has no consumers".into())
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let count = Count::default();
        configured(setup)?.open(count.clone())?;
        Ok(count.0.load(Ordering::Relaxed))
    }
}

/// All entries of a run stay in one file: there is nothing that they could be taken over to, and a
/// file that grows would make it slower.
fn configured(setup: &Setup) -> Outcome<Configuration> {
    let bytes = u32::try_from(setup.count * (setup.size + AROUND))?;
    Ok(Configuration::default_for(&setup.dir)
        .preallocate_bytes(bytes)
        .checkpoint_after_bytes(u64::MAX))
}

struct Producer(Arc<WriteAheadLog>);

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.send_batch(&[payload])
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let mut entry = self.0.begin_entry()?;
        for payload in payloads {
            entry.write_chunk(payload)?;
        }
        entry.commit()?;
        Ok(())
    }
}

/// Counts the messages of the entries that it finds when a log is opened.
#[derive(Clone, Debug, Default)]
struct Count(Arc<AtomicU64>);

impl LogManager for Count {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        // None of an entry that was not finished.
        let messages = entry.read_all_chunks()?.map_or(0, |chunks| chunks.len());
        self.0.fetch_add(messages as u64, Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> std::io::Result<()> {
        Err(std::io::Error::other(
            "entries are kept, expected none to be taken over",
        ))
    }
}
