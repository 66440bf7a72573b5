//! LMDB: an ordered table as the queue.
//!
//! `lmdb` leases what it hands out, so that any number of consumers compete: a table of leases,
//! ordered by their end, stands beside the messages, and a number tells how far they were handed
//! out at all. `lmdb-bare` is what a user would write who wants speed above all and has one
//! consumer: it reads the head and deletes it, and LMDB writes through its map, where a loss of
//! power may leave a file that cannot be read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64, Unit};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, RwTxn};

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup, look_until};

/// How long a message belongs to the consumer that took it.
const LEASE: Duration = Duration::from_secs(30);
/// The most that the file may grow to; address space alone.
const MAP: usize = 64 << 30;
/// The key of the first message that was not handed out yet.
const NEXT: u64 = 0;

pub(crate) static QUEUE: Lmdb = Lmdb { bare: false };
pub(crate) static BARE: Lmdb = Lmdb { bare: true };

pub(crate) struct Lmdb {
    /// Without leases, and through the map.
    bare: bool,
}

type Number = U64<BigEndian>;

impl Peer for Lmdb {
    fn name(&self) -> &'static str {
        if self.bare { "lmdb-bare" } else { "lmdb" }
    }

    fn installed(&self) -> Installed {
        let version = heed::lmdb_version();
        let version = format!("{}.{}.{}", version.major, version.minor, version.patch);
        Installed::Yes { version }
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "sync" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        if self.bare {
            &["W1", "W2", "W4", "W5"]
        } else {
            &["W1", "W2", "W3", "W4", "W5", "W6", "W7"]
        }
    }

    fn note(&self) -> Option<&'static str> {
        Some(if self.bare {
            "one consumer, no leases, MDB_WRITEMAP; it polls every 50 us"
        } else {
            "consumers poll every 50 us"
        })
    }

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        self.open(setup)?;
        Ok(Box::new(()))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(self.open(setup)?))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        let tables = self.open(setup)?;
        if self.bare {
            return Ok(Box::new(Alone { tables }));
        }
        Ok(Box::new(Competing {
            tables,
            taken: Vec::new(),
            bytes: Vec::new(),
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let tables = self.open(setup)?;
        let txn = tables.env.read_txn()?;
        Ok(tables.messages.len(&txn)?)
    }
}

impl Lmdb {
    fn open(&self, setup: &Setup) -> Outcome<Tables> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP).max_dbs(3);
        let flags = match (setup.sync, self.bare) {
            (true, _) => EnvFlags::empty(),
            (false, true) => EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP,
            (false, false) => EnvFlags::NO_SYNC,
        };
        // SAFETY: without syncs a loss of power may destroy the file, which no run outlives. A
        // process that dies harms nothing: what it wrote is in the system's cache, by system calls
        // or by the shared map, and nothing in this program writes into the map but LMDB.
        unsafe { options.flags(flags) };
        // SAFETY: the folder is this run's alone, and all processes of a run change the file
        // through LMDB with its locks.
        let env = unsafe { options.open(&setup.dir)? };
        let mut txn = env.write_txn()?;
        let tables = Tables {
            messages: env.create_database(&mut txn, Some("messages"))?,
            leases: env.create_database(&mut txn, Some("leases"))?,
            places: env.create_database(&mut txn, Some("places"))?,
            env: env.clone(),
        };
        txn.commit()?;
        Ok(tables)
    }
}

struct Tables {
    env: Env,
    /// By number, in the order of sending.
    messages: Database<Number, Bytes>,
    /// Keys of 16 bytes: when the lease ends, and the number of its message.
    leases: Database<Bytes, Unit>,
    /// `NEXT` and its value.
    places: Database<Number, Number>,
}

impl Tables {
    fn next(&self, txn: &RoTxn<'_>) -> Outcome<u64> {
        Ok(self.places.get(txn, &NEXT)?.unwrap_or(0))
    }

    /// The number that the next message gets: behind all that are there, and behind all that were
    /// handed out.
    fn free(&self, txn: &RoTxn<'_>) -> Outcome<u64> {
        let last = self.messages.last(txn)?.map_or(0, |(last, _)| last + 1);
        Ok(last.max(self.next(txn)?))
    }

    fn append(&self, txn: &mut RwTxn<'_>, number: u64, payload: &[u8]) -> Outcome<()> {
        let append = PutFlags::APPEND;
        Ok(self
            .messages
            .put_with_flags(txn, append, &number, payload)?)
    }
}

