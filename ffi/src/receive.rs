//! Receiving, waiting by a descriptor, draining.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

use libqueue::{Error, ErrorKind, ReceiveOptions, Result};

use crate::args::{Out, at_least_one, timeout};
use crate::batch::{Batch, lq_batch};
use crate::consumer::{CONSUMERS, lq_consumer};
use crate::convert::receive_options;
use crate::error::lq_status;
use crate::options::lq_receive_options;
use crate::panic::call;

fn receive(
    consumer: *mut lq_consumer,
    options: &ReceiveOptions,
    out: Out<*mut lq_batch>,
) -> Result<()> {
    let consumer = CONSUMERS.enter(consumer)?;
    let received = consumer.consumer.receive_with(options)?;
    if received.is_empty() {
        return Err(Error::new(ErrorKind::Timeout, "no message came in time"));
    }
    out.set(Batch::of_deliveries(received)?);
    Ok(())
}

/// Receives messages, each of them leased from now on for the consumer's lease, else the group's.
/// Settle each with lq_ack, lq_nack, lq_release or lq_dead_letter before its lease ends, or extend
/// it. Where the group hands out at most once each was settled before the call returns it: receive
/// as many as are sure to be handled.
///
/// Where the group has a filter, the call passes over what that leaves out until its timeout, and
/// for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
///
/// consumer: the consumer.
/// max: how many at most; 1 or more.
/// timeout_ms: how long to wait for the first, in milliseconds; 0 does not wait, LQ_FOREVER waits
/// for as long as it takes.
/// batch: gets the messages, 1 to max of them.
///
/// Returns: LQ_OK; LQ_TIMEOUT (nothing came); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad
/// number); LQ_DAMAGED (a message's bytes are damaged: told once, by the next call if this one has
/// messages; the message is settled; go on receiving); LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_STUCK,
/// LQ_DISK_FULL, LQ_IO, LQ_INTERNAL.
/// Memory: free the batch with lq_batch_free. Freeing settles nothing.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_receive(
    consumer: *mut lq_consumer,
    max: usize,
    timeout_ms: i64,
    batch: *mut *mut lq_batch,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(batch, "batch") }?;
        let options = ReceiveOptions {
            max_messages: at_least_one(max)?,
            timeout: timeout(timeout_ms)?,
            ..ReceiveOptions::default()
        };
        receive(consumer, &options, out)
    })
}

/// As lq_receive, with all that can be asked for.
///
/// Where the group has a filter, the call passes over what that leaves out until its timeout, and
/// for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
///
/// consumer: the consumer.
/// options: NULL takes one message, for as long as it takes.
/// batch: gets the messages, at least one.
///
/// Returns: LQ_OK; LQ_TIMEOUT (nothing came); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad
/// number, a lease above the group's max_lease_ms, or where it hands out at most once);
/// LQ_UNSUPPORTED (options of a newer library);
/// LQ_DAMAGED (a message's bytes are damaged: told once, by the next call if this one has messages;
/// the message is settled; go on receiving); LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_STUCK,
/// LQ_DISK_FULL, LQ_IO, LQ_INTERNAL.
/// Memory: free the batch with lq_batch_free. Freeing settles nothing.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_receive_with(
    consumer: *mut lq_consumer,
    options: *const lq_receive_options,
    batch: *mut *mut lq_batch,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(batch, "batch") }?;
        // SAFETY: the caller keeps its options valid during the call.
        let options = unsafe { receive_options(options) }?;
        receive(consumer, &options, out)
    })
}

/// A descriptor that is readable while a receive of this consumer may return something, a message
/// or an error, and not readable while none can: for poll, epoll and event loops. When it is
/// readable, receive with a timeout of 0; another consumer may have been faster. A receive that
/// empties the group makes it unreadable. With the first one a thread starts, which serves all
/// descriptors of the store and sleeps while nothing happens.
///
/// consumer: the consumer.
/// fd: gets the descriptor; the same with each call.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_TOO_MANY (threads); LQ_CLOSED,
/// LQ_FORKED (the child of a fork opens consumers of its own), LQ_IO (no descriptor is left),
/// LQ_INTERNAL.
/// Memory: the descriptor belongs to the consumer: only poll it, do not read or close it; take it
/// out of poll sets before the consumer is closed. It is closed on exec.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumer_fd(consumer: *mut lq_consumer, fd: *mut c_int) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a descriptor.
        let out = unsafe { Out::new(fd, "fd") }?;
        let consumer = CONSUMERS.enter(consumer)?;
        out.set(consumer.consumer.fd()?.as_raw_fd());
        Ok(())
    })
}

/// Hands out nothing more, and waits until all messages that the consumer has out are settled or
/// their leases ended. From here on receives, those that wait included, end with LQ_CLOSED;
/// settling goes on. Draining is final: close the consumer afterwards.
///
/// consumer: the consumer.
/// timeout_ms: how long to wait, in milliseconds; 0 does not wait, LQ_FOREVER waits for as long as
/// it takes.
///
/// Returns: LQ_OK; LQ_TIMEOUT (some are still out; lq_consumer_close hands them back, uncounted);
/// LQ_INVALID_ARGUMENT (no open consumer, a bad timeout_ms); LQ_CLOSED, LQ_FORKED, LQ_FENCED,
/// LQ_STUCK, LQ_IO, LQ_INTERNAL.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_consumer_drain(
    consumer: *mut lq_consumer,
    timeout_ms: i64,
) -> lq_status {
    call(|| {
        let timeout = timeout(timeout_ms)?;
        CONSUMERS.enter(consumer)?.consumer.drain(timeout)
    })
}
