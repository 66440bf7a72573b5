//! The log over the twin of the disk and over the real one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::format::control::partition::WORDS;
use crate::format::record::body_crc;
use crate::options::Start;
use crate::shm::{Liveness, Mapping, Owner};
use crate::storage::{Disk, Fault, Storage, Twin};

/// The slot of the one member that lives.
const ME: u16 = 1;
pub(super) const ALIVE: Owner = Owner {
    slot: ME,
    generation: 1,
};

struct Alone;

impl Liveness for Alone {
    fn is_alive(&self, owner: Owner) -> bool {
        owner.slot == ME
    }
    fn describe(&self, _: Owner) -> String {
        "a dead process".into()
    }
}

pub(super) fn open(storage: Arc<dyn Storage>, folder: &Path) -> Arc<Partition> {
    let control = Arc::new(Mapping::anonymous(4096).expect("memory"));
    let block = Region::new(&control, 0, WORDS * 8).expect("block");
    open_with(storage, folder, block, Durability::Process).expect("open")
}

/// The same partition, as one has it open that was taken for dead.
pub(super) fn open_fenced(partition: &Partition, folder: &Path) -> Arc<Partition> {
    let word = Mapping::anonymous(4096).map(Arc::new).expect("memory");
    let word = Region::new(&word, 0, 8).expect("word");
    word.set(0, 7);
    let env = Env {
        fence: Some((word.clone(), 7)),
        ..env_on(Arc::new(Disk))
    };
    let block = partition.block.0.clone();
    let fenced = Partition::open(
        Arc::new(env),
        folder.to_owned(),
        block,
        (7, 0),
        Durability::Process,
        Arc::new(|_| ()),
    );
    let fenced = fenced.expect("open");
    word.set(0, 8);
    fenced
}

/// The same partition, as another process has it open on this storage.
pub(super) fn open_shared(
    storage: Arc<dyn Storage>,
    folder: &Path,
    partition: &Partition,
) -> Arc<Partition> {
    let block = partition.block.0.clone();
    open_with(storage, folder, block, Durability::Process).expect("open")
}

/// With this block of `control`; it may fail.
pub(super) fn try_open(
    storage: Arc<dyn Storage>,
    folder: &Path,
    block: Region,
) -> Result<Arc<Partition>> {
    open_with(storage, folder, block, Durability::Process)
}

pub(super) fn open_to_sync(storage: Arc<dyn Storage>, folder: &Path) -> Arc<Partition> {
    let control = Arc::new(Mapping::anonymous(4096).expect("memory"));
    let block = Region::new(&control, 0, WORDS * 8).expect("block");
    open_with(storage, folder, block, Durability::Sync).expect("open")
}

/// The same partition, as another process has it open.
pub(super) fn open_beside(partition: &Partition, folder: &Path) -> Arc<Partition> {
    let block = partition.block.0.clone();
    open_with(Arc::new(Disk), folder, block, Durability::Process).expect("open")
}

fn open_with(
    storage: Arc<dyn Storage>,
    folder: &Path,
    block: Region,
    durability: Durability,
) -> Result<Arc<Partition>> {
    storage.create_dir(folder, 0o770).expect("folder");
    storage
        .sync_dir(folder.parent().expect("parent"))
        .expect("sync");
    let (env, folder) = (Arc::new(env_on(storage)), folder.to_owned());
    let published = Arc::new(|_| ());
    Partition::open(env, folder, block, (7, 0), durability, published)
}

pub(super) fn env_on(storage: Arc<dyn Storage>) -> Env {
    Env {
        storage,
        clock: Arc::new(ManualClock::new(1_000, 0)),
        live: Arc::new(Alone),
        me: ALIVE,
        lock_timeout: Duration::from_secs(5),
        mode: 0o660,
        fence: None,
        leaving: false.into(),
        indexing: Default::default(),
        may_take_room: Box::new(|_| Ok(())),
        nudge: Box::new(|| ()),
        hurry: Box::new(|_| ()),
        transactions: None,
    }
}

pub(super) fn draft(payload: &[u8]) -> Draft<'_> {
    let body_crc = body_crc([b"", b"", b"", payload]);
    Draft {
        extension: b"",
        key: None,
        headers: b"",
        payload,
        timestamp_ns: None,
        body_crc,
        key_hash: 0,
    }
}

pub(super) fn payloads(partition: &Partition) -> Vec<(u64, Vec<u8>)> {
    let mut cursor = partition.seek(Start::Earliest).expect("seek");
    let mut found = Vec::new();
    loop {
        match partition.look(&mut cursor).expect("look") {
            Step::Record {
                offset,
                position,
                next,
                ..
            } => {
                let record = partition.record(offset, position).expect("whole");
                found.push((offset, record.payload().to_vec()));
                cursor = next;
            }
            Step::End | Step::NotMapped => return found,
            Step::Damaged => panic!("damage at {cursor:?}"),
        }
    }
}

