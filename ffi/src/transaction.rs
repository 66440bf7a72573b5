//! Transactions.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use libqueue::{Error, ErrorKind, MessageId, Receipt, Result, Transaction};

use crate::args::{Out, invalid, slice, slice_mut};
use crate::consumer::{CONSUMERS, lq_consumer};
use crate::error::{LQ_OK, LQ_STALE_RECEIPT, lq_status};
use crate::handle::{Closing, Inside, Table, Tag};
use crate::message::{lq_message, lq_message_id, lq_receipt, messages as messages_of};
use crate::panic::call;
use crate::store::{STORES, lq_store};
use crate::topic::{TOPICS, lq_topic};

/// A transaction: settles deliveries and sends messages, to any topics of its store, all or
/// nothing. Nothing happens before lq_transaction_commit, and nothing at all where it is aborted,
/// or its process ends before; an open one keeps nobody from anything.
///
///     lq_transaction *tx = NULL;
///     lq_transaction_begin(store, &tx);
///     lq_transaction_send(tx, invoices, &message, 1);
///     lq_transaction_ack(tx, billing, &delivery->receipt, 1);
///     if (lq_transaction_commit(tx, NULL, 0) != LQ_OK)
///         puts(lq_last_error_message());
///     lq_transaction_abort(tx);
///
/// Lifetime: from lq_transaction_begin to lq_transaction_abort, which closes it after a commit as
/// well, within that of its store; handles of topics and consumers may be closed earlier. Threads:
/// one at a time (a second one gets LQ_BUSY).
pub struct lq_transaction(());

/// `None` once it was committed.
static TRANSACTIONS: Table<Mutex<Option<Transaction>>> =
    Table::new("lq_transaction", Tag::Transaction);

type Alone<'a> = MutexGuard<'a, Option<Transaction>>;

fn alone<'a>(transaction: &'a Inside<'_, Mutex<Option<Transaction>>>) -> Result<Alone<'a>> {
    match transaction.try_lock() {
        Ok(alone) => Ok(alone),
        // What was gathered is whole after a panic too: it is added in one step.
        Err(TryLockError::Poisoned(alone)) => Ok(PoisonError::into_inner(alone)),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Busy,
            "another thread is using this lq_transaction; begin one for each thread",
        )),
    }
}

fn over() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the transaction was committed, or its commit failed; begin another one",
    )
}

/// Begins a transaction.
///
/// store: the store.
/// transaction: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_READ_ONLY (a store that is only
/// read); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_transaction_abort.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_begin(
    store: *mut lq_store,
    transaction: *mut *mut lq_transaction,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(transaction, "transaction") }?;
        let store = STORES.enter(store)?;
        let begun = Mutex::new(Some(store.store.transaction()?));
        out.set(TRANSACTIONS.open(begun)?);
        Ok(())
    })
}

/// Sends messages when the transaction is committed; all of the call are added, or none.
///
/// transaction: the transaction.
/// topic: where to, of the same store.
/// messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only, and copied.
/// n: how many; nothing happens where it is 0.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle, size, partition, priority or time; a
/// dedup_id; a topic of another store); LQ_TOO_LARGE (above max_message_bytes, or the transaction
/// would have more than 16 MiB of messages or 10,000 operations); LQ_NOT_FOUND (the topic was
/// deleted); LQ_CLOSED (it was committed, or its store closed); LQ_BUSY (another thread is using
/// it); LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_send(
    transaction: *mut lq_transaction,
    topic: *mut lq_topic,
    messages: *const lq_message,
    n: usize,
) -> lq_status {
    call(|| {
        let handle = TRANSACTIONS.enter(transaction)?;
        let mut alone = alone(&handle)?;
        let topic = TOPICS.enter(topic)?;
        // SAFETY: the caller keeps its messages valid during the call.
        unsafe {
            messages_of(messages, n, |many| {
                let open = alone.as_mut().ok_or_else(over)?;
                open.send_many(&topic.topic, many)
            })
        }
    })
}

/// Acknowledges deliveries when the transaction is committed.
///
/// transaction: the transaction.
/// consumer: the consumer that received them, of the same store.
/// receipts: n receipts, read during the call only.
/// n: how many; nothing happens where it is 0.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open handle; a consumer of another store; a group
/// that hands out at most once, where all was settled before); LQ_TOO_LARGE (more than 10,000
/// operations); LQ_CLOSED (it was committed, or its store or consumer closed); LQ_BUSY (another
/// thread is using it); LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_ack(
    transaction: *mut lq_transaction,
    consumer: *mut lq_consumer,
    receipts: *const lq_receipt,
    n: usize,
) -> lq_status {
    call(|| {
        let handle = TRANSACTIONS.enter(transaction)?;
        let mut alone = alone(&handle)?;
        let consumer = CONSUMERS.enter(consumer)?;
        // SAFETY: the caller keeps its receipts valid during the call.
        let receipts = unsafe { slice(receipts, n, "receipts") }?;
        let receipts: Vec<Receipt> = receipts.iter().map(Receipt::from).collect();
        let open = alone.as_mut().ok_or_else(over)?;
        open.ack_receipts(&consumer.consumer, &receipts)
    })
}

