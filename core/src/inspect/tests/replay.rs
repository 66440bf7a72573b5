//! Groups that were sought, and their snapshots: checked, decoded, copied out.

use super::*;
use crate::format::window::header;
use crate::format::{names, snapshot};
use crate::inspect::{dump, recover};
use crate::storage::{Disk, Storage};
use crate::{Group, GroupOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn in_group(store: &Path, file: &str) -> PathBuf {
    store.join("topics/t/groups/g").join(file)
}

/// Ten messages, of which 0 to 3 are settled, with a snapshot of that; then all settled.
fn scene(path: &Path) -> (Store, Topic, Group) {
    let store = open(path);
    let topic = topic(&store, "t");
    let group = topic.create_group("g", &GroupOptions::default());
    let group = group.expect("group");
    for _ in 0..10 {
        topic.send(&Message::new(b"x")).expect("send");
    }
    take(&topic, 4);
    group.snapshot("four").expect("snapshot");
    take(&topic, 6);
    (store, topic, group)
}

/// Takes and settles so many; their offsets.
fn take(topic: &Topic, most: usize) -> Vec<u64> {
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    let batch = consumer.receive(most, NOW).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.ack(&receipts).expect("ack");
    batch.iter().map(|one| one.offset()).collect()
}

fn left(path: &Path) -> Vec<u64> {
    let store = open(path);
    let topic = store.open_topic("t").expect("topic");
    take(&topic, 99)
}

#[test]
fn p16_a_sought_group_is_intact_at_work_and_closed_and_its_entries_are_those_of_its_epoch() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let (store, topic, group) = scene(&path);
    let look = || {
        let report = quietly(&path);
        assert!(report.is_intact(), "{:?}", report.damage);
        assert!(report.unknown.is_empty(), "{:?}", report.unknown);
    };
    look();
    group.seek(Start::Offset(2), None).expect("seek");
    look();
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    let out = consumer.receive(3, NOW).expect("receive");
    assert_eq!(out.len(), 3);
    look();
    let mut text = Vec::new();
    dump(&in_group(&path, "0.window"), &mut text).expect("dump");
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains("epoch 1") && text.contains("offset 2: leased"),
        "{text}"
    );
    drop((out, consumer, group, topic));
    store.close().expect("close");
    look();
    assert_eq!(left(&path), (2..10).collect::<Vec<u64>>());
}

#[test]
fn p3_p16_a_damaged_snapshot_is_told_of_by_its_file_and_a_whole_one_is_decoded() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let (store, topic, group) = scene(&path);
    drop((group, topic));
    store.close().expect("close");
    let file = in_group(&path, &names::snapshot("four"));
    let mut text = Vec::new();
    dump(&file, &mut text).expect("dump");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("all below offset 4 settled"), "{text}");
    let good = fs::read(&file).expect("read");
    let of_another = {
        let mut other = snapshot::Snapshot::decode(&good).expect("whole");
        other.group += 1;
        other.encode()
    };
    let more = {
        let mut other = snapshot::Snapshot::decode(&good).expect("whole");
        other.parts.push(snapshot::Part::default());
        other.encode()
    };
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        fs::write(&file, &bad).expect("write");
        let damage = quietly(&path).damage;
        assert_eq!((damage.len(), &damage[0].file), (1, &file), "byte {place}");
        let mut text = Vec::new();
        match dump(&file, &mut text) {
            Ok(()) => assert!(String::from_utf8_lossy(&text).contains("DAMAGED")),
            Err(error) => panic!("its name says what it is: {error}"),
        }
    }
    for (bad, what) in [(of_another, "another"), (more, "2 partitions")] {
        fs::write(&file, &bad).expect("write");
        let damage = quietly(&path).damage;
        assert!(
            damage.len() == 1 && damage[0].what.contains(what),
            "{damage:?}"
        );
    }
}

#[test]
fn p16_a_copy_has_the_snapshots_that_are_whole_and_goes_on_where_the_group_was_sought() {
    let folder = tempfile::tempdir().expect("folder");
    let from = folder.path().join("store");
    let (store, topic, group) = scene(&from);
    group.snapshot("bad").expect("snapshot");
    group.seek(Start::Offset(6), None).expect("seek");
    assert_eq!(take(&topic, 2), [6, 7]);
    drop((group, topic));
    store.close().expect("close");
    put(&in_group(&from, &names::snapshot("bad")), 70, &[9]);
    let window = in_group(&from, &names::window(0));
    let whole = fs::read(&window).expect("read");
    // As it is; without the window; with one that does not know of the seek yet.
    for case in 0..3 {
        fs::write(&window, &whole).expect("write");
        match case {
            0 => {}
            1 => fs::remove_file(&window).expect("remove"),
            _ => {
                put(&window, header::EPOCH as u64 * 8, &[0]);
                put(&window, header::CLEAN as u64 * 8, &[0]);
            }
        }
        let to = folder.path().join(format!("to{case}"));
        let recovered = recover(&from, &to, &mut |_, _| Ok(())).expect("recover");
        let losses: Vec<_> = recovered.losses.iter().map(|one| &one.what).collect();
        assert!(
            losses.iter().any(|what| what.contains("\"bad\" is lost")),
            "{losses:?}"
        );
        assert_eq!(losses.len(), if case == 1 { 2 } else { 1 }, "{losses:?}");
        let store = open(&to);
        let topic = store.open_topic("t").expect("topic");
        let found = take(&topic, 99);
        let expected: &[u64] = if case == 0 { &[8, 9] } else { &[6, 7, 8, 9] };
        assert_eq!(found, expected, "case {case}");
        let group = topic.group("g").expect("group");
        let kept: Vec<_> = group.snapshots().expect("list");
        assert_eq!(
            kept.iter().map(|one| &*one.name).collect::<Vec<_>>(),
            ["four"]
        );
        group.seek("four", None).expect("seek");
        assert_eq!(
            take(&topic, 99),
            (4..10).collect::<Vec<u64>>(),
            "case {case}"
        );
        drop((group, topic));
        store.close().expect("close");
        assert!(quietly(&to).is_intact());
        // And a copy of the copy.
        let again = folder.path().join(format!("again{case}"));
        let recovered = recover(&to, &again, &mut |_, _| Ok(())).expect("recover");
        assert_eq!(recovered.losses, []);
        assert!(left(&again).is_empty());
    }
}

#[test]
fn p12_p16_a_letter_of_before_a_seek_is_no_message_in_both_places() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let (store, topic, group) = scene(&path);
    group.seek(Start::Offset(8), None).expect("seek");
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    let batch = consumer.receive(2, NOW).expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.dead_letter(&receipts, "no").expect("bury");
    group.seek(Start::Offset(8), None).expect("seek");
    drop((batch, consumer, group, topic));
    store.close().expect("close");
    let report = quietly(&path);
    assert!(report.is_intact(), "{:?}", report.damage);
    // Its window is lost: what died before comes again all the same.
    Disk.unlink(&in_group(&path, &names::window(0)))
        .expect("unlink");
    let to = folder.path().join("to");
    recover(&path, &to, &mut |_, _| Ok(())).expect("recover");
    assert_eq!(left(&to), [8, 9]);
}
