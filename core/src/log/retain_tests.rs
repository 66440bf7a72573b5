//! What retention takes of a log, and what a death or a power loss in between leaves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::tests::{draft, open, open_beside, open_shared, payloads, unboot};
use super::*;
use crate::format::reserve::taken_by;
use crate::options::Start;
use crate::storage::{Access, Disk, Storage, Twin};

const FOLDER: &str = "/p";

/// Thirty messages, in several segments.
fn filled(twin: &Twin) -> Arc<Partition> {
    let partition = open(Arc::new(twin.clone()), Path::new(FOLDER));
    for number in 0..30_u8 {
        let payload = vec![number; 200_000];
        partition.append(&[draft(&payload)]).expect("append");
    }
    partition
}

fn take(partition: &Partition, first: u64) -> u64 {
    partition.take_below(first);
    partition.remove_below(first).expect("remove")
}

#[test]
fn p15_sealed_segments_go_with_their_indexes_and_the_rest_is_as_it_was() {
    let twin = Twin::new();
    let partition = filled(&twin);
    let beside = open_shared(Arc::new(twin.clone()), Path::new(FOLDER), &partition);
    let all = payloads(&beside);
    let sealed = partition.sealed().expect("sealed");
    assert!(sealed.len() > 1, "{sealed:?}");
    let (first, last) = (sealed[0], sealed[sealed.len() - 1]);
    // Looked for in the middle, so that there is an index.
    let mut cursor = Cursor::at_offset(first.end - 1);
    partition.resolve(&mut cursor).expect("resolve");
    let index = Path::new(FOLDER).join(names::index(first.base));
    assert!(twin.exists(&index).expect("exists"));
    // As one leaves it who dies while he writes another one.
    let unfinished = Path::new(FOLDER).join(names::unfinished_index(first.base, 9));
    twin.open(&unfinished, Access::CreateNew, 0o600)
        .expect("made");
    assert_eq!(take(&partition, first.end), 1 << 20);
    assert!(
        ![index, unfinished]
            .iter()
            .any(|path| twin.exists(path).expect("exists"))
    );
    assert_eq!(partition.earliest_offset().expect("earliest"), first.end);
    assert_eq!(payloads(&beside)[..], all[first.end as usize..]);
    // What is mapped is let go, and a view of it stays.
    let record = all[0].clone();
    beside.prepare_ahead().expect("housekeeping");
    assert!(beside.mapped(first.base).is_none());
    assert_eq!(record.1, vec![0; 200_000]);
    assert!(take(&partition, last.end) > 1 << 20);
    assert_eq!(payloads(&partition)[..], all[last.end as usize..]);
    assert!(partition.sealed().expect("sealed").is_empty());
    partition.append(&[draft(b"on")]).expect("append");
    assert_eq!(partition.next_offset(), 31);
    assert!(partition.seek(Start::Offset(0)).is_err());
    assert_eq!(
        partition.seek(Start::Time(0)).expect("time").offset,
        last.end
    );
}

#[test]
fn p8_p15_what_is_about_to_be_taken_is_said_on_disk_when_it_is_taken() {
    let partition = filled(&Twin::new());
    let first = partition.sealed().expect("sealed")[0].end;
    let said = || taken_by(&partition.read_reserve().expect("reserve").expect("written"));
    partition.sync().expect("sync");
    partition.take_below(first);
    // As others do in between, whom nobody waits for.
    partition
        .write_reserve(partition.block.limit(), false)
        .expect("write");
    partition
        .note_on_disk(partition.block.mark())
        .expect("write");
    partition.raise(0).expect("write");
    assert_eq!(said(), 0, "a power loss brings all of it back");
    partition.remove_below(first).expect("remove");
    assert_eq!(said(), first);
}

#[test]
fn p2_p3_p15_what_was_hidden_comes_back_whole_when_the_power_goes_before_it_is_taken() {
    for seed in 0..20 {
        let twin = Twin::new();
        let partition = filled(&twin);
        let sealed = partition.sealed().expect("sealed");
        let first = sealed[sealed.len() - 1].end;
        assert!(partition.mark_behind(first).expect("sync"));
        partition.take_below(first);
        // As others go on, until the one who takes it is that far, or has died.
        partition.append(&[draft(b"on")]).expect("append");
        partition.sync().expect("sync");
        partition.raise(0).expect("reserve");
        let lost = twin.power_loss(seed).expect("image");
        unboot(&lost, Path::new(FOLDER));
        let again = open(Arc::new(lost), Path::new(FOLDER));
        let numbers: Vec<u64> = payloads(&again).iter().map(|one| one.0).collect();
        assert_eq!(numbers, (0..31).collect::<Vec<u64>>(), "seed {seed}");
    }
}