#[test]
fn p1_what_was_appended_is_read_back_in_order_after_all_left_without_a_word() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0");
    let partition = open(Arc::new(Disk), &path);
    for number in 0..3_000_u32 {
        let payload = vec![number as u8; number as usize];
        assert_eq!(
            partition.append(&[draft(&payload)]).expect("append"),
            u64::from(number)
        );
    }
    assert!(
        partition.bases().expect("list").len() > 1,
        "no roll was tested"
    );
    drop(partition);
    let again = open(Arc::new(Disk), &path);
    let found = payloads(&again);
    assert_eq!(found.len(), 3_000);
    for (number, (offset, payload)) in found.iter().enumerate() {
        assert_eq!((*offset, payload.len()), (number as u64, number));
    }
    assert_eq!(again.append(&[draft(b"next")]).expect("append"), 3_000);
}

#[test]
fn p2_p4_synced_records_survive_power_loss_as_a_prefix_and_offsets_are_not_used_twice() {
    for seed in 1..200 {
        let twin = Twin::new();
        let path = Path::new("/p");
        let partition = open(Arc::new(twin.clone()), path);
        let mut synced = 0;
        for number in 0..40_u64 {
            let payload = vec![number as u8; 37 * (number as usize + 1)];
            let batch = vec![draft(&payload); 1 + number as usize % 3];
            partition.append(&batch).expect("append");
            if number == seed % 40 {
                synced = partition.next_offset();
                partition
                    .ensure_durable(synced, Duration::from_secs(5))
                    .expect("sync");
            }
        }
        let seen = partition.next_offset();
        let mut after = twin.power_loss(seed * 77 + 1).expect("image");
        for crash in 0..2 {
            unboot(&after, path);
            let again = open(Arc::new(after.clone()), path);
            let found = payloads(&again);
            assert!(
                found.len() as u64 >= synced,
                "seed {seed}: {} of {synced}",
                found.len()
            );
            for (place, (offset, _)) in found.iter().enumerate() {
                assert_eq!(*offset, place as u64, "seed {seed} crash {crash}: a hole");
            }
            assert!(
                again.next_offset() >= seen,
                "seed {seed}: offset used twice"
            );
            after = after.power_loss(seed * 31 + 7).expect("image");
        }
    }
}

/// Makes the reserve look as if it was written before the host was started anew.
pub(super) fn unboot(storage: &dyn Storage, folder: &Path) {
    use crate::format::reserve::{Reserve, SLOT, SLOTS};
    let path = folder.join(names::RESERVE);
    let Ok(file) = storage.open(&path, crate::storage::Access::ReadWrite, 0) else {
        return;
    };
    for at in SLOTS {
        let mut bytes = [0; SLOT];
        file.read_at(&mut bytes, at).expect("read");
        if let Some(mut reserve) = Reserve::decode(&bytes) {
            reserve.boot = [9; 16];
            file.write_at(&reserve.encode(), at).expect("write");
        }
    }
    file.sync().expect("sync");
}

#[test]
fn p3_a_damaged_record_is_an_error_with_file_and_place_and_the_rest_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0");
    let partition = open(Arc::new(Disk), &path);
    for number in 0..3_u8 {
        partition.append(&[draft(&[number; 100])]).expect("append");
    }
    let mut cursor = Cursor::at_offset(1);
    assert_eq!(
        partition.resolve(&mut cursor).expect("resolve"),
        Place::Mapped
    );
    let Step::Record { position, .. } = partition.step(&mut cursor) else {
        panic!("no record")
    };
    let segment = partition.segment(0).expect("open").expect("there");
    segment
        .map()
        .copy_in(position as usize + 60, b"!")
        .expect("in bounds");
    let error = partition.record(1, position).err().expect("damage");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains(".log at byte"), "{error}");
    segment
        .map()
        .copy_in(position as usize + 44, &[255; 4])
        .expect("in bounds");
    assert!(matches!(partition.step(&mut cursor), Step::Damaged));
    let (next, _) = partition.skip_damage(&cursor).expect("skip");
    assert_eq!(next.offset, 2);
}

#[test]
fn p5_a_full_disk_is_an_error_that_leaves_nothing_and_work_goes_on_with_room() {
    let twin = Twin::new();
    let partition = open(Arc::new(twin.clone()), Path::new("/p"));
    partition.append(&[draft(&[1; 1000])]).expect("append");
    twin.fail(Fault::Allocate, 1);
    let big = vec![2; 2 << 20];
    let error = partition.append(&[draft(&big)]).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert_eq!(
        partition
            .append(&[draft(b"small")])
            .expect("there is room for it"),
        1
    );
    twin.heal();
    assert_eq!(partition.append(&[draft(&big)]).expect("room again"), 2);
    assert_eq!(payloads(&partition).len(), 3);
}

