//! Appending much at once: the place is taken under the append lock, the bytes are copied without
//! it, so that nobody waits for a copy, and published under it again.
//!
//! Meanwhile one RESERVED record stands there, which readers take for the end; others append behind
//! it. One batch at a time in a partition, under a lock of its own. Its writer may die or fail
//! anywhere: whoever waits for it, or comes after it, makes padding of the place (P1, P17). Until
//! then the durable mark stays in front of it (P2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use super::append::{Draft, Outcome, Place, record_header, total};
use super::segment::{Found, Segment};
use crate::error::Result;
use crate::format::checksum::crc32;
use crate::format::record::{self, HEADER, Header, KIND, RESERVED};
use crate::format::u32_at;
use crate::shm::{EventCount, Held};

/// Batches of more bytes than this are copied outside the append lock.
pub(super) const LARGE: u64 = 32 * 1024;

/// A place that was taken.
pub(super) struct Taken {
    segment: Arc<Segment>,
    place: Place,
}

impl Partition {
    /// With the lock of large batches held: copies the batch to its place and publishes it.
    pub(super) fn fill(&self, taken: &Taken, drafts: &[Draft<'_>]) -> Result<u64> {
        let header = self.copy(taken, drafts);
        let published = match header {
            Some(header) => self.publish(taken, &header, drafts.len()),
            None => Err(taken
                .segment
                .damage(taken.place.position, "the mapping ends here")),
        };
        if published.is_err() {
            // An error means that it is not in the log (P5). Where this fails too, whoever waits
            // for the place does it.
            let _ = self.pad_abandoned();
        }
        published
    }

    /// With the lock of large batches held: puts RESERVED where the batch will be, if there is room
    /// now.
    pub(super) fn take_place(
        &self,
        drafts: &[Draft<'_>],
    ) -> Result<std::result::Result<Taken, Outcome>> {
        let total = total(drafts);
        let mut held = self.lock()?;
        let (segment, place) = match self.place_apart(&mut held, drafts.len(), total)? {
            Ok((segment, place)) => (segment.clone(), place),
            Err(outcome) => return Ok(Err(outcome)),
        };
        let (position, first) = (place.position, place.first);
        let header = Header {
            offset: first,
            timestamp_ns: place.last_timestamp(drafts),
            kind: RESERVED,
            payload_len: drafts.len() as u32,
            ..Header::default()
        };
        let length = total as u32;
        let bytes = header.encode(length, segment.salt(), crc32(b""));
        let (map, at) = (segment.map(), position as usize);
        // The words first: who dies between them and the record leaves words that name nothing.
        self.block.set_large(segment.base(), position, first);
        let written = map
            .store_u32(at + length as usize, 0, Ordering::Relaxed)
            .and_then(|()| map.copy_in(at + 4, &bytes[4..]))
            .and_then(|()| map.store_u32(at, length, Ordering::Release));
        written.ok_or_else(|| segment.damage(position, "the mapping ends here"))?;
        self.block.set_tail(
            segment.base(),
            first + drafts.len() as u64,
            position + u64::from(length),
            header.timestamp_ns,
        );
        drop(held);
        Ok(Ok(Taken { segment, place }))
    }

    /// As `place`, apart from those of small batches.
    #[cold]
    #[inline(never)]
    fn place_apart<'a>(
        &'a self,
        held: &'a mut Held<'_>,
        count: usize,
        bytes: u64,
    ) -> Result<std::result::Result<(&'a Arc<Segment>, Place), Outcome>> {
        self.place(held, count, bytes)
    }

    /// Without the append lock: everything but the first record's header, which is returned.
    fn copy(&self, taken: &Taken, drafts: &[Draft<'_>]) -> Option<[u8; HEADER]> {
        let (segment, place) = (&*taken.segment, &taken.place);
        let map = segment.map();
        let mut at = place.position as usize;
        let mut timestamp_ns = place.last;
        let mut first = None;
        for (number, draft) in drafts.iter().enumerate() {
            timestamp_ns = timestamp_ns.max(draft.timestamp_ns.unwrap_or(place.now));
            let offset = place.first + number as u64;
            let more = number + 1 < drafts.len();
            let header = record_header(draft, offset, timestamp_ns, more);
            let bytes = header.encode(header.len() as u32, segment.salt(), draft.body_crc);
            if number > 0 {
                map.copy_in(at, &bytes)?;
            }
            first.get_or_insert(bytes);
            draft.copy_body(map, at + HEADER)?;
            at += record::padded(header.len()) as usize;
        }
        first
    }

    /// The first record's header takes the place of RESERVED: its length after the rest of it, and
    /// its kind last. A death before the kind leaves RESERVED, to be padded.
    fn publish(&self, taken: &Taken, header: &[u8; HEADER], count: usize) -> Result<u64> {
        let held = self.lock()?;
        self.env.check_fence()?;
        let (segment, position) = (&*taken.segment, taken.place.position);
        if !is_reserved(segment, position, taken.place.first) {
            // A sync failed meanwhile and took everything back that was not on disk.
            return Err(self.poisoned());
        }
        let at = position as usize;
        write_but_kind(segment, at, header)
            .ok_or_else(|| segment.damage(position, "the mapping ends here"))?;
        segment.store_kind(at, header);
        self.block.clear_large();
        drop(held);
        self.tell(count as u32);
        Ok(taken.place.first)
    }

    fn tell(&self, count: u32) {
        self.published(count);
        EventCount::notify(self.block.sync_event(), u32::MAX);
    }

    /// With the lock of large batches held: what an earlier holder left becomes padding.
    pub(super) fn pad_abandoned(&self) -> Result<()> {
        if self.block.large().is_none() {
            return Ok(());
        }
        let held = self.lock()?;
        // One that was taken for dead holds the lock of large batches no more, and what stands
        // there may be its heir's.
        self.env.check_alive()?;
        if let Some((base, position, first)) = self.block.large()
            && let Some(segment) = self.segment(base)?
        {
            // It rolled meanwhile: the next segment says that all of it is messages.
            let rolled = segment.base() < self.block.segment();
            if let Found::Record(header, length) = segment.at(position)
                && header.kind == RESERVED
                && header.offset == first
            {
                if rolled {
                    self.forget_sums_behind(segment.base())?;
                }
                segment.end_reserved(position, &header, length, self.block.next_offset());
            }
            // Also where one that died in here made it padding, and left sums unsaid (P17, P19).
            if rolled {
                self.say_sums_again()?;
            }
        }
        self.block.clear_large();
        drop(held);
        self.tell(1);
        Ok(())
    }

    /// Whether a large batch is being copied, which hides what stands behind it.
    pub fn is_copying(&self) -> bool {
        self.block.large().is_some()
    }

    /// By those who wait: if a large batch stands there whose writer died, it becomes padding;
    /// whether it did, so that what is behind it can be read now. Costs a load while there is none.
    pub fn tend_large(&self) -> Result<bool> {
        if self.block.large().is_none() {
            return Ok(false);
        }
        Ok(self.glance_large()?.is_some())
    }
}

fn write_but_kind(segment: &Segment, at: usize, header: &[u8; HEADER]) -> Option<()> {
    let map = segment.map();
    map.copy_in(at + 4, &header[4..KIND])?;
    map.copy_in(at + KIND + 4, &header[KIND + 4..])?;
    map.store_u32(at, u32_at(header, record::LENGTH), Ordering::Release)
}

fn is_reserved(segment: &Segment, position: u64, first: u64) -> bool {
    matches!(
        segment.at(position),
        Found::Record(header, _) if header.kind == RESERVED && header.offset == first
    )
}

#[cfg(test)]
impl Partition {
    pub(crate) fn large_lock_in_test(&self) -> &crate::shm::Word {
        self.block.large_lock()
    }

    /// As one that dies, or is stopped, while it copies.
    pub(super) fn take_place_in_test(&self, drafts: &[Draft<'_>]) {
        self.taken(drafts);
    }

    fn taken(&self, drafts: &[Draft<'_>]) -> Taken {
        let taken = self.take_place(drafts).expect("place");
        taken.ok().expect("room")
    }

    /// As one that dies while it puts the header in its place.
    pub(super) fn publish_lengths_in_test(&self, drafts: &[Draft<'_>]) {
        let taken = self.taken(drafts);
        let header = self.copy(&taken, drafts).expect("copied");
        let at = taken.place.position as usize + KIND + 4;
        let written = taken.segment.map().copy_in(at, &header[KIND + 4..]);
        written.expect("inside");
    }

    /// As one that dies before it stores the kind.
    pub(super) fn publish_all_but_the_kind_in_test(&self, drafts: &[Draft<'_>]) {
        let taken = self.taken(drafts);
        let header = self.copy(&taken, drafts).expect("copied");
        let written = write_but_kind(&taken.segment, taken.place.position as usize, &header);
        written.expect("inside");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{draft, open, payloads};
    use super::*;
    use crate::error::ErrorKind;
    use crate::shm::{Owner, OwnerLock};
    use crate::storage::Disk;
    use std::time::Duration;

    fn partition() -> (tempfile::TempDir, Arc<Partition>) {
        let folder = tempfile::TempDir::new().expect("folder");
        let partition = open(Arc::new(Disk), folder.path());
        (folder, partition)
    }

    #[test]
    fn p2_padding_in_the_place_of_a_half_written_header_takes_no_offset_of_others() {
        let twin = crate::storage::Twin::new();
        let path = std::path::Path::new("/p");
        let partition = open(Arc::new(twin.clone()), path);
        let big = vec![7; 100_000];
        partition.make_room(&[draft(&big)]).expect("room");
        partition.publish_lengths_in_test(&[draft(&big)]);
        partition.tend_large().expect("tend");
        assert_eq!(partition.append(&[draft(b"behind")]).expect("append"), 1);
        partition.sync().expect("sync");
        let after = twin.power_loss(1).expect("image");
        let again = open(Arc::new(after), path);
        assert_eq!(payloads(&again), [(1, b"behind".to_vec())]);
    }

    #[test]
    fn p1_p17_a_large_batch_whose_writer_died_becomes_padding_and_what_follows_is_read() {
        let (_folder, partition) = partition();
        let big = vec![7; 100_000];
        partition.append(&[draft(b"before")]).expect("append");
        let dead = Owner {
            slot: 5,
            generation: 5,
        };
        assert!(OwnerLock::try_acquire(partition.block.large_lock(), dead));
        partition
            .make_room(&[draft(&big), draft(&big)])
            .expect("room");
        partition.taken(&[draft(&big), draft(&big)]);
        assert_eq!(partition.append(&[draft(b"behind")]).expect("append"), 3);
        let seen = |partition: &Partition| -> Vec<u64> {
            payloads(partition)
                .iter()
                .map(|(offset, _)| *offset)
                .collect()
        };
        assert_eq!(
            seen(&partition),
            [0],
            "order: nothing passes what is being copied"
        );
        partition.sync().expect("sync");
        assert_eq!(
            partition.durable_offset(),
            1,
            "the mark stays in front of it"
        );
        partition.tend_large().expect("tend");
        assert_eq!(seen(&partition), [0, 3]);
        partition.sync().expect("sync");
        assert_eq!(partition.durable_offset(), 4);
        assert_eq!(partition.append(&[draft(&big)]).expect("append"), 4);
        assert_eq!(seen(&partition), [0, 3, 4]);
    }

    #[test]
    fn p1_when_all_died_a_half_copied_batch_is_padding_for_the_next_life() {
        let (folder, partition) = partition();
        let big = vec![7; 100_000];
        partition.append(&[draft(b"before")]).expect("append");
        partition.make_room(&[draft(&big)]).expect("room");
        partition.taken(&[draft(&big)]);
        partition.append(&[draft(b"behind")]).expect("append");
        drop(partition);
        let partition = open(Arc::new(Disk), folder.path());
        let seen: Vec<u64> = payloads(&partition).iter().map(|(at, _)| *at).collect();
        assert_eq!(seen, [0, 2]);
        assert_eq!(partition.append(&[draft(&big)]).expect("append"), 3);
    }

    #[test]
    fn p2_a_sync_sender_behind_a_large_batch_waits_for_it() {
        let (_folder, partition) = partition();
        let big = vec![7; 100_000];
        partition.append(&[draft(b"x")]).expect("append");
        partition.make_room(&[draft(&big)]).expect("room");
        let me = partition.env.me;
        assert!(OwnerLock::try_acquire(partition.block.large_lock(), me));
        let taken = partition.taken(&[draft(&big)]);
        partition.append(&[draft(b"behind")]).expect("append");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| partition.ensure_durable(3, Duration::from_secs(20)));
            let header = partition.copy(&taken, &[draft(&big)]).expect("copied");
            assert_eq!(
                partition.durable_offset().min(1),
                partition.durable_offset()
            );
            partition.publish(&taken, &header, 1).expect("publish");
            OwnerLock::release(partition.block.large_lock(), me);
            waiter.join().expect("thread").expect("durable");
        });
        assert_eq!(partition.durable_offset(), 3);
        assert_eq!(payloads(&partition)[1].1, big);
    }

    #[test]
    fn p3_large_and_small_ones_from_many_threads_come_whole_and_in_each_ones_order() {
        let (_folder, partition) = partition();
        std::thread::scope(|scope| {
            for sender in 0_u8..4 {
                let partition = &partition;
                scope.spawn(move || {
                    for number in 0_u16..60 {
                        let size = if number % 3 == 0 { 200_000 } else { 50 };
                        let mut payload = vec![sender; size];
                        payload[1..3].copy_from_slice(&number.to_le_bytes());
                        partition.append(&[draft(&payload)]).expect("append");
                    }
                });
            }
        });
        let mut next = [0_u16; 4];
        let all = payloads(&partition);
        assert_eq!(all.len(), 240);
        for (_, payload) in all {
            let sender = payload[0];
            let number = u16::from_le_bytes([payload[1], payload[2]]);
            assert_eq!(number, next[usize::from(sender)]);
            next[usize::from(sender)] += 1;
            assert!(payload[3..].iter().all(|byte| *byte == sender));
        }
    }

    #[test]
    fn p1_p17_one_that_was_taken_for_dead_pads_no_place_of_its_heir() {
        let (folder, partition) = partition();
        let big = vec![7; 100_000];
        partition.make_room(&[draft(&big)]).expect("room");
        let me = partition.env.me;
        assert!(OwnerLock::try_acquire(partition.block.large_lock(), me));
        let taken = partition.taken(&[draft(&big)]);
        let fenced = super::super::tests::open_fenced(&partition, folder.path());
        let error = fenced.pad_abandoned().expect_err("taken for dead");
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let header = partition.copy(&taken, &[draft(&big)]).expect("copied");
        partition.publish(&taken, &header, 1).expect("publish");
        assert_eq!(payloads(&partition)[0].1, big);
    }
}