#[test]
fn p15_who_closes_cleanly_does_not_take_what_somebody_was_about_to() {
    let twin = Twin::new();
    let partition = filled(&twin);
    partition.take_below(partition.sealed().expect("sealed")[0].end);
    partition.close_clean().expect("close");
    let again = open(Arc::new(twin.all_die().expect("image")), Path::new(FOLDER));
    assert_eq!(payloads(&again).len(), 30);
}

#[test]
fn p5_p15_what_retention_took_before_housekeeping_synced_it_is_no_failed_sync() {
    let partition = filled(&Twin::new());
    let sealed = partition.sealed().expect("sealed");
    // Decided, and told to all; no file is gone yet, nor synced.
    partition.take_below(sealed[sealed.len() - 1].end);
    partition.sync_sealed().expect("nothing to do");
    partition.append(&[draft(b"on")]).expect("not poisoned");
    partition.sync().expect("sync");
}

#[test]
fn p4_p15_no_place_but_the_base_of_a_segment_behind_the_mark_is_taken() {
    let twin = Twin::new();
    let partition = filled(&twin);
    let count = partition.bases().expect("bases").len();
    for first in [0, 1, 2, 29, 30, 1_000, u64::MAX] {
        assert_eq!(
            partition.remove_below(first).expect("nothing"),
            0,
            "{first}"
        );
    }
    assert_eq!(partition.bases().expect("bases").len(), count);
    let active = *partition.bases().expect("bases").last().expect("one");
    take(&partition, active);
    assert_eq!(
        partition.block.mark().0,
        active,
        "recovery begins in what is there"
    );
    let lost = twin.power_loss(3).expect("image");
    let again = open(Arc::new(lost), Path::new(FOLDER));
    assert_eq!(again.earliest_offset().expect("earliest"), active);
}

#[test]
fn p2_p15_after_a_power_loss_at_any_place_a_suffix_is_left_that_goes_on() {
    for seed in 1..60 {
        let twin = Twin::new();
        let partition = filled(&twin);
        partition
            .ensure_durable(30, Duration::from_secs(5))
            .expect("sync");
        let sealed = partition.sealed().expect("sealed");
        let first = sealed[seed as usize % sealed.len()].end;
        let bytes = take(&partition, first);
        assert!(bytes > 0);
        // What was unlinked comes back in any part, in whatever order.
        let lost = twin.power_loss(seed).expect("image");
        let again = open(Arc::new(lost), Path::new(FOLDER));
        assert_eq!(
            again.earliest_offset().expect("earliest"),
            first,
            "seed {seed}"
        );
        let found = payloads(&again);
        assert_eq!(found.len() as u64, 30 - first, "seed {seed}");
        assert!(again.append(&[draft(b"on")]).expect("append") >= 30);
        // And is removed with the next.
        let last = again.sealed().expect("sealed").last().map(|one| one.end);
        if let Some(last) = last {
            take(&again, last);
            assert_eq!(again.all_bases().expect("bases")[0], last);
        }
    }
}

#[test]
fn p15_a_segment_that_has_to_go_is_sealed_once_and_as_small_as_any() {
    let folder = tempfile::tempdir().expect("folder");
    let partition = open(Arc::new(Disk), folder.path());
    assert!(!partition.seal_older(i64::MAX).expect("nothing there"));
    for _ in 0..8 {
        partition.append(&[draft(&[7; 200_000])]).expect("append");
    }
    assert!(!partition.seal_older(i64::MIN).expect("young"));
    assert!(partition.seal_older(i64::MAX).expect("old"));
    assert!(!partition.seal_older(i64::MAX).expect("empty"));
    assert_eq!(partition.active_bytes().expect("bytes"), 1 << 20);
    let all = partition.sealed().expect("sealed");
    assert_eq!(all.last().map(|one| one.end), Some(8));
    for one in all {
        assert!(partition.is_older(one, i64::MAX).expect("old"));
        assert!(!partition.is_older(one, 0).expect("young"));
        assert_eq!(partition.last_timestamp_of(one).expect("time"), 1_000);
    }
    assert_eq!(partition.append(&[draft(b"on")]).expect("append"), 8);
    assert_eq!(payloads(&partition).len(), 9);
}

#[test]
fn p15_p19_a_large_segment_that_was_prepared_is_not_taken_where_few_messages_are_to_come() {
    let folder = tempfile::tempdir().expect("folder");
    let partition = open(Arc::new(Disk), folder.path());
    for _ in 0..11 {
        partition.append(&[draft(&[7; 200_000])]).expect("append");
    }
    assert!(partition.prepare_ahead().expect("more than half is full"));
    let next = folder.path().join(names::NEXT_SEGMENT);
    assert_eq!(std::fs::metadata(&next).expect("prepared").len(), 4 << 20);
    assert!(partition.seal_older(i64::MAX).expect("old"));
    assert_eq!(partition.active_bytes().expect("bytes"), 1 << 20);
    assert!(!next.exists());
    // Nor is what is mapped of it: what comes is in the segment that others find.
    assert_eq!(partition.append(&[draft(b"on")]).expect("append"), 11);
    let beside = open_beside(&partition, folder.path());
    assert_eq!(payloads(&beside).len(), 12);
}

