//! Windows that were in use when everything stopped, copied out.

use super::*;
use crate::format::window::{CAPACITY_MIN, ENTRY, Parts, header};
use crate::format::{names, u64_at};
use crate::inspect::recover;
use crate::options::{GroupConfig, GroupOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const FIRST: u64 = 100;
/// In the place of offset 0 until the ring was doubled.
const LAST: u64 = CAPACITY_MIN;
const SENT: u64 = CAPACITY_MIN * 4;

fn window(store: &Path) -> PathBuf {
    store.join("topics/t/groups/g").join(names::window(0))
}

fn set(store: &Path, word: usize, value: u64) {
    put(&window(store), word as u64 * 8, &value.to_le_bytes());
}

/// A store in use, in which a group's ring was doubled; what is out is `FIRST..LAST`, and all else
/// up to `LAST` is settled; what follows was never looked at.
fn in_use(path: &Path) -> (Store, Topic) {
    let store = open(path);
    let topic = topic(&store, "t");
    for _ in 0..SENT {
        topic.send(&Message::new(b"x")).expect("send");
    }
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    let batch = consumer.receive(LAST as usize + 1, NOW).expect("receive");
    assert_eq!(batch.len() as u64, LAST + 1);
    let of = |one: &&crate::Delivery| !(FIRST..LAST).contains(&one.offset());
    let settled: Vec<_> = batch.iter().filter(of).map(|one| one.receipt()).collect();
    consumer.ack(&settled).expect("ack");
    (store, topic)
}

/// What the group gets in a store that was copied out, and how often it had been handed out.
fn left(path: &Path) -> Vec<(u64, u32)> {
    let store = open(path);
    let topic = store.open_topic("t").expect("topic");
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let batch = consumer.and_then(|one| one.receive(9999, NOW));
    let batch = batch.expect("receive");
    batch
        .iter()
        .map(|one| (one.offset(), one.attempt()))
        .collect()
}

#[test]
fn p6_p12_a_ring_that_was_doubled_and_not_yet_on_disk_keeps_what_was_settled() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let running = in_use(&live);
    copy(&live, &dead);
    // The power was lost when the doubled ring's upper half was not on disk.
    let bytes = fs::read(window(&dead)).expect("read");
    assert_eq!(u64_at(&bytes, header::USABLE * 8), CAPACITY_MIN * 2);
    let ring = Parts::of(GroupConfig::from_options(&GroupOptions::default()).window).entries;
    let upper = ring + CAPACITY_MIN as usize * ENTRY;
    put(&window(&dead), ring as u64, &bytes[upper..upper + ENTRY]);
    put(&window(&dead), upper as u64, &[0; ENTRY]);
    set(&dead, header::USABLE, CAPACITY_MIN);
    set(&dead, header::BOOT, 7);
    let to = folder.path().join("to");
    let recovered = recover(&dead, &to, &mut |_, _| Ok(())).expect("recover");
    assert_eq!(recovered.losses, []);
    let again = (FIRST..LAST).map(|offset| (offset, 2));
    let new = (LAST + 1..SENT).map(|offset| (offset, 1));
    assert!(left(&to).into_iter().eq(again.chain(new)));
    drop(running);
}

#[test]
fn p6_a_jump_that_was_cut_short_is_no_damage() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let running = in_use(&live);
    copy(&live, &dead);
    set(&dead, header::NEXT, SENT);
    let to = folder.path().join("to");
    let recovered = recover(&dead, &to, &mut |_, _| Ok(())).expect("recover");
    assert_eq!(recovered.losses, []);
    assert!(left(&to) == left(&dead), "as the store itself goes on");
    drop(running);
}

/// Position of the entry of an offset in a ring that was doubled once.
fn entry_at(offset: u64) -> u64 {
    let ring = Parts::of(GroupConfig::from_options(&GroupOptions::default()).window).entries;
    ring as u64 + offset % (CAPACITY_MIN * 2) * ENTRY as u64
}

