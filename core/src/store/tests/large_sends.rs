//! Messages that are copied in pieces, and the locks that others hold meanwhile (P14, P17).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::control::header;
use crate::options::{DedupWindow, OnFull};
use crate::shm::OwnerLock;
use crate::storage::{Event, Fault};
use crate::store::{Consumer, ConsumerOptions, Message, Receipt};
use crate::{Durability, TopicOptions};

const BIG: usize = 200_000;
const WAITERS: u32 = 1 << 31;
const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));

fn topic_of(store: &Store, most: u64) -> (Topic, Consumer) {
    let options = TopicOptions {
        dedup_window: Some(HOUR),
        max_messages: Some(most),
        on_full: Some(OnFull::Block),
        durability: Some(Durability::Process),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    (topic, worker.expect("consumer"))
}

/// Each way to send has its own locks before that of who copies.
#[test]
fn p14_many_ways_to_send_much_at_once_to_a_limited_topic_never_wait_for_each_other() {
    const EACH: usize = 60;
    let folder = tempfile::TempDir::new().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let (topic, worker) = topic_of(&store, 4);
    let till = topic.producer("till").expect("producer");
    let big = vec![7; BIG];
    std::thread::scope(|scope| {
        let plain = |small: bool| {
            let (topic, big) = (topic.clone(), &big);
            move || {
                for _ in 0..EACH {
                    let payload = if small { &big[..10] } else { &big[..] };
                    topic.send(&Message::new(payload)).expect("plain");
                }
            }
        };
        scope.spawn(plain(false));
        scope.spawn(plain(false));
        scope.spawn(plain(true));
        scope.spawn(|| {
            for number in 0..EACH {
                let id = number.to_le_bytes();
                let message = Message::new(&big).dedup_id(&id);
                topic.send(&message).expect("with an id");
            }
        });
        scope.spawn(|| {
            for _ in 0..EACH {
                till.send(&Message::new(&big), None).expect("by name");
            }
        });
        let mut got = 0;
        while got < 5 * EACH {
            let batch = worker.receive(4, Some(BOUND)).expect("receive");
            assert!(!batch.is_empty(), "nobody sends any more after {got}");
            let receipts: Vec<Receipt> = batch.iter().map(|one| one.receipt()).collect();
            got += receipts.len();
            worker.ack(&receipts).expect("ack");
        }
    });
}

/// One who waits for room keeps no letter from its topic, however much either is.
#[test]
fn p12_p14_a_large_message_that_waits_for_room_keeps_no_large_dead_letter_waiting() {
    let folder = tempfile::TempDir::new().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let (letters, reader) = topic_of(&store, 1);
    let work = store.topic("work", &TopicOptions::default()).expect("work");
    let config = ConsumerOptions {
        group: crate::GroupOptions {
            dead_letter_topic: Some(crate::DeadLetter::Topic("t".to_owned())),
            max_attempts: Some(1),
            ..Default::default()
        },
        ..ConsumerOptions::default()
    };
    let worker = work.consumer("g", &config).expect("consumer");
    let big = vec![7; BIG];
    letters.send(&Message::new(&big)).expect("room for one");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| letters.send_within(&Message::new(&big), BOUND));
        until("it waits for room", || {
            crate::store::flow::testing::anybody_waits(&letters)
        });
        work.send(&Message::new(&big)).expect("send");
        let got = worker.receive(1, Some(BOUND)).expect("receive");
        let dead = got
            .iter()
            .map(|one| one.receipt())
            .collect::<Vec<Receipt>>();
        worker.dead_letter(&dead, "broken").expect("dead");
        until("the letter is there", || {
            letters.inner.partitions[0].next_offset() == 2
        });
        for _ in 0..2 {
            let got = reader.receive(1, Some(BOUND)).expect("receive");
            reader.ack(&[got[0].receipt()]).expect("ack");
        }
        waits.join().expect("thread").expect("sent");
    });
}

/// Who is given the disk's last room may be about to create a topic for dead letters.
#[test]
fn p5_p17_who_waits_for_the_last_room_of_the_disk_keeps_nobody_from_creating() {
    let twin = Twin::new();
    let clock = super::dedup::clock();
    let open = || super::dedup::store_on(&twin, &clock);
    let (store, other) = (open(), open());
    let topic = store.topic("t", &TopicOptions::default()).expect("topic");
    let group = topic.create_group("g", &Default::default()).expect("group");
    let messages = vec![Message::new(b"x"); 1500];
    let ids = topic.send_many(&messages).expect("send");
    let inner = store.inner().expect("open");
    let lock = inner.control.header().word32(header::BALLAST_LOCK);
    let me = other.inner().expect("open").env.me;
    assert!(OwnerLock::try_acquire(lock, me));
    // The window has room for fewer, and the disk for no more.
    twin.fail(Fault::Allocate, 1);
    std::thread::scope(|scope| {
        let settles = scope.spawn(|| group.settle(ids[1499]));
        until("it waits", || {
            lock.load(std::sync::atomic::Ordering::SeqCst) & WAITERS != 0
        });
        twin.heal();
        other
            .topic("letters", &TopicOptions::default())
            .expect("created");
        assert!(!settles.is_finished(), "it waits for the last room");
        OwnerLock::release(lock, me);
        settles.join().expect("thread").expect("settled");
    });
}

