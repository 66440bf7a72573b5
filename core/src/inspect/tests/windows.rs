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