/// Whether the window is damaged, and only it; what is said of it.
fn told(store: &Path) -> String {
    let damage = quietly(store).damage;
    assert!(
        damage.iter().all(|one| one.file == window(store)),
        "{damage:?}"
    );
    let all: Vec<String> = damage.into_iter().map(|one| one.what).collect();
    all.join("; ")
}

#[test]
fn p3_p6_of_a_window_that_was_in_use_when_all_died_each_entry_and_the_counters_are_checked() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let running = in_use(&live);
    assert_eq!(told(&live), "", "in use");
    copy(&live, &dead);
    drop(running);
    let path = window(&dead);
    let intact = fs::read(&path).expect("read");
    assert_eq!(told(&dead), "");
    let (header, entry) = (|word| word as u64 * 8, entry_at(FIRST));
    let state = |state: u64| FIRST << 32 | state;
    let floor = (header(header::FLOOR), FIRST - 1);
    let none = (entry + 8, FIRST << 32);
    // What is written where, what is said, and whether also after a power loss.
    let cases = [
        (vec![(header(header::FLOOR), FIRST + 9)], "are ready", false),
        (vec![(header(header::NEXT), LAST - 9)], "are ready", false),
        (vec![(entry, state(6))], "are ready", false),
        (vec![(entry, state(0))], "nobody looked at it", false),
        (vec![(entry, state(3))], "are ready", false),
        (vec![(entry, state(5 | 1 << 16))], "are ready", false),
        (vec![(entry, 1 << 40 | 1)], "are ready", false),
        (
            vec![(entry_at(FIRST - 1), 1 << 40), floor],
            "no entry speaks of",
            false,
        ),
        (vec![(entry, state(3)), none], "never handed out", false),
        (
            vec![(entry, state(1 | 1 << 16)), none],
            "never handed out",
            false,
        ),
        (
            vec![(entry, state(5)), (entry + 16, 1 << 60)],
            "dying without a failure",
            true,
        ),
        (vec![(entry, state(8))], "no redrive lane", true),
        (
            vec![(entry, state(9))],
            "holds its key without a failure",
            true,
        ),
        (vec![(entry, state(10))], "are ready", false),
        (vec![(entry, state(11))], "has state 11", true),
        (vec![(entry, state(3 | 10 << 8))], "has priority 10", true),
        (
            vec![(entry + 8, FIRST << 33 | 2)],
            "speaks of offset 200",
            true,
        ),
        (vec![(entry + 24, 5)], "has the key hash", true),
        (vec![(entry + 40, RECORDS)], "where it is not", true),
    ];
    for (changes, what, alone) in cases {
        for (at, value) in &changes {
            put(&path, *at, &value.to_le_bytes());
        }
        let found = told(&dead);
        assert!(found.contains(what), "{changes:?}: {found:?}, not {what:?}");
        set(&dead, header::BOOT, 7);
        let found = told(&dead);
        assert_eq!(
            found.contains(what),
            alone,
            "power loss, {changes:?}: {found:?}"
        );
        fs::write(&path, &intact).expect("write");
    }
    // A power loss may leave an entry that was being filled for a later round.
    put(
        &path,
        entry + 8,
        &((FIRST + 2 * CAPACITY_MIN) << 32).to_le_bytes(),
    );
    assert!(told(&dead).contains("when handed out"));
    set(&dead, header::BOOT, 7);
    assert_eq!(told(&dead), "");
}

#[test]
fn p6_a_copy_believes_no_window_whose_counters_tell_of_more_than_its_entries() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let running = in_use(&live);
    copy(&live, &dead);
    drop(running);
    set(&dead, header::FLOOR, LAST);
    let to = folder.path().join("to");
    let recovered = recover(&dead, &to, &mut |_, _| Ok(())).expect("recover");
    assert!(
        recovered.losses.iter().any(|one| one.file == window(&dead)),
        "{recovered:?}"
    );
    let found: Vec<u64> = left(&to).into_iter().map(|(offset, _)| offset).collect();
    assert!((FIRST..LAST).all(|offset| found.contains(&offset)));
    assert_eq!(told(&to), "");
}