/// An offset is given away before what is large stands there.
#[test]
fn p2_who_peeks_at_what_is_still_being_sent_is_told_that() {
    let twin = Twin::new();
    let clock = super::dedup::clock();
    let open = || super::dedup::store_on(&twin, &clock);
    let (store, other) = (open(), open());
    let topic = store.topic("t", &TopicOptions::default()).expect("topic");
    let group = topic.create_group("g", &Default::default());
    let group = group.expect("group");
    let there = other.open_topic("t").expect("topic");
    let (told, tells) = std::sync::mpsc::channel();
    let (told, looks) = (Mutex::new(Some(told)), AtomicBool::new(false));
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        let given = there.inner.partitions[0].next_offset() == 1;
        if event == Event::Stored && given && !looks.swap(true, Ordering::SeqCst) {
            let group = there.group("g").expect("group");
            let told = told.lock().expect("lock").take().expect("once");
            told.send(group.peek(0, 0)).expect("heard");
        }
    })));
    topic.send(&Message::new(&[7; BIG])).expect("send");
    twin.watch(None);
    let error = tells.try_recv().expect("looked").expect_err("not whole");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("still being sent"), "{error}");
    assert_eq!(
        group.peek(0, 0).expect("whole").message.payload().len(),
        BIG
    );
}

/// Sends the topic's first message, and dies once its offset is given away.
fn dies_while_it_copies(twin: &Twin, topic: &Topic) {
    let log = topic.inner.partitions[0].clone();
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        if event == Event::Stored && log.next_offset() == 1 {
            std::panic::resume_unwind(Box::new(()));
        }
    })));
    let sends = || topic.send(&Message::new(&[7; BIG]));
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(sends));
    twin.watch(None);
    assert!(died.is_err(), "it was sent");
}

/// Nothing stands where a sender died, and nothing behind it.
#[test]
fn p1_p2_who_peeks_at_what_a_dead_sender_left_is_not_told_to_wait() {
    let twin = Twin::new();
    let clock = super::dedup::clock();
    let open = || super::dedup::store_on(&twin, &clock);
    let (store, other) = (open(), open());
    let topic = store.topic("t", &TopicOptions::default()).expect("topic");
    let there = other.open_topic("t").expect("topic");
    let group = there.create_group("g", &Default::default());
    let group = group.expect("group");
    dies_while_it_copies(&twin, &topic);
    let told = || group.peek(0, 0).expect_err("nothing").to_string();
    assert!(told().contains("still being sent"), "{}", told());
    store.die();
    there.inner.partitions[0].tend_large().expect("given up");
    assert!(told().contains("no message any more"), "{}", told());
}

/// A stopped process that copies keeps a backup waiting, and nobody else.
#[test]
fn p17_a_backup_that_waits_for_who_copies_holds_no_lock_of_others() {
    let (folder, copies) = (
        tempfile::tempdir().expect("one"),
        tempfile::tempdir().expect("two"),
    );
    let store = Store::open(folder.path(), options()).expect("open");
    let other = Store::open(folder.path(), options()).expect("a second member");
    let topic = store.topic("t", &TopicOptions::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let lock = topic.inner.partitions[0].large_lock_in_test();
    let copies_now = other.inner().expect("open").env.me;
    assert!(OwnerLock::try_acquire(lock, copies_now));
    std::thread::scope(|scope| {
        let makes = scope.spawn(|| store.backup(copies.path().join("one"), &mut |_, _| Ok(())));
        until("it waits", || {
            lock.load(std::sync::atomic::Ordering::SeqCst) & WAITERS != 0
        });
        for name in ["a", "b", "c"] {
            other
                .topic(name, &TopicOptions::default())
                .expect("created");
        }
        assert!(!makes.is_finished(), "it waits for who copies");
        OwnerLock::release(lock, copies_now);
        assert_eq!(makes.join().expect("thread").expect("backup").topics, 4);
    });
}

/// What a dead sender left is made padding by whoever comes first, also while somebody else looks.
#[test]
fn p1_p2_who_looks_while_another_clears_up_after_a_dead_sender_finds_what_was_sent_before() {
    for round in 0..300 {
        let twin = Twin::new();
        let clock = super::dedup::clock();
        let open = || super::dedup::store_on(&twin, &clock);
        let (store, other, third) = (open(), open(), open());
        let topic = store.topic("t", &TopicOptions::default()).expect("topic");
        let [there, clears] = [&other, &third].map(|one| one.open_topic("t").expect("topic"));
        let consumer = there.consumer("g", &ConsumerOptions::default());
        let consumer = consumer.expect("consumer");
        let mut reader = there.reader(&Default::default()).expect("reader");
        dies_while_it_copies(&twin, &topic);
        store.die();
        there.send(&Message::new(b"behind it")).expect("send");
        let begins = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begins.wait();
                for _ in 0..round {
                    std::hint::spin_loop();
                }
                clears.inner.partitions[0].tend_large().expect("given up");
            });
            begins.wait();
            let count = match round % 2 {
                0 => consumer
                    .receive(9, Some(Duration::ZERO))
                    .expect("receive")
                    .len(),
                _ => reader.receive(9, Some(Duration::ZERO)).expect("read").len(),
            };
            assert_eq!(count, 1, "round {round}: it was sent before");
        });
    }
}
