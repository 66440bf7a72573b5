//! Processes that have one partition open.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::format::control::partition::WORDS;
use crate::format::record::{HEADER, Header, MESSAGE, body_crc, padded};
use crate::format::segment::RECORDS;
use crate::log::{Cursor, Draft, Env, Partition, Step};
use crate::options::Durability;
use crate::shm::{Mapping, Region};
use crate::world::{Kernel, owner};

/// Longer than any model runs.
pub const LONG: Duration = Duration::from_secs(3600);
const SEGMENT: &str = "00000000000000000000.log";

struct StoppedClock;

impl Clock for StoppedClock {
    fn wall_ns(&self) -> i64 {
        1_000
    }
    fn boot_ms(&self) -> u64 {
        1
    }
}

/// What the processes share.
pub struct Party {
    pub kernel: Arc<Kernel>,
    pub disk: Arc<Disk>,
    block: Region,
    durability: Durability,
}

/// A message of these bytes.
pub fn draft(payload: &[u8]) -> Draft<'_> {
    Draft {
        extension: b"",
        key: None,
        headers: b"",
        payload,
        timestamp_ns: None,
        body_crc: body_crc([b"", b"", b"", payload]),
        key_hash: 0,
    }
}

impl Party {
    pub fn new(durability: Durability) -> Self {
        let control = Arc::new(Mapping::anonymous(WORDS * 8).expect("memory"));
        Self {
            kernel: Kernel::new(),
            disk: Arc::new(Disk::default()),
            block: Region::new(&control, 0, WORDS * 8).expect("block"),
            durability,
        }
    }

    /// The partition, as the process of this slot has it open.
    pub fn open(&self, slot: u16) -> Arc<Partition> {
        let env = Env {
            storage: self.disk.clone(),
            clock: Arc::new(StoppedClock),
            live: self.kernel.clone(),
            me: owner(slot),
            lock_timeout: LONG,
            mode: 0o660,
            fence: None,
            leaving: AtomicBool::new(false),
            indexing: Default::default(),
            may_take_room: Box::new(|_| Ok(())),
            nudge: Box::new(|| ()),
            hurry: Box::new(|_| ()),
            transactions: None,
        };
        let (block, quiet) = (self.block.clone(), Arc::new(|_| ()));
        let folder = PathBuf::from("0");
        let opened = Partition::open(Arc::new(env), folder, block, (7, 0), self.durability, quiet);
        opened.expect("open")
    }

    /// How many records a power loss would leave, each whole.
    pub fn on_disk(&self) -> u64 {
        let words = self.disk.durable(SEGMENT);
        let word = |at: usize| words.get(&at).copied().unwrap_or(0);
        let bytes = |at: usize, len: usize| -> Vec<u8> {
            (at..at + len)
                .step_by(4)
                .flat_map(|at| word(at).to_le_bytes())
                .collect()
        };
        let salt = word(12);
        let (mut at, mut count) = (RECORDS, 0);
        while word(at) != 0 {
            let length = word(at);
            let record = bytes(at, length.next_multiple_of(4) as usize);
            let whole = crate::format::record::verify(&record[..length as usize], salt);
            let header = record.first_chunk::<HEADER>().map(Header::decode);
            if !whole {
                break;
            }
            count += u64::from(header.is_some_and(|header| header.kind == MESSAGE));
            at += padded(u64::from(length)) as usize;
        }
        count
    }
}

/// All that can be read from the start on, each whole: offset and payload. Panics over damage.
pub fn read(partition: &Partition) -> Vec<(u64, Vec<u8>)> {
    let mut cursor = Cursor::at_offset(0);
    let mut found = Vec::new();
    loop {
        match partition.look(&mut cursor).expect("look") {
            Step::Record {
                offset,
                position,
                next,
                ..
            } => {
                let record = partition.record(offset, position).expect("whole (P3)");
                found.push((offset, record.payload().to_vec()));
                cursor = next;
            }
            Step::End => return found,
            Step::Damaged => panic!("damage where nobody damaged anything (P3)"),
            Step::NotMapped => unreachable!("`look` maps"),
        }
    }
}