/// Does all of a transaction, or, on an error, nothing; either way it is over, and its handle is
/// still to be closed.
///
/// transaction: the transaction.
/// ids: gets the ids of the messages, in the order in which they were sent; NULL if they are of no
/// interest.
/// n: how many there is room for: as many as were sent, or 0 where ids is NULL.
///
/// Returns: LQ_OK; LQ_STALE_RECEIPT (some of the deliveries were settled or handed out again
/// meanwhile: nothing happened); LQ_INVALID_ARGUMENT (NULL; n is not as many as were sent: nothing
/// happened, and it is still open); LQ_NOT_FOUND (a topic or group was deleted); LQ_FULL,
/// LQ_TOO_LARGE (a topic has no room for it, or never has: nothing happened); LQ_DISK_FULL,
/// LQ_STUCK, LQ_FENCED, LQ_DAMAGED (nothing happened); LQ_POISONED, LQ_IO, LQ_TIMEOUT (there was no
/// room within a topic's send_timeout_ms, and nothing happened; but where the message of the error
/// begins with "the transaction is done" it has happened, and is not on disk);
/// LQ_CLOSED (it is over, or its store closed); LQ_BUSY (another thread is using it); LQ_FORKED,
/// LQ_INTERNAL.
/// Memory: close the handle with lq_transaction_abort.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_commit(
    transaction: *mut lq_transaction,
    ids: *mut lq_message_id,
    n: usize,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    unsafe { lq_transaction_commit_results(transaction, ids, n, std::ptr::null_mut(), 0) }
}

/// As lq_transaction_commit, and says of each receipt whether it was stale.
///
/// transaction: the transaction.
/// ids: gets the ids of the messages, in the order in which they were sent; NULL if they are of no
/// interest.
/// n: how many there is room for: as many as were sent, or 0 where ids is NULL.
/// results: gets a code for each receipt, in the order in which they were acknowledged, each LQ_OK
/// or LQ_STALE_RECEIPT, where the call returns one of these two; else left as it is. NULL if they
/// are of no interest.
/// results_n: how many there is room for: as many as were acknowledged, or 0 where results is NULL.
///
/// Returns: as lq_transaction_commit; LQ_INVALID_ARGUMENT also where results_n is not as many as
/// were acknowledged.
/// Memory: close the handle with lq_transaction_abort.
/// Threads: one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_commit_results(
    transaction: *mut lq_transaction,
    ids: *mut lq_message_id,
    n: usize,
    results: *mut lq_status,
    results_n: usize,
) -> lq_status {
    call(|| {
        let handle = TRANSACTIONS.enter(transaction)?;
        let mut alone = alone(&handle)?;
        let open = alone.as_ref().ok_or_else(over)?;
        let (sends, acks) = (open.sends(), open.acks());
        let ids = match ids {
            ids if ids.is_null() => &mut [],
            // SAFETY: the caller gives room for n ids.
            ids => unsafe { slice_mut(ids, fits("n", n, sends)?, "ids") }?,
        };
        let results = match results {
            results if results.is_null() => &mut [],
            results => {
                let room = fits("results_n", results_n, acks)?;
                // SAFETY: the caller gives room for results_n codes.
                unsafe { slice_mut(results, room, "results") }?
            }
        };
        let committed = alone.take().ok_or_else(over)?.commit();
        tell(committed, ids, results)
    })
}

fn fits(what: &str, found: usize, expected: usize) -> Result<usize> {
    if found == expected {
        return Ok(found);
    }
    let message = format!("{what} is {found}; expected {expected}, as many as the transaction has");
    Err(invalid(message))
}

fn tell(
    committed: Result<Vec<MessageId>>,
    ids: &mut [lq_message_id],
    results: &mut [lq_status],
) -> Result<()> {
    let stale = match &committed {
        Err(error) if error.kind() != ErrorKind::StaleReceipt => return committed.map(drop),
        Err(error) => error.stale_places(),
        Ok(_) => &[],
    };
    results.fill(LQ_OK);
    for place in stale {
        if let Some(result) = results.get_mut(*place) {
            *result = LQ_STALE_RECEIPT;
        }
    }
    for (id, sent) in ids.iter_mut().zip(committed?) {
        *id = sent.into();
    }
    Ok(())
}

/// Closes a transaction; one that was not committed does nothing.
///
/// transaction: the transaction; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no transaction); LQ_INTERNAL.
/// Memory: the handle is no longer valid.
/// Threads: any; a call that is using it ends as usual.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_transaction_abort(transaction: *mut lq_transaction) -> lq_status {
    call(|| TRANSACTIONS.close(transaction, |_| Closing::Done(Ok(()))))
}
