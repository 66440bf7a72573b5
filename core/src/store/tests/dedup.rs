//! Dedup ids: a repeated one returns the first send's id and appends nothing (P8).

use super::*;
use crate::format::names;
use crate::options::{DedupWindow, ReaderOptions};
use crate::storage::{Fault, Twin};
use crate::store::{ConsumerOptions, Message, MessageId};
use crate::{Durability, TopicOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000))
}

/// A store on a twin, without a thread of its own.
pub(super) fn store_on(twin: &Twin, clock: &Arc<ManualClock>) -> Store {
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: clock.clone(),
        housekeeping: false,
    };
    Store::open_in(&world, Path::new("/store"), &options()).expect("open")
}

pub(super) fn with_window(window: DedupWindow) -> TopicOptions {
    TopicOptions {
        partitions: Some(2),
        dedup_window: Some(window),
        ..TopicOptions::default()
    }
}

/// Sends the id as its own payload.
pub(super) fn send(topic: &Topic, id: &str) -> MessageId {
    try_send(topic, id).expect("send")
}

pub(super) fn try_send(topic: &Topic, id: &str) -> Result<MessageId> {
    topic.send(&Message::new(id.as_bytes()).dedup_id(id.as_bytes()))
}

/// All payloads of a topic, sorted.
pub(super) fn all(topic: &Topic) -> Vec<String> {
    let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
    let mut found = Vec::new();
    loop {
        let some = reader.receive(1000, NOW).expect("read");
        if some.is_empty() {
            break;
        }
        let text = |one: &crate::ReadMessage| String::from_utf8_lossy(one.payload()).into_owned();
        found.extend(some.iter().map(text));
    }
    found.sort();
    found
}

#[test]
fn p8_a_repeated_id_returns_the_first_id_and_appends_nothing() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let plain = topic.send(&Message::new(b"plain")).expect("send");
    let first = send(&topic, "a");
    assert_ne!(plain, first);
    assert_eq!(send(&topic, "a"), first);
    let other = Message::new(b"something else")
        .key(b"of another partition")
        .dedup_id(b"a");
    assert_eq!(topic.send(&other).expect("send"), first);
    let second = store_on(&twin, &clock);
    let theirs = second.open_topic("t").expect("topic");
    assert_eq!(send(&theirs, "a"), first, "another process");
    let b = send(&theirs, "b");
    assert_eq!(send(&topic, "b"), b);
    assert_eq!(all(&topic), ["a", "b", "plain"]);
    assert_eq!(topic.try_send(&other).expect("try"), None, "it may wait");
}

#[test]
fn p8_of_a_batch_the_repeated_ones_return_the_first_ids_and_the_others_are_appended() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let first = send(&topic, "a");
    let of = |id: &'static str| Message::new(id.as_bytes()).dedup_id(id.as_bytes());
    let plain = Message::new(b"plain");
    let keyed = of("c").key(b"k");
    let batch = [of("a"), of("b"), plain, of("b"), keyed, plain];
    let ids = topic.send_many(&batch).expect("send");
    assert_eq!(ids[0], first);
    assert_eq!(ids[1], ids[3], "the same one twice in one batch");
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 5);
    assert_eq!(all(&topic), ["a", "b", "c", "plain", "plain"]);
    let again = topic.send_many(&batch).expect("send");
    let with_ids = [0, 1, 3, 4];
    assert!(with_ids.iter().all(|at| again[*at] == ids[*at]));
    assert_eq!(all(&topic).len(), 7, "what has no id is sent again");
}

#[test]
fn p8_ids_are_known_across_restarts_and_deaths() {
    let (twin, clock) = (Twin::new(), clock());
    let mut ids = std::collections::BTreeMap::<String, MessageId>::new();
    for life in 0..4 {
        let store = store_on(&twin, &clock);
        let topic = store.topic("t", &with_window(HOUR)).expect("topic");
        for (id, first) in &ids {
            assert_eq!(send(&topic, id), *first, "life {life}, {id}");
        }
        for number in 0..900 {
            let id = format!("{life}.{number}");
            ids.insert(id.clone(), send(&topic, &id));
        }
        assert_eq!(all(&topic).len(), ids.len());
        if life % 2 == 0 {
            drop(topic);
            store.close().expect("close");
        } else {
            store.die();
        }
    }
}

