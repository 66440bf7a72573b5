//! Appending in two steps, for transactions (P8): everything is written under the append lock but
//! the word that publishes it. What was prepared and never published nobody sees; the next append
//! writes over it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::append::{Draft, Outcome, total, write_unpublished};
use super::{Partition, Room, Segment};
use crate::error::Result;
use crate::format::journal::Send;
use crate::shm::Held;

/// What has to be done, without the lock, before there is room.
pub struct Obstacle(Outcome);

/// Messages that were written and not published, with the append lock of their partition. Dropping
/// it leaves the log as it was.
pub struct Prepared<'a> {
    partition: &'a Partition,
    held: Held<'a>,
    segment: Arc<Segment>,
    send: Send,
    last: i64,
}

impl Partition {
    /// Writes these messages behind the last one, and keeps the append lock; or says what is in the
    /// way. Waits no longer than this for a live holder of the lock.
    pub fn prepare(
        &self,
        drafts: &[Draft<'_>],
        patience: Duration,
    ) -> Result<std::result::Result<Prepared<'_>, Obstacle>> {
        let mut held = self.lock_within(patience)?;
        let (segment, place) = match self.place(&mut held, drafts.len(), total(drafts))? {
            Ok((segment, place)) => (segment.clone(), place),
            Err(outcome) => return Ok(Err(Obstacle(outcome))),
        };
        let written = write_unpublished(&segment, &place, drafts);
        let (last, first) =
            written.ok_or_else(|| segment.damage(place.position, "the mapping ends here"))?;
        let send = Send {
            topic: self.topic,
            partition: self.number,
            segment: segment.base(),
            position: place.position,
            offset: place.first,
            count: drafts.len() as u32,
            first,
            bytes: total(drafts) as u32,
        };
        Ok(Ok(Prepared {
            partition: self,
            held,
            segment,
            send,
            last,
        }))
    }

    /// Waits no longer than this until whoever holds the append lock gives it back, or died.
    pub fn wait_for_lock(&self, patience: Duration) -> Result<()> {
        self.lock_within(patience).map(drop)
    }

    /// Without any lock: what is in the way of these messages is no more.
    pub fn clear_way(&self, obstacle: &Obstacle, drafts: &[Draft<'_>]) -> Result<()> {
        self.make_way(&obstacle.0, drafts, Room::Ordinary)
    }
}

impl Prepared<'_> {
    /// Where it is.
    #[must_use]
    pub fn send(&self) -> Send {
        self.send
    }

    /// Publishes it, after the transaction has happened; a death before has another process do it
    /// (`publish_rest`).
    pub fn publish(self) -> Result<()> {
        let (send, partition) = (self.send, self.partition);
        let at = usize::try_from(send.position).unwrap_or(usize::MAX);
        // Release pairs with the acquire in `Segment::at`.
        let stored = (self.segment.map()).store_u32(at, send.first, Ordering::Release);
        if stored.is_none() {
            let error = (self.segment).damage(send.position, "the mapping ends here");
            self.held.abandon();
            return Err(error);
        }
        let block = &partition.block;
        block.set_tail(send.segment, send.end(), send.end_position(), self.last);
        drop(self.held);
        partition.published(send.count);
        Ok(())
    }
}
