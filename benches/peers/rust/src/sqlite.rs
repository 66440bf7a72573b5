//! SQLite: a table as the queue, in write-ahead mode.
//!
//! `sqlite` leases what it hands out, so that any number of consumers compete: a transaction takes
//! the lease, another one deletes what is done. `sqlite-bare` is what a user would write who has
//! one consumer: it reads the head and deletes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, TransactionBehavior};

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup, look_until};

/// How long a message belongs to the consumer that took it.
const LEASE: Duration = Duration::from_secs(30);
/// Between two tries at a lock that another process has.
const TRY: Duration = Duration::from_micros(50);
/// So many tries, a minute or two, then it is an error.
const TRIES: i32 = 1_000_000;
/// A lease is a time in milliseconds, and in these lower bits the process that has it.
const HOLDER_BITS: u32 = 22;

pub(crate) static QUEUE: Sqlite = Sqlite { leases: true };
pub(crate) static BARE: Sqlite = Sqlite { leases: false };

pub(crate) struct Sqlite {
    leases: bool,
}

impl Peer for Sqlite {
    fn name(&self) -> &'static str {
        if self.leases { "sqlite" } else { "sqlite-bare" }
    }

    fn installed(&self) -> Installed {
        let version = rusqlite::version().to_owned();
        Installed::Yes { version }
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "sync" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        if self.leases {
            &["W1", "W2", "W3", "W4", "W5", "W6", "W7"]
        } else {
            &["W4", "W5"]
        }
    }

    fn note(&self) -> Option<&'static str> {
        Some(if self.leases {
            "consumers poll every 50 us"
        } else {
            "one consumer, no leases; it polls every 50 us"
        })
    }

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        open(setup)?.execute_batch(
            "CREATE TABLE queue (
                id INTEGER PRIMARY KEY,
                payload BLOB NOT NULL,
                lease INTEGER NOT NULL DEFAULT 0
            )",
        )?;
        Ok(Box::new(()))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Producer { db: open(setup)? }))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        let db = open(setup)?;
        if !self.leases {
            return Ok(Box::new(Alone { db }));
        }
        Ok(Box::new(Competing {
            db,
            holder: i64::from(std::process::id()) & ((1 << HOLDER_BITS) - 1),
            bytes: Vec::new(),
            ends: Vec::new(),
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let db = open(setup)?;
        let count = "SELECT count(*) FROM queue";
        let held: i64 = db.query_row(count, [], |row| row.get(0))?;
        Ok(held.try_into()?)
    }
}

fn open(setup: &Setup) -> Outcome<Connection> {
    let mut db = Connection::open(setup.dir.join("queue.db"))?;
    // The built-in wait sleeps for up to 100 ms at a time while the lock comes free.
    db.busy_handler(Some(|tries: i32| {
        std::thread::sleep(TRY);
        tries < TRIES
    }))?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // OFF: what is written survives the process, in the system's cache. FULL: each commit syncs.
    let synchronous = if setup.sync { "FULL" } else { "OFF" };
    db.pragma_update(None, "synchronous", synchronous)?;
    Ok(db)
}

struct Producer {
    db: Connection,
}

const INSERT: &str = "INSERT INTO queue (payload) VALUES (?1)";

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.db.prepare_cached(INSERT)?.execute([payload])?;
        Ok(())
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        // Takes the write lock at once: a transaction that has read cannot always get it later.
        let immediate = TransactionBehavior::Immediate;
        let transaction = self.db.transaction_with_behavior(immediate)?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for payload in payloads {
            insert.execute([payload])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }
}

/// The only consumer: what it has seen and not deleted is still there after it died.
struct Alone {
    db: Connection,
}

impl Consumer for Alone {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        look_until(wait, || {
            let head = "SELECT id, payload FROM queue ORDER BY id LIMIT ?1";
            let (mut count, mut last) = (0, 0_i64);
            let mut select = self.db.prepare_cached(head)?;
            let mut rows = select.query([i64::try_from(max)?])?;
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                each(row.get_ref(1)?.as_blob()?);
                count += 1;
            }
            if count > 0 {
                let delete = "DELETE FROM queue WHERE id <= ?1";
                self.db.prepare_cached(delete)?.execute([last])?;
            }
            Ok(count)
        })
    }
}

/// One of any number of consumers.
struct Competing {
    db: Connection,
    holder: i64,
    /// The payloads taken, one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Competing {
    /// Leases up to `max` messages; the first and the last id of them, and the lease.
    fn lease(&mut self, max: usize) -> Outcome<Option<(i64, i64, i64)>> {
        self.bytes.clear();
        self.ends.clear();
        let (now, lease) = (token(Duration::ZERO)?, token(LEASE)? | self.holder);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let immediate = TransactionBehavior::Immediate;
        let transaction = self.db.transaction_with_behavior(immediate)?;
        // Four times as fast as one `UPDATE ... RETURNING`, which gathers its rows in a table of
        // its own.
        let free = "SELECT id, payload FROM queue WHERE lease < ?1 ORDER BY id LIMIT ?2";
        let mut select = transaction.prepare_cached(free)?;
        let mut rows = select.query([now, i64::try_from(max)?])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            (first, last) = (id.min(first), id);
            self.bytes.extend_from_slice(row.get_ref(1)?.as_blob()?);
            self.ends.push(self.bytes.len());
        }
        drop(rows);
        drop(select);
        if self.ends.is_empty() {
            return Ok(None);
        }
        let update = "UPDATE queue SET lease = ?1 WHERE id BETWEEN ?2 AND ?3 AND lease < ?4";
        let mut update = transaction.prepare_cached(update)?;
        update.execute([lease, first, last, now])?;
        drop(update);
        transaction.commit()?;
        Ok(Some((first, last, lease)))
    }

    /// Whether there is a message to lease; without the write lock.
    fn some(&self) -> Outcome<bool> {
        let free = "SELECT EXISTS (SELECT 1 FROM queue WHERE lease < ?1)";
        let mut select = self.db.prepare_cached(free)?;
        Ok(select.query_row([token(Duration::ZERO)?], |row| row.get(0))?)
    }
}

impl Consumer for Competing {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let mut leased = self.lease(max)?;
        if leased.is_none() && look_until(wait, || Ok(usize::from(self.some()?)))? > 0 {
            // Another consumer may have been faster.
            leased = self.lease(max)?;
        }
        let Some((first, last, lease)) = leased else {
            return Ok(0);
        };
        let mut start = 0;
        for end in &self.ends {
            each(&self.bytes[start..*end]);
            start = *end;
        }
        // Only what is still leased to this one: others have messages in between, and a lease that
        // ran out is another's.
        let delete = "DELETE FROM queue WHERE id BETWEEN ?1 AND ?2 AND lease = ?3";
        let mut delete = self.db.prepare_cached(delete)?;
        delete.execute([first, last, lease])?;
        Ok(self.ends.len())
    }
}

/// The lease that ends so long from now, without its holder.
fn token(from_now: Duration) -> Outcome<i64> {
    let end = SystemTime::now().duration_since(UNIX_EPOCH)? + from_now;
    Ok(i64::try_from(end.as_millis())? << HOLDER_BITS)
}
