//! Readers.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use libqueue::{Error, ErrorKind, Reader, Result};

use crate::args::{Out, at_least_one, timeout};
use crate::batch::{Batch, lq_batch};
use crate::convert::{reader_options, start as start_of};
use crate::error::lq_status;
use crate::handle::{Closing, Inside, Table, Tag};
use crate::options::lq_reader_options;
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// A reader: a place in a topic that belongs to no group. It sees everything and settles nothing.
///
/// Lifetime: from lq_reader_open to lq_reader_close, within that of its store; the topic's handle
/// may be closed earlier. Threads: one at a time (a second one gets LQ_BUSY).
pub struct lq_reader(());

static READERS: Table<Mutex<Reader>> = Table::new("lq_reader", Tag::Reader);

fn alone<'a>(reader: &'a Inside<'_, Mutex<Reader>>) -> Result<MutexGuard<'a, Reader>> {
    match reader.try_lock() {
        Ok(alone) => Ok(alone),
        // Its places are whole after a panic too: each is replaced by the next one in one step.
        Err(TryLockError::Poisoned(alone)) => Ok(PoisonError::into_inner(alone)),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Busy,
            "another thread is using this lq_reader; open one for each thread",
        )),
    }
}

/// Opens a reader.
///
/// topic: the topic.
/// options: NULL reads all partitions from the earliest message on.
/// reader: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL; a number of the options; no such partition; a start
/// at an offset with several partitions); LQ_UNSUPPORTED, LQ_DAMAGED, LQ_CLOSED, LQ_FORKED, LQ_IO,
/// LQ_INTERNAL.
/// Memory: close the handle with lq_reader_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_reader_open(
    topic: *mut lq_topic,
    options: *const lq_reader_options,
    reader: *mut *mut lq_reader,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(reader, "reader") }?;
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its options valid during the call.
        let options = unsafe { reader_options(options) }?;
        out.set(READERS.open(Mutex::new(topic.topic.reader(&options)?))?);
        Ok(())
    })
}

/// Reads on: the messages behind those that were read before, in the order of each partition.
///
/// reader: the reader.
/// max: how many at most; 1 or more.
/// timeout_ms: how long to wait for the first, in milliseconds; 0 does not wait, LQ_FOREVER waits
/// for as long as it takes.
/// batch: gets the messages, 1 to max of them. They have no receipts.
///
/// Returns: LQ_OK; LQ_TIMEOUT (nothing more is there); LQ_INVALID_ARGUMENT (NULL, no open reader, a
/// bad number); LQ_DAMAGED (a message's bytes are damaged: told once, then passed over; go on
/// reading); LQ_BUSY (another thread is using it); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free the batch with lq_batch_free.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_reader_receive(
    reader: *mut lq_reader,
    max: usize,
    timeout_ms: i64,
    batch: *mut *mut lq_batch,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(batch, "batch") }?;
        let reader = READERS.enter(reader)?;
        let timeout = timeout(timeout_ms)?;
        let read = alone(&reader)?.receive(at_least_one(max)?, timeout)?;
        if read.is_empty() {
            return Err(Error::new(
                ErrorKind::Timeout,
                "nothing more to read came in time",
            ));
        }
        out.set(Batch::of_messages(read)?);
        Ok(())
    })
}

/// Moves a reader, in all its partitions.
///
/// reader: the reader.
/// start: where to: one of LQ_START_.
/// start_at: with LQ_START_OFFSET the offset (of a reader of one partition), with LQ_START_TIME
/// nanoseconds since the Unix epoch; else 0.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open reader, a bad number, an offset with several
/// partitions); LQ_BUSY (another thread is using it); LQ_DAMAGED, LQ_IO, LQ_INTERNAL.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_reader_seek(
    reader: *mut lq_reader,
    start: i32,
    start_at: i64,
) -> lq_status {
    call(|| {
        let reader = READERS.enter(reader)?;
        let start = start_of(start, start_at)?;
        alone(&reader)?.seek(start)
    })
}

/// Closes a reader.
///
/// reader: the reader; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no reader); LQ_INTERNAL.
/// Memory: the handle is no longer valid. Batches of it are, until they are freed.
/// Threads: any; a call that is using it ends as usual.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_reader_close(reader: *mut lq_reader) -> lq_status {
    call(|| READERS.close(reader, |_| Closing::Done(Ok(()))))
}
