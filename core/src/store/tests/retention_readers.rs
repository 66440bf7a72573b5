//! Whoever looks at what retention takes: readers, those who ask for an offset, other processes,
//! and those who delete the topic (P3, P15, P17).

use super::retention::{LARGE, Scene, settle, take};
use super::*;
use crate::{GroupOptions, MessageId, Reader, ReaderOptions, Start, TopicOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn taken() -> Scene {
    let scene = Scene::with(TopicOptions::default());
    scene.group("g");
    scene.send(0..12);
    scene
}

fn read(reader: &mut Reader, most: usize) -> Vec<u8> {
    let got = reader.receive(most, NOW).expect("read");
    got.iter().map(|one| one.payload()[0]).collect()
}

#[test]
fn p3_a_reader_is_told_once_of_what_was_taken_before_it_whether_it_had_it_mapped_or_not() {
    let scene = taken();
    let mut mapped = scene
        .topic
        .reader(&ReaderOptions::default())
        .expect("reader");
    assert_eq!(read(&mut mapped, 2), [0, 1]);
    let (other, beside) = scene.beside();
    let mut unmapped = beside.reader(&ReaderOptions::default()).expect("reader");
    let mut behind = scene.topic.reader(&ReaderOptions {
        start: Start::Offset(9),
        ..ReaderOptions::default()
    });
    let behind = behind.as_mut().expect("reader");
    settle(&scene.topic, "g", 12);
    // By another process: what is mapped here stays so.
    let store = other.inner().expect("open");
    store.retain_now().expect("retain");
    assert!(scene.topic.inner.partitions[0].mapped(0).is_some());
    for reader in [&mut mapped, &mut unmapped] {
        let error = reader.receive(9, NOW).expect_err("it is told");
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
        assert!(error.message().contains("up to offset 8"), "{error}");
        assert_eq!(read(reader, 9), [9, 10, 11]);
        let error = reader.seek(Start::Offset(4)).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
        reader.seek(Start::Earliest).expect("seek");
        assert_eq!(read(reader, 1), [9]);
        reader
            .seek(Start::Time(0))
            .expect("the first that is later");
        assert_eq!(read(reader, 1), [9]);
    }
    assert_eq!(read(behind, 9), [9, 10, 11]);
}

#[test]
fn p3_a_reader_at_the_end_of_what_was_taken_goes_on_and_is_told_nothing() {
    let scene = taken();
    let mut reader = scene
        .topic
        .reader(&ReaderOptions::default())
        .expect("reader");
    assert_eq!(read(&mut reader, 9).len(), 9);
    settle(&scene.topic, "g", 12);
    scene.retain();
    scene.store.inner().expect("open").look_around();
    assert_eq!(read(&mut reader, 9), [9, 10, 11]);
}

#[test]
fn p15_who_asks_for_what_was_taken_is_told_so() {
    let scene = taken();
    let group = scene.topic.group("g").expect("group");
    settle(&scene.topic, "g", 12);
    scene.retain();
    let id = MessageId {
        topic_id: scene.topic.id(),
        partition: 0,
        offset: 4,
    };
    let peeked = group.peek(0, 4).expect_err("gone");
    let waited = scene.topic.wait_durable(id, NOW).expect_err("gone");
    for error in [peeked, waited] {
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
    }
    let settled = group.settle(id).expect_err("gone");
    assert_eq!(settled.kind(), ErrorKind::StaleReceipt);
    let later = scene
        .topic
        .create_group("later", &GroupOptions::default())
        .expect("group");
    let error = later.settle(id).expect_err("before its start");
    assert_eq!(error.kind(), ErrorKind::StaleReceipt);
}

#[test]
fn p15_a_store_that_is_only_read_learns_of_it_and_calls_nothing_damaged() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.create_group("g", &Default::default()).expect("group");
    for number in 0..12_u8 {
        let payload = vec![number; LARGE];
        topic.send(&crate::Message::new(&payload)).expect("send");
    }
    topic.sync().expect("sync");
    let read_only = crate::StoreOptions {
        read_only: true,
        ..options()
    };
    let looks = Store::open(folder.path(), read_only).expect("open");
    let looked = looks.open_topic("t").expect("topic");
    let mut reader = looked.reader(&ReaderOptions::default()).expect("reader");
    settle(&topic, "g", 12);
    store.inner().expect("open").retain_now().expect("retain");
    let error = reader.receive(1, NOW).expect_err("it is told");
    assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
    assert_eq!(read(&mut reader, 9), [9, 10, 11]);
    assert_eq!(
        looked.stats().expect("stats").partitions[0].earliest_offset,
        9
    );
}

#[test]
fn p17_a_topic_that_is_deleted_meanwhile_and_made_anew_loses_nothing_to_the_old_ones_retention() {
    use crate::format::control::block::RETAIN_LOCK;
    let scene = taken();
    settle(&scene.topic, "g", 12);
    let (other, old) = scene.beside();
    // Another process is about to remove what it decided on.
    let lock = scene.topic.inner.block.head.word32(RETAIN_LOCK);
    let held = crate::shm::OwnerLock::try_hold(lock, other.inner().expect("open").env.me);
    let held = held.expect("free");
    std::thread::scope(|scope| {
        let deletes = scope.spawn(|| scene.store.delete_topic("t"));
        let head = &scene.topic.inner.block.head;
        let gone = crate::format::control::block::GONE;
        let changed = crate::format::control::block::CHANGED;
        until("everyone is told", || head.get(changed) == gone);
        let first = Path::new("/store/topics/t/0").join(crate::format::names::segment(0));
        assert!(
            scene.twin.exists(&first).expect("exists"),
            "it waits for him"
        );
        // And nobody else does.
        other
            .create_topic("meanwhile", &Default::default())
            .expect("create");
        assert!(!deletes.is_finished());
        drop(held);
        deletes.join().expect("thread").expect("deleted");
    });
    let again = scene.store.topic("t", &Default::default()).expect("topic");
    again.create_group("g", &Default::default()).expect("group");
    for number in 0..12_u8 {
        let payload = vec![number; LARGE];
        again.send(&crate::Message::new(&payload)).expect("send");
    }
    other.inner().expect("open").retain_now().expect("retain");
    drop(old);
    assert_eq!(take(&again, "g", 12).len(), 12);
}