impl Sender for Tables {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.send_batch(&[payload])
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let mut txn = self.env.write_txn()?;
        let free = self.free(&txn)?;
        for (number, payload) in (free..).zip(payloads) {
            self.append(&mut txn, number, payload)?;
        }
        Ok(txn.commit()?)
    }
}

/// The only consumer: what it has seen and not deleted is still there after it died.
struct Alone {
    tables: Tables,
}

impl Consumer for Alone {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let tables = &self.tables;
        look_until(wait, || {
            let (mut count, mut last) = (0, 0);
            let txn = tables.env.read_txn()?;
            for entry in tables.messages.iter(&txn)?.take(max) {
                let (number, payload) = entry?;
                each(payload);
                (count, last) = (count + 1, number);
            }
            drop(txn);
            if count > 0 {
                let mut txn = tables.env.write_txn()?;
                tables.messages.delete_range(&mut txn, &(..=last))?;
                txn.commit()?;
            }
            Ok(count)
        })
    }
}

/// One of any number of consumers.
struct Competing {
    tables: Tables,
    /// The number of each message taken, and where its payload ends in `bytes`.
    taken: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl Competing {
    /// Leases up to `max` messages: those whose lease ran out, then those that nobody had yet. When
    /// the lease ends.
    fn lease(&mut self, max: usize) -> Outcome<u64> {
        self.taken.clear();
        self.bytes.clear();
        let tables = &self.tables;
        let mut txn = tables.env.write_txn()?;
        let now = now_ms()?;
        let end = now + u64::try_from(LEASE.as_millis())?;
        while self.taken.len() < max {
            let Some(number) = expired(tables, &txn, now)? else {
                break;
            };
            let (old, _) = tables.leases.first(&txn)?.ok_or("a lease that was there")?;
            let old = old.to_vec();
            tables.leases.delete(&mut txn, &old)?;
            if let Some(payload) = tables.messages.get(&txn, &number)? {
                self.bytes.extend_from_slice(payload);
                self.taken.push((number, self.bytes.len()));
            }
        }
        let mut next = tables.next(&txn)?;
        let fresh = max - self.taken.len();
        for entry in tables.messages.range(&txn, &(next..))?.take(fresh) {
            let (number, payload) = entry?;
            self.bytes.extend_from_slice(payload);
            self.taken.push((number, self.bytes.len()));
            next = number + 1;
        }
        if self.taken.is_empty() {
            return Ok(end);
        }
        tables.places.put(&mut txn, &NEXT, &next)?;
        for (number, _) in &self.taken {
            tables.leases.put(&mut txn, &key(end, *number), &())?;
        }
        txn.commit()?;
        Ok(end)
    }

    /// Deletes what was taken, but what is no longer leased until then: it is another's.
    fn done(&self, end: u64) -> Outcome<()> {
        let tables = &self.tables;
        let mut txn = tables.env.write_txn()?;
        for (number, _) in &self.taken {
            if tables.leases.delete(&mut txn, &key(end, *number))? {
                tables.messages.delete(&mut txn, number)?;
            }
        }
        Ok(txn.commit()?)
    }

    /// Whether there is a message to lease; without the write lock.
    fn some(&self) -> Outcome<bool> {
        let tables = &self.tables;
        let txn = tables.env.read_txn()?;
        let next = tables.next(&txn)?;
        let fresh = tables
            .messages
            .last(&txn)?
            .is_some_and(|(last, _)| last >= next);
        Ok(fresh || expired(tables, &txn, now_ms()?)?.is_some())
    }
}

impl Consumer for Competing {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let mut end = self.lease(max)?;
        if self.taken.is_empty() && look_until(wait, || Ok(usize::from(self.some()?)))? > 0 {
            // Another consumer may have been faster.
            end = self.lease(max)?;
        }
        if self.taken.is_empty() {
            return Ok(0);
        }
        let mut start = 0;
        for (_, end) in &self.taken {
            each(&self.bytes[start..*end]);
            start = *end;
        }
        self.done(end)?;
        Ok(self.taken.len())
    }
}

/// The message whose lease ended first, if that is over.
fn expired(tables: &Tables, txn: &RoTxn<'_>, now: u64) -> Outcome<Option<u64>> {
    let Some((first, ())) = tables.leases.first(txn)? else {
        return Ok(None);
    };
    let (end, number) = first.split_at(8);
    let over = u64::from_be_bytes(end.try_into()?) < now;
    Ok(over.then_some(u64::from_be_bytes(number.try_into()?)))
}

fn key(end: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&end.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn now_ms() -> Outcome<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}