#[test]
fn p5_after_a_failed_sync_error_means_not_in_the_log() {
    let twin = Twin::new();
    let partition = open_to_sync(Arc::new(twin.clone()), Path::new("/p"));
    partition.append(&[draft(b"kept")]).expect("append");
    partition.sync().expect("sync");
    let offset = partition.append(&[draft(b"lost")]).expect("append");
    twin.fail(Fault::Sync, 1);
    partition
        .ensure_durable(offset + 1, Duration::from_secs(1))
        .expect_err("the disk failed");
    let error = partition
        .append(&[draft(b"refused")])
        .expect_err("poisoned");
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    twin.heal();
    partition.sync().expect("the disk is back");
    assert_eq!(partition.append(&[draft(b"more")]).expect("append"), 2);
    assert_eq!(
        payloads(&partition),
        [(0, b"kept".to_vec()), (2, b"more".to_vec())]
    );
}

#[test]
fn p1_records_that_a_dead_holder_published_are_found_and_its_rest_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    let partition = open(Arc::new(Disk), &folder.path().join("0"));
    partition.append(&[draft(b"one")]).expect("append");
    let (next, position) = (partition.block.next_offset(), partition.block.position());
    partition.append(&[draft(b"two")]).expect("append");
    // As if the holder had died before it told the block, and while it wrote a third record.
    let segment = partition.segment(0).expect("open").expect("there");
    let behind = partition.block.position() as usize;
    segment
        .map()
        .copy_in(behind + 4, &[0xAA; 500])
        .expect("in bounds");
    let segment = partition.block.segment();
    partition.block.set_tail(segment, next, position, 0);
    let dead = Owner {
        slot: 5,
        generation: 5,
    };
    assert!(OwnerLock::try_acquire(partition.block.lock(), dead));
    assert_eq!(partition.append(&[draft(b"three")]).expect("append"), 2);
    let found: Vec<_> = payloads(&partition)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(found, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn p19_a_partition_that_was_never_written_takes_no_disk_and_one_used_once_little() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("0");
    let partition = open(Arc::new(Disk), &path);
    assert!(partition.env.storage.list(&path).expect("list").is_empty());
    partition.append(&[draft(b"once")]).expect("append");
    let bytes: u64 = std::fs::read_dir(&path)
        .expect("list")
        .map(|entry| entry.expect("entry").metadata().expect("metadata").len())
        .sum();
    assert!(bytes < 2 << 20, "{bytes} bytes");
}

#[test]
fn p18_p19_a_place_is_found_through_the_index_and_a_wrong_index_is_not_believed() {
    let folder = tempfile::TempDir::new().expect("folder");
    let partition = open(Arc::new(Disk), folder.path());
    let payload = [7; 1000];
    for number in 0..5000 {
        let mut one = draft(&payload);
        one.timestamp_ns = Some(1_000_000 + number * 10);
        partition.append(&[one]).expect("append");
    }
    let bases = partition.bases().expect("bases");
    assert!(bases.len() > 1, "several segments: {bases:?}");
    let look = || {
        for offset in (0..5000_u64).step_by(123).chain([4999]) {
            let at_time = Start::Time(1_000_000 + offset as i64 * 10 - 3);
            for start in [Start::Offset(offset), at_time] {
                let mut cursor = partition.seek(start).expect("seek");
                assert_eq!(
                    partition.resolve(&mut cursor).expect("resolve"),
                    Place::Mapped
                );
                let Step::Record { offset: found, .. } = partition.step(&mut cursor) else {
                    panic!("no record at {start:?}");
                };
                assert_eq!(found, offset, "{start:?}");
            }
        }
    };
    look();
    let index = folder.path().join(names::index(bases[0]));
    let good = std::fs::read(&index).expect("a sealed segment has an index on disk");
    // Another segment's places under a checksum that fits: believed nowhere.
    let salt = partition
        .segment(bases[0])
        .expect("open")
        .expect("is")
        .salt();
    let mut entries = crate::format::index::decode(&good, salt).expect("whole");
    entries.iter_mut().for_each(|entry| entry.position += 8);
    std::fs::write(&index, crate::format::index::encode(salt, &entries)).expect("write");
    look();
    std::fs::write(&index, b"nonsense").expect("write");
    look();
}

#[test]
fn p3_a_record_is_found_though_only_segments_around_its_own_are_mapped() {
    let folder = tempfile::TempDir::new().expect("folder");
    let partition = open(Arc::new(Disk), folder.path());
    let payload = [7; 1000];
    for _ in 0..9000 {
        partition.append(&[draft(&payload)]).expect("append");
    }
    let bases = partition.bases().expect("bases");
    assert!(bases.len() > 2, "{bases:?}");
    let mut cursor = Cursor::at_offset(bases[1] + 5);
    assert_eq!(
        partition.resolve(&mut cursor).expect("resolve"),
        Place::Mapped
    );
    partition.segment(bases[0]).expect("mapped");
    partition.forget(bases[1]);
    let record = partition.record(cursor.offset, cursor.position);
    assert_eq!(record.expect("found").offset, cursor.offset);
}