#[test]
fn p18_what_control_or_a_file_says_was_taken_is_believed_up_to_the_mark() {
    let twin = Twin::new();
    let partition = filled(&twin);
    partition
        .ensure_durable(30, Duration::from_secs(5))
        .expect("sync");
    partition.take_below(u64::MAX);
    assert!(partition.first_kept() > 1 << 40);
    let error = partition.append(&[draft(&[1; 900_000]), draft(&[1; 900_000])]);
    drop(error);
    partition
        .take_in_reserve(partition.block.limit(), u64::MAX)
        .expect("write");
    let left = twin.all_die().expect("image");
    let again = open(Arc::new(left), Path::new(FOLDER));
    let active = again.earliest_offset().expect("earliest");
    assert!(again.bases().expect("bases").contains(&active));
    assert_eq!(active, partition.block.mark().0);
    assert!(!payloads(&again).is_empty());
}

#[test]
fn p15_an_earlier_builds_reserve_says_that_nothing_was_taken() {
    let twin = Twin::new();
    let partition = filled(&twin);
    partition.close_clean().expect("close");
    let path = Path::new(FOLDER).join(names::RESERVE);
    let file = twin.open(&path, Access::Read, 0).expect("open");
    let mut behind = [1; 16];
    for slot in [96, 512 + 96] {
        file.read_at(&mut behind, slot).expect("read");
        assert_eq!(behind, [0; 16], "as they wrote it");
    }
    let again = open(Arc::new(twin.all_die().expect("image")), Path::new(FOLDER));
    assert_eq!(payloads(&again).len(), 30);
}

/// Nothing that transactions sent is on disk for sure, as long as this says so.
struct NotYet(AtomicBool);

impl Transactions for NotYet {
    fn begin_life(&self) -> Result<()> {
        Ok(())
    }

    fn unpublished(&self, _: u64, _: u32) -> Result<Option<crate::format::journal::Send>> {
        Ok(None)
    }

    fn happened(&self) -> Result<std::collections::HashSet<u64>> {
        Ok(std::collections::HashSet::new())
    }

    fn on_disk(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn p8_p15_nothing_goes_in_which_a_recovery_would_begin_for_the_sake_of_transactions() {
    let twin = Twin::new();
    let transactions = Arc::new(NotYet(AtomicBool::new(false)));
    let env = Env {
        transactions: Some(transactions.clone()),
        ..super::tests::env_on(Arc::new(twin.clone()))
    };
    twin.create_dir(Path::new(FOLDER), 0o770).expect("folder");
    twin.sync_dir(Path::new("/")).expect("sync");
    let control = Arc::new(crate::shm::Mapping::anonymous(4096).expect("memory"));
    let words = crate::format::control::partition::WORDS * 8;
    let block = Region::new(&control, 0, words).expect("block");
    let (folder, published) = (Path::new(FOLDER).to_owned(), Arc::new(|_| ()));
    let durability = Durability::Process;
    let partition = Partition::open(Arc::new(env), folder, block, (7, 0), durability, published);
    let partition = partition.expect("open");
    for number in 0..30_u8 {
        let payload = vec![number; 200_000];
        partition.append(&[draft(&payload)]).expect("append");
    }
    let count = partition.bases().expect("bases").len();
    let first = partition.sealed().expect("sealed")[1].end;
    partition.sync().expect("sync");
    assert_eq!(take(&partition, first), 0, "another time");
    assert_eq!(partition.all_bases().expect("bases").len(), count);
    for seed in 0..4 {
        let image = twin.power_loss(seed).expect("image");
        let again = open(Arc::new(image), Path::new(FOLDER));
        assert_eq!(payloads(&again).len(), 30, "{seed}");
    }
    transactions.0.store(true, Ordering::Relaxed);
    assert!(take(&partition, first) > 0);
    // What is known to be on disk goes only so far: what is behind is the later one's to say.
    let mark = partition.block.mark();
    let place = (0, 4096, mark.2);
    partition.note_on_disk(place).expect("note");
    for seed in 0..4 {
        let image = twin.power_loss(seed).expect("image");
        let again = open(Arc::new(image), Path::new(FOLDER));
        assert_eq!(payloads(&again).len() as u64, 30 - first, "{seed}");
    }
}
