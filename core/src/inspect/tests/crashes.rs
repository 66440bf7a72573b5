//! What crashes leave is not damage, and neither is what others are doing.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::record::{KIND, RESERVED};
use crate::format::reserve::{Reserve, SLOT, SLOTS};
use crate::inspect::recover;
use crate::options::Retention;

/// Changes the slot that counts.
fn edit_reserve(store: &Path, edit: impl Fn(&mut Reserve)) {
    let path = partition(store).join("reserve");
    let bytes = fs::read(&path).expect("read");
    let slot = |at: u64| {
        bytes[at as usize..]
            .first_chunk::<SLOT>()
            .and_then(Reserve::decode)
    };
    let newest = SLOTS
        .into_iter()
        .max_by_key(|at| slot(*at).map(|s| s.generation));
    let at = newest.expect("two slots");
    let mut changed = slot(at).expect("whole");
    edit(&mut changed);
    put(&path, at, &changed.encode());
}

/// Where the records of the first segment end.
fn end(store: &Path) -> u64 {
    let bounds = super::super::records::Bounds::default();
    let opened = super::super::opened::open(&first_segment(store), 0, bounds).expect("open");
    let mut records = opened.records.expect("header");
    while records.next().expect("read").is_some() {}
    records.position()
}

#[test]
fn p1_the_files_of_killed_processes_are_intact() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let store = fill(&live);
    copy(&live, &dead);
    let report = quietly(&dead);
    assert_eq!(report.damage, []);
    assert_eq!(report.messages, 4);
    // Killed in the middle of an append: all of a record is there but its length.
    put(&first_segment(&dead), end(&dead) + 4, &[0xA5; 200]);
    // Killed while a segment, a window, a reserve were created, and between a roll's two steps.
    fs::write(partition(&dead).join("next"), vec![0; 1 << 20]).expect("write");
    fs::write(dead.join("topics/t/groups/g/.group.meta.new"), "half").expect("write");
    let mut empty = fs::read(first_segment(&dead)).expect("read");
    let topic = crate::format::u64_at(&empty, 24);
    let header = crate::format::segment::SegmentHeader {
        salt: 9,
        base: 4,
        topic,
        partition: 0,
        capacity: empty.len() as u64,
        life: 0,
    };
    let header = header.encode();
    empty[..header.len()].copy_from_slice(&header);
    empty[header.len()..].fill(0);
    fs::write(partition(&dead).join("00000000000000000004.log"), empty).expect("write");
    assert_eq!(quietly(&dead).damage, []);
    store.close().expect("close");
}

/// What a store with one message on disk, and more that are not for sure, leaves where all are
/// killed: its folder, and where the durable mark is.
fn behind_the_mark(folder: &Path, more: impl FnOnce(&Topic)) -> (PathBuf, u64) {
    let (live, dead) = (folder.join("live"), folder.join("dead"));
    let store = open(&live);
    let topic = topic(&store, "t");
    send(&topic, "key", b"on disk");
    topic.sync().expect("sync");
    let mark = end(&live);
    more(&topic);
    copy(&live, &dead);
    edit_reserve(&dead, |slot| {
        (slot.mark_segment, slot.mark_position, slot.mark_offset) = (0, mark, 1);
    });
    drop(topic);
    store.close().expect("close");
    (dead, mark)
}

#[test]
fn p2_what_a_power_loss_tore_behind_the_mark_is_not_damage_and_before_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let (dead, mark) = behind_the_mark(folder.path(), |topic| {
        send(topic, "key", b"maybe not");
    });
    let segment = first_segment(&dead);
    flip(&segment, mark + 50, 1);
    let damage = quietly(&dead).damage;
    assert_eq!(damage.len(), 1, "the host was not started anew: {damage:?}");
    assert_eq!(damage[0].position, mark);
    edit_reserve(&dead, |slot| slot.boot = [7; 16]);
    assert_eq!(quietly(&dead).damage, []);
    flip(&segment, RECORDS + 50, 1);
    let damage = quietly(&dead).damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].position, RECORDS);
}

