//! Draining a consumer: it hands out nothing more, and what it has out is waited for.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::inner::locked;
use crate::error::{Error, ErrorKind, Result};

/// How often to look without a word of a settle: leases end by others too.
const BEAT: Duration = Duration::from_millis(50);

/// Tells who drains of each settle.
#[derive(Default)]
pub(super) struct Settles {
    count: Mutex<u64>,
    more: Condvar,
}

impl Consumer {
    /// Hands out nothing more, and waits until all messages that this consumer has out are settled,
    /// or their leases ended. From here on receive calls, those that wait included, end with
    /// [`ErrorKind::Closed`]; settling goes on. [`ErrorKind::Timeout`] after `timeout` (`None`: for
    /// as long as it takes; zero: not at all) says how many are still out; `close` hands those
    /// back, uncounted. Draining is final.
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, ErrorKind, Message, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(&folder.path().join("q"), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// # orders.send(&Message::new(b"paid"))?;
    /// let billing = orders.consumer("billing", &ConsumerOptions::default())?;
    /// let batch = billing.receive(1, Some(Duration::ZERO))?;
    /// let late = billing.drain(Some(Duration::from_millis(10))).unwrap_err();
    /// assert_eq!(late.kind(), ErrorKind::Timeout);
    /// billing.ack(&[batch[0].receipt()])?;
    /// billing.drain(None)?;
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn drain(&self, timeout: Option<Duration>) -> Result<()> {
        self.check()?;
        self.draining.store(true, Ordering::SeqCst);
        // Event loops are to see that nothing comes any more.
        self.force_readable();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let seen = *locked(&self.settles.count);
            let out = self.out()?;
            if out == 0 {
                return Ok(());
            }
            let left = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(self.still_out(out));
            }
            let count = locked(&self.settles.count);
            // Before so many are settled there is no sense in counting again, which is a walk over
            // the window with its lock held.
            let enough = seen.saturating_add(out as u64);
            let too_few = |count: &mut u64| *count < enough;
            drop(
                self.settles
                    .more
                    .wait_timeout_while(count, BEAT.min(left), too_few),
            );
            self.check()?;
        }
    }

    /// Whether `drain` was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Whether receive calls may take anything.
    pub(super) fn hands_out(&self) -> bool {
        !self.is_closed() && !self.is_draining()
    }

    pub(super) fn check_hands_out(&self) -> Result<()> {
        self.check()?;
        if self.is_draining() {
            let message = format!(
                "consumer {:?} drains and hands out nothing more; close it, and open another one",
                self.name
            );
            return Err(Error::new(ErrorKind::Closed, message));
        }
        Ok(())
    }

    /// After a settle call of so many receipts.
    pub(super) fn tell_drain(&self, settled: usize) {
        if self.is_draining() {
            *locked(&self.settles.count) += settled as u64;
            self.settles.more.notify_all();
        }
    }

    /// How many messages it has out.
    fn out(&self) -> Result<usize> {
        let now = self.group.topic.store.env.clock.boot_ms();
        let mut out = 0;
        for partition in &self.group.topic.partitions {
            let count = |window: &mut crate::group::Window| window.leased_to(self.slot, now);
            out += self.group.with_window(partition.number(), count)?;
        }
        if let Some(lane) = self.group.lane()? {
            out += lane.with_window(0, |window| window.leased_to(self.slot, now))?;
        }
        Ok(out)
    }

    #[cold]
    fn still_out(&self, out: usize) -> Error {
        let message = format!(
            "consumer {:?} still has {out} messages out; settle them and drain again, or close it, \
             which hands them back uncounted",
            self.name
        );
        Error::new(ErrorKind::Timeout, message)
    }
}