#[test]
fn p8_an_id_is_good_again_when_its_window_is_over() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let first = send(&topic, "a");
    clock.advance_ms(3_599_999);
    assert_eq!(send(&topic, "a"), first);
    clock.advance_ms(1);
    let second = send(&topic, "a");
    assert_ne!(second, first);
    assert_eq!(send(&topic, "a"), second);
    // A wall clock that is set back makes it known for longer, and twice.
    clock.set_wall_ns(1_700_000_000_000_000_000);
    let third = send(&topic, "a");
    assert!([first, second].contains(&third));
    assert_eq!(all(&topic).len(), 2);
    // A longer window counts from the first send on.
    let changes = TopicOptions {
        dedup_window: Some(DedupWindow::Time(Duration::from_secs(1))),
        ..TopicOptions::default()
    };
    topic.configure(&changes).expect("configure");
    clock.advance_ms(3_600_000 * 3);
    assert!(![first, second].contains(&send(&topic, "a")));
}

#[test]
fn a_window_is_stored_as_it_was_given() {
    let (twin, clock) = (Twin::new(), clock());
    for window in [Duration::from_micros(1_500), Duration::from_secs(1 << 20)] {
        let store = store_on(&twin, &clock);
        let options = with_window(DedupWindow::Time(window));
        let name = format!("t{}", window.as_micros());
        drop(store.topic(&name, &options).expect("made"));
        store.close().expect("close");
        let store = store_on(&twin, &clock);
        let topic = store.topic(&name, &options).expect("the same");
        assert_eq!(topic.config().dedup_window, DedupWindow::Time(window));
        drop(topic);
        store.close().expect("close");
    }
    let error = with_window(DedupWindow::Time(Duration::ZERO)).check();
    assert!(
        error
            .expect_err("too short")
            .message()
            .contains("dedup_window")
    );
}

#[test]
fn p8_until_settled_an_id_is_known_until_every_group_has_settled_its_message() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let options = with_window(DedupWindow::UntilSettled);
    let topic = store.topic("t", &options).expect("topic");
    let first = send(&topic, "a");
    clock.advance_ms(1 << 40);
    assert_eq!(send(&topic, "a"), first, "no group yet");
    let settle = |topic: &Topic, group: &str| {
        let consumer = topic.consumer(group, &ConsumerOptions::default());
        let consumer = consumer.expect("consumer");
        let got = consumer.receive(9, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        consumer.ack(&receipts).expect("ack");
    };
    topic.create_group("g", &Default::default()).expect("group");
    topic.create_group("h", &Default::default()).expect("group");
    settle(&topic, "g");
    assert_eq!(send(&topic, "a"), first, "one has not");
    drop(topic);
    store.close().expect("close");
    // In a life in which nobody has opened that one.
    let store = store_on(&twin, &clock);
    let topic = store.open_topic("t").expect("topic");
    assert_eq!(send(&topic, "a"), first, "one that nobody opened");
    settle(&topic, "h");
    let second = send(&topic, "a");
    assert_ne!(second, first);
    assert_eq!(send(&topic, "a"), second);
}

#[test]
fn p8_ids_that_cannot_be_are_refused_with_what_is_expected() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let long = vec![b'x'; 10_000];
    for (id, told) in [
        (&b""[..], "empty"),
        (&long, "10000 bytes"),
        (&long[..256], "256"),
    ] {
        let error = topic
            .send(&Message::new(b"").dedup_id(id))
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(told), "{error}");
        assert!(error.message().contains("1 to 255"), "{error}");
    }
    topic
        .send(&Message::new(b"").dedup_id(&long[..255]))
        .expect("the longest");
    let none = store
        .topic("none", &TopicOptions::default())
        .expect("topic");
    let error = try_send(&none, "a").expect_err("no window");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("dedup_window"), "{error}");
    assert!(all(&none).is_empty());
    let folder = Path::new("/store/topics/none").join(names::DEDUP);
    let storage: &dyn Storage = &twin;
    assert!(
        !storage.exists(&folder).expect("exists"),
        "it costs nothing"
    );
}

#[test]
fn p8_many_ids_fill_several_tables_and_spent_ones_go() {
    let (twin, clock) = (Twin::new(), clock());
    twin.forget_versions();
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let many = |from: u32| -> Vec<MessageId> {
        let ids: Vec<String> = (from..from + 6000).map(|id| id.to_string()).collect();
        let messages: Vec<_> = ids
            .iter()
            .map(|id| Message::new(b"").dedup_id(id.as_bytes()))
            .collect();
        let chunks = messages.chunks(50);
        chunks
            .flat_map(|some| topic.send_many(some).expect("send"))
            .collect()
    };
    let first = many(0);
    assert_eq!(many(0), first);
    let storage: &dyn Storage = &twin;
    let tables = || {
        let names = storage
            .list(Path::new("/store/topics/t/dedup"))
            .expect("list");
        names
            .iter()
            .filter_map(|name| names::parse_table(name))
            .count()
    };
    assert!(tables() > 1);
    let looked = || store.inner().expect("open").look_around();
    looked();
    assert_eq!(many(0), first);
    clock.advance_ms(3_600_000);
    let second = many(3000);
    assert!(second.iter().all(|id| !first.contains(id)));
    let most = tables();
    (0..9).for_each(|_| looked());
    assert!(tables() + 1 < most, "what is spent is removed");
    assert_eq!(many(3000), second);
}