#[test]
fn p2_p3_what_is_whole_behind_the_place_a_power_loss_tore_is_copied_if_all_is_wanted() {
    let folder = tempfile::tempdir().expect("folder");
    let (dead, mark) = behind_the_mark(folder.path(), |topic| {
        for number in 0..4_u8 {
            send(topic, "key", &[number; 600]);
        }
    });
    edit_reserve(&dead, |slot| slot.boot = [7; 16]);
    let segment = first_segment(&dead);
    let whole = fs::read(&segment).expect("read");
    let of = |all, to: &str| {
        let options = crate::inspect::RecoverOptions { all };
        let to = folder.path().join(to);
        let done = crate::inspect::recover_with(&dead, &to, options, &mut |_, _| Ok(()));
        let done = done.expect("recover");
        assert_eq!(quietly(&to).damage, []);
        (done.messages, done.losses.len(), done.notes.len())
    };
    assert_eq!(of(false, "whole"), (5, 0, 0));
    assert_eq!(of(true, "whole, all"), (5, 0, 0));
    // The first record behind the mark: other bytes, and a sector of zeros.
    for (name, bytes) in [("bytes", vec![7; 9]), ("zeros", vec![0; 512])] {
        put(
            &segment,
            mark + if name == "zeros" { 0 } else { 100 },
            &bytes,
        );
        assert_eq!(quietly(&dead).damage, []);
        assert_eq!(of(false, name).0, 1, "{name}");
        assert_eq!(of(true, &format!("{name}, all")), (4, 1, 1), "{name}");
        fs::write(&segment, &whole).expect("write");
    }
}

#[test]
fn p2_of_a_batch_that_a_power_loss_tore_nothing_counts() {
    let folder = tempfile::tempdir().expect("folder");
    let (dead, mark) = behind_the_mark(folder.path(), |topic| {
        let batch = [&b"one"[..], b"two", b"three"].map(Message::new);
        topic.send_many(&batch).expect("send");
    });
    edit_reserve(&dead, |slot| slot.boot = [7; 16]);
    assert_eq!(quietly(&dead).messages, 4, "all of the batch is there");
    let (segment, last) = (first_segment(&dead), end(&dead) - 64);
    let whole = fs::read(&segment).expect("read");
    // The last one's payload; its length; what the first one's kind was before it was published.
    for (place, byte) in [
        (last + 50, b"?"),
        (last, b"\0"),
        (mark + KIND as u64, &[RESERVED]),
    ] {
        put(&segment, place, byte);
        let report = quietly(&dead);
        assert_eq!(report.damage, [], "byte {place}");
        let readable = &report.partitions[0].readable;
        assert_eq!((readable.len(), &readable[0]), (1, &(0..1)), "byte {place}");
        let recovered = folder.path().join(format!("recovered-{place}"));
        let done = recover(&dead, &recovered, &mut |_, _| Ok(())).expect("recover");
        assert_eq!((done.messages, done.losses.len()), (1, 0), "byte {place}");
        fs::write(&segment, &whole).expect("write");
    }
}

#[test]
fn p3_a_store_in_use_verifies_clean() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path());
    // All are counted in the end.
    let kept = TopicOptions {
        retention: Some(Retention::Forever),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &kept).expect("topic");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let options = ConsumerOptions::default();
            let consumer = topic.consumer("g", &options).expect("consumer");
            for number in 0..40_000_u32 {
                let size = (number * 7919 % 500) as usize;
                send(
                    &topic,
                    &format!("k{}", number % 9),
                    &vec![number as u8; size],
                );
                for got in consumer.receive(9, Some(Duration::ZERO)).expect("receive") {
                    consumer.ack(&[got.receipt()]).expect("ack");
                }
            }
            consumer.close().expect("close");
            done.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !done.load(Ordering::Acquire) || looks == 0 {
            let report = quietly(folder.path());
            assert_eq!(report.damage, []);
            looks += 1;
        }
    });
    let report = quietly(folder.path());
    assert_eq!((report.damage, report.messages), (Vec::new(), 40_000));
    drop(topic);
    store.close().expect("close");
}

#[test]
fn p18_no_bytes_make_it_panic() {
    let folder = tempfile::tempdir().expect("folder");
    let store = folder.path().join("s");
    rolled(&store);
    small(&store);
    let plan = super::super::plan::Plan::of(&store).expect("plan");
    let mut state = 11_u64;
    let mut dice = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below.max(1)
    };
    let mut seen = 0;
    for _ in 0..12 {
        for listed in plan.all() {
            let whole = fs::read(&listed.path).expect("read");
            let mut bytes = whole.clone();
            for _ in 0..1 + dice(6) {
                let near = dice(bytes.len().min(9_000) as u64) as usize;
                if let Some(byte) = bytes.get_mut(near) {
                    *byte = dice(256) as u8;
                }
            }
            bytes.truncate((dice(3) + 1) as usize * bytes.len() / 3);
            fs::write(&listed.path, &bytes).expect("write");
            if let Ok(report) = verify(&store, &mut |_, _| Ok(())) {
                seen += report.damage.len();
            }
            let mut text = Vec::new();
            let _ = super::super::dump(&listed.path, &mut text);
            fs::write(&listed.path, whole).expect("write");
        }
    }
    assert!(seen > 50, "only {seen} were seen");
    assert_eq!(quietly(&store).damage, []);
}
