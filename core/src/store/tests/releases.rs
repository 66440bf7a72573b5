//! What housekeeping keeps of topics that nobody has open: few of them, and all that was promised.

use super::*;
use crate::format::names;
use crate::format::reserve::{Reserve, SLOT};
use crate::storage::Access;
use crate::store::inner::locked;
use crate::store::tended_topic::UNUSED_KEPT;
use crate::{Durability, Message, ReaderOptions, TopicOptions};

const TOPICS: usize = UNUSED_KEPT + 20;

fn name(number: usize) -> String {
    format!("t{number}")
}

fn interval() -> TopicOptions {
    TopicOptions {
        durability: Some(Durability::Interval(Duration::from_secs(3600))),
        ..TopicOptions::default()
    }
}

fn send_to_each(store: &Store, options: &TopicOptions) {
    for number in 0..TOPICS {
        let topic = store.topic(&name(number), options).expect("topic");
        topic.send(&Message::new(b"one")).expect("send");
    }
}

/// Partitions that are open in this process.
fn open_now(store: &Store) -> usize {
    let inner = store.inner().expect("open");
    let tended = locked(&inner.tended);
    tended
        .values()
        .filter(|part| part.partition().is_some())
        .count()
}

/// Whether the partition was closed cleanly, as its reserve says.
fn is_clean(twin: &Twin, number: usize) -> bool {
    let folder = names::topic_folder(Path::new("/store"), &name(number));
    let path = names::partition_folder(&folder, 0).join(names::RESERVE);
    let file = twin.open(&path, Access::Read, 0).expect("reserve");
    let slots = [0, 512].map(|at| {
        let mut bytes = [0; SLOT];
        file.read_at(&mut bytes, at).expect("read");
        Reserve::decode(&bytes)
    });
    let newest = slots
        .into_iter()
        .flatten()
        .max_by_key(|slot| slot.generation);
    newest.expect("a slot").clean
}

#[test]
fn p1_p19_few_of_those_that_nobody_uses_stay_open_and_all_are_closed_cleanly() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let store = open_by(&twin, &clock).0;
    let inner = store.inner().expect("open").clone();
    let held = store
        .topic("held", &TopicOptions::default())
        .expect("topic");
    send_to_each(&store, &TopicOptions::default());
    inner.look_around();
    // `held`, and one that was opened beside.
    assert!(open_now(&store) <= UNUSED_KEPT + 2, "{}", open_now(&store));
    // The one that was used last is found as it was, another one anew; both go on.
    for number in [TOPICS - 1, 0] {
        let topic = store.open_topic(&name(number)).expect("topic");
        topic.send(&Message::new(b"two")).expect("send");
    }
    held.send(&Message::new(b"held")).expect("send");
    drop(held);
    inner.look_around();
    store.close().expect("close");
    drop(inner);
    for number in 0..TOPICS {
        assert!(is_clean(&twin, number), "topic {number}");
    }
    let store = open_by(&twin, &clock).0;
    for number in 0..TOPICS {
        let topic = store.open_topic(&name(number)).expect("topic");
        let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
        let all = reader.receive(10, Some(Duration::ZERO)).expect("read");
        let expected = if [0, TOPICS - 1].contains(&number) {
            2
        } else {
            1
        };
        assert_eq!(all.len(), expected, "topic {number}");
    }
}

#[test]
fn p2_p19_what_is_to_be_on_disk_after_an_interval_is_so_before_it_is_released() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let store = open_by(&twin, &clock).0;
    let inner = store.inner().expect("open").clone();
    send_to_each(&store, &interval());
    inner.release_unused();
    assert!(open_now(&store) >= TOPICS, "nothing was synced yet");
    inner.look_around();
    assert!(open_now(&store) <= UNUSED_KEPT + 1);
    for number in 0..TOPICS {
        let topic = store.open_topic(&name(number)).expect("topic");
        assert_eq!(topic.durable_offsets(), [1], "topic {number}");
    }
}

#[test]
fn p2_p19_a_sync_of_the_store_is_one_of_what_was_released_as_well() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let store = open_by(&twin, &clock).0;
    let inner = store.inner().expect("open").clone();
    send_to_each(&store, &TopicOptions::default());
    inner.release_unused();
    assert!(open_now(&store) < TOPICS);
    store.sync().expect("sync");
    for number in 0..TOPICS {
        let topic = store.open_topic(&name(number)).expect("topic");
        assert_eq!(topic.durable_offsets(), [1], "topic {number}");
    }
}

#[test]
fn p8_p19_producers_and_dedup_ids_that_were_released_are_known_in_this_life_and_the_next() {
    let (twin, clock) = (Twin::new(), Arc::new(ManualClock::new(0, 1_000_000)));
    let (store, topic) = open_by(&twin, &clock);
    let inner = store.inner().expect("open").clone();
    let options = TopicOptions {
        dedup_window: Some(crate::DedupWindow::Time(Duration::from_secs(3600))),
        ..TopicOptions::default()
    };
    topic.configure(&options).expect("configure");
    let message = Message::new(b"paid").dedup_id(b"order-7");
    let id = topic.send(&message).expect("send");
    let till = topic.producer("till").expect("producer");
    let first = till.send(&Message::new(b"a"), Some(1)).expect("send");
    drop((till, topic));
    // Rings and tables go at the first look, partitions at the next one.
    inner.look_around();
    send_to_each(&store, &TopicOptions::default());
    inner.look_around();
    assert!(open_now(&store) <= UNUSED_KEPT + 1);
    let again = |store: &Store| {
        let topic = store.open_topic("t").expect("topic");
        assert_eq!(topic.send(&message).expect("send"), id);
        let till = topic.producer("till").expect("producer");
        assert_eq!(till.last_sequence().expect("sequence"), 1);
        let repeated = till.send(&Message::new(b"a"), Some(1)).expect("send");
        assert_eq!(repeated, first);
    };
    again(&store);
    inner.look_around();
    store.close().expect("close");
    again(&open_by(&twin, &clock).0);
}
