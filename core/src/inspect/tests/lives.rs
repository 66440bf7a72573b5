//! Letters of a group that was deleted, beside those of the next one of its name.

use super::*;
use crate::inspect::recover;

/// How many messages the group gives up on, of four; the rest is settled.
fn live(store: &Store, dies: usize) {
    let topic = topic(store, "t");
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    while let Some(one) = (consumer.receive(1, Some(Duration::ZERO)).expect("receive")).first() {
        let receipts = [one.receipt()];
        match one.offset() < dies as u64 {
            true => consumer.dead_letter(&receipts, "no use").expect("bury"),
            false => consumer.ack(&receipts).expect("ack"),
        }
    }
}

fn letters(path: &Path) -> Vec<u64> {
    let store = open(path);
    let topic = store.open_topic("t").expect("topic");
    let letters = topic.group("g").expect("group").dead_letters(9);
    let letters = letters.expect("letters");
    let offsets = letters.iter().map(|one| one.source_offset).collect();
    drop((letters, topic));
    store.close().expect("close");
    offsets
}

#[test]
fn p12_letters_of_a_deleted_group_are_no_damage_and_settle_nothing_in_a_copy() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store");
    let store = open(&path);
    let orders = topic(&store, "t");
    for number in 0..4_u8 {
        send(&orders, "key", &[number; 20]);
    }
    live(&store, 3);
    let group = orders.group("g").expect("group");
    group.delete().expect("delete");
    drop(group);
    orders
        .create_group("g", &Default::default())
        .expect("group");
    drop(orders);
    store.close().expect("close");
    assert_eq!(
        quietly(&path).damage,
        [],
        "its messages are open, as they should be"
    );
    let store = open(&path);
    live(&store, 1);
    store.close().expect("close");
    assert_eq!(letters(&path), [0]);
    // Nothing but the letters says which group it was.
    fs::remove_dir_all(path.join("topics/t/groups/g")).expect("remove");
    fs::create_dir(path.join("topics/t/groups/g")).expect("folder");
    fs::write(path.join("topics/t/groups/g/group.meta"), b"damaged").expect("damage");
    let copy = folder.path().join("copy");
    let done = recover(&path, &copy, &mut |_, _| Ok(())).expect("recover");
    assert!(!done.losses.is_empty());
    assert_eq!(
        letters(&copy),
        [0],
        "in sight of nobody, or of another group"
    );
    let store = open(&copy);
    let topic = store.open_topic("t").expect("topic");
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let got = consumer.expect("consumer").receive(1, Some(Duration::ZERO));
    assert_eq!(
        got.expect("receive")[0].offset(),
        1,
        "what only the one before gave up on"
    );
}