#[test]
fn p5_p8_what_a_failed_sync_took_back_is_sent_again_under_its_id() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let options = TopicOptions {
        partitions: Some(1),
        durability: Some(Durability::Sync),
        ..with_window(HOUR)
    };
    let topic = store.topic("t", &options).expect("topic");
    let kept = send(&topic, "kept");
    twin.fail(Fault::Sync, 1);
    let error = try_send(&topic, "a").expect_err("the disk fails");
    assert!(error.message().contains("taken back"), "{error}");
    twin.heal();
    let _ = store.sync();
    let sent = send(&topic, "a");
    assert_eq!(send(&topic, "a"), sent);
    assert_eq!(all(&topic), ["a", "kept"]);
    // What a life with a failed sync knew is held against the log by the next one.
    drop(topic);
    store.close().expect("close");
    let store = store_on(&twin, &clock);
    let topic = store.open_topic("t").expect("topic");
    assert_eq!((send(&topic, "a"), send(&topic, "kept")), (sent, kept));
    assert_eq!(all(&topic), ["a", "kept"]);
}

#[test]
fn p8_p18_damaged_or_missing_tables_are_made_anew_from_the_log() {
    for how in 0..5 {
        let (twin, clock) = (Twin::new(), clock());
        let store = store_on(&twin, &clock);
        let topic = store.topic("t", &with_window(HOUR)).expect("topic");
        let ids: Vec<_> = (0..900).map(|id| send(&topic, &id.to_string())).collect();
        let in_use = how == 4;
        let folder = Path::new("/store/topics/t/dedup");
        if !in_use {
            drop(topic);
            store.close().expect("close");
        }
        let storage: &dyn Storage = &twin;
        for name in storage.list(folder).expect("list") {
            let path = folder.join(&name);
            let table = names::parse_table(&name).is_some();
            let file = storage
                .open(&path, crate::storage::Access::ReadWrite, 0)
                .expect("open");
            match how {
                0 if table => storage.unlink(&path).expect("unlink"),
                1 if !table => storage.unlink(&path).expect("unlink"),
                2 if table => file.write_at(&[0x5A; 64], 16).expect("write"),
                3 | 4 if table => {
                    let all = usize::try_from(file.len().expect("len")).expect("len");
                    file.write_at(&vec![0x5A; all - 512], 512).expect("write");
                }
                _ => {}
            }
        }
        let store = match in_use {
            true => store,
            false => store_on(&twin, &clock),
        };
        let topic = store.open_topic("t").expect("topic");
        for (number, id) in ids.iter().enumerate() {
            let again = send(&topic, &number.to_string());
            assert_eq!(again, *id, "damage {how}, {number}");
        }
        assert_eq!(all(&topic).len(), ids.len(), "damage {how}");
    }
}

#[test]
fn p18_no_word_of_control_keeps_a_send_with_an_id_from_ending() {
    use crate::format::control::sent as at;
    let (twin, clock) = (Twin::new(), clock());
    twin.forget_versions();
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    send(&topic, "a");
    let head = topic.inner.block.head.clone();
    for word in [at::READY, at::INTENT, at::INTENT_OFFSET, at::TABLE] {
        for bit in (0..64).step_by(7) {
            let before = head.get(word);
            head.set(word, 1_u64 << bit);
            let _ = try_send(&topic, "b");
            head.set(word, before);
            let _ = try_send(&topic, "b");
        }
        head.set(word, u64::MAX);
        let _ = try_send(&topic, "c");
        head.set(at::READY, 0);
    }
}

#[test]
fn a_deleted_topic_takes_its_ids_and_producers_with_it() {
    let (twin, clock) = (Twin::new(), clock());
    let store = store_on(&twin, &clock);
    let topic = store.topic("t", &with_window(HOUR)).expect("topic");
    let first = send(&topic, "a");
    let producer = topic.producer("p").expect("producer");
    producer.send(&Message::new(b"1"), None).expect("send");
    store.delete_topic("t").expect("delete");
    let error = producer.send(&Message::new(b"2"), None).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        try_send(&topic, "a").expect_err("gone").kind(),
        ErrorKind::NotFound
    );
    let again = store.topic("t", &with_window(HOUR)).expect("another");
    assert_ne!(send(&again, "a"), first);
    let producer = again.producer("p").expect("producer");
    assert_eq!(producer.last_sequence().expect("last"), 0);
}
