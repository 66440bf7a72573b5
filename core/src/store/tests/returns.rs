//! Leases of those who died or closed, and who else is there meanwhile: a slow disk, a process that
//! is stopped in the middle, the next consumer in the same slot.

use super::gates::{Gate, Gated};
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::format::control::{block as words, group_partition, header};
use crate::shm::{Held, OwnerLock};
use crate::store::{Consumer, ConsumerOptions, Delivery, Message, Topic};
use crate::{Backoff, GroupOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const SOON: Duration = Duration::from_millis(100);

/// A store in a process of its own, as far as anybody can tell, that nobody tends.
fn open_at(folder: &Path, gate: &Arc<Gate>) -> Store {
    open_by(folder, gate, Arc::new(SystemClock))
}

fn open_by(folder: &Path, gate: &Arc<Gate>, clock: Arc<dyn Clock>) -> Store {
    let world = World {
        storage: Arc::new(Gated(gate.clone())),
        clock,
        housekeeping: false,
    };
    let options = StoreOptions {
        lock_timeout: SOON,
        ..StoreOptions::default()
    };
    Store::open_in(&world, folder, &options).expect("open")
}

fn consumer(topic: &Topic, group: &str, max_attempts: u32) -> Consumer {
    let quick = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        factor: 1.0,
    };
    let group_options = GroupOptions {
        max_attempts: Some(max_attempts),
        backoff: Some(quick),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group: group_options,
        ..ConsumerOptions::default()
    };
    topic.consumer(group, &options).expect("consumer")
}

fn take(consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let got = consumer.receive(count, Some(BOUND)).expect("receive");
    assert_eq!(got.len(), count);
    got
}

fn leased(topic: &Topic, group: &str) -> u64 {
    let group = topic.group(group).expect("group");
    group.stats().expect("stats").leased
}

#[test]
fn p10_p13_leases_of_all_groups_are_back_before_a_dead_letter_is_moved() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, dying) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let mut mine = Vec::new();
    let mut theirs = Vec::new();
    // In each group a last attempt and one that is not: whichever is returned first.
    for name in ["t", "u", "v"] {
        let topic = store.topic(name, &Default::default()).expect("topic");
        topic.send(&Message::new(b"x")).expect("send");
        let there = dying.open_topic(name).expect("topic");
        for (group, attempts) in [("last", 1), ("again", 9)] {
            mine.push(consumer(&topic, group, attempts));
            let of_dying = consumer(&there, group, attempts);
            take(&of_dying, 1);
            theirs.push(of_dying);
        }
    }
    gate.set_closed(true);
    dying.die();
    let inner = store.inner().expect("open").clone();
    let finder = std::thread::spawn(move || inner.find_dead(0));
    gate.until_one_waits();
    for name in ["t", "u", "v"] {
        let topic = store.open_topic(name).expect("topic");
        for group in ["last", "again"] {
            assert_eq!(leased(&topic, group), 0, "{name} {group}");
        }
    }
    // Nor does a second death wait for the sync of the first.
    let second = open_at(folder.path(), &Arc::default());
    let there = second.open_topic("u").expect("topic");
    let of_second = consumer(&there, "again", 9);
    take(&of_second, 1);
    second.die();
    let again = mine.iter().filter(|one| one.group() == "again");
    for one in again {
        take(one, 1);
    }
    gate.set_closed(false);
    finder.join().expect("finder").expect("found");
    for name in ["t", "u", "v"] {
        let topic = store.open_topic(name).expect("topic");
        let group = topic.group("last").expect("group");
        let letters = group.dead_letters(9).expect("letters");
        assert_eq!(letters.len(), 1);
        assert!(letters[0].error.contains("died"), "{}", letters[0].error);
    }
    drop((theirs, of_second));
}

/// A member that holds a lock and is alive: stopped, as far as others can tell.
fn stop_in<'a>(stopped: &Store, lock: &'a std::sync::atomic::AtomicU32) -> Held<'a> {
    let me = stopped.inner().expect("open").env.me;
    OwnerLock::try_hold(lock, me).expect("free")
}

#[test]
fn p10_p17_one_that_is_stopped_while_it_cleans_up_after_the_dead_keeps_nobodys_leases() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, dying) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let stopped = open_at(folder.path(), &gate);
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let mine = consumer(&topic, "g", 9);
    let there = dying.open_topic("t").expect("topic");
    let theirs = consumer(&there, "g", 9);
    take(&theirs, 1);
    let inner = store.inner().expect("open").clone();
    let held = stop_in(&stopped, inner.control.header().word32(header::DEATH_LOCK));
    dying.die();
    assert_eq!(take(&mine, 1)[0].attempt(), 2);
    let group = topic.group("g").expect("group");
    let stats = group.stats().expect("stats");
    assert_eq!((stats.failed, stats.expired), (1, 0), "charged as a death");
    inner.find_dead(0).expect("look");
    assert_eq!(inner.member_count(), 2, "the dead one's slot is free");
    drop((held, theirs));
}

#[test]
fn p10_one_window_that_somebody_is_stopped_in_keeps_no_other_ones_leases() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, dying) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let stopped = open_at(folder.path(), &gate);
    let mut theirs = Vec::new();
    for name in ["t", "u"] {
        let topic = store.topic(name, &Default::default()).expect("topic");
        topic.send(&Message::new(b"x")).expect("send");
        let there = dying.open_topic(name).expect("topic");
        theirs.push(consumer(&there, "g", 9));
        take(theirs.last().expect("one"), 1);
    }
    let (t, u) = (store.open_topic("t"), store.open_topic("u"));
    let (t, u) = (t.expect("topic"), u.expect("topic"));
    let group = t.group("g").expect("group").inner;
    let lock = group.block.partitions[0].word32(group_partition::LOCK);
    let held = stop_in(&stopped, lock);
    dying.die();
    let inner = store.inner().expect("open").clone();
    inner.find_dead(0).expect("one that is stopped is no error");
    assert_eq!(leased(&u, "g"), 0, "it waits for the other group's window");
    drop(held);
    assert_eq!(leased(&t, "g"), 1, "returned without its window's lock");
    inner.look_around();
    assert_eq!(leased(&t, "g"), 0, "left for good");
    assert_eq!(inner.member_count(), 2, "the dead one's slot is free");
}

#[test]
fn p10_who_always_finds_something_looks_for_the_dead_where_nobody_else_does() {
    let folder = tempfile::tempdir().expect("folder");
    let (gate, clock) = (Arc::default(), Arc::new(ManualClock::new(0, 1_000_000)));
    let open = || open_by(folder.path(), &gate, clock.clone());
    let (store, dying) = (open(), open());
    let topic = store.topic("t", &Default::default()).expect("topic");
    let sent: Vec<_> = (0..5).map(|_| topic.send(&Message::new(b"x"))).collect();
    let mine = consumer(&topic, "g", 9);
    let there = dying.open_topic("t").expect("topic");
    let theirs = consumer(&there, "g", 9);
    take(&theirs, 1);
    store.inner().expect("open").find_dead(0).expect("look");
    dying.die();
    let attempts = || {
        let again = take(&mine, 1);
        // What failed comes back after a while.
        clock.advance_ms(1);
        again[0].attempt()
    };
    clock.advance_ms(20);
    assert_eq!([attempts(), attempts()], [1, 1], "somebody looked just now");
    clock.advance_ms(50);
    assert_eq!([attempts(), attempts()], [1, 2]);
    drop((theirs, sent));
}

#[test]
fn p10_who_looks_for_the_dead_returns_what_they_had_of_all_groups_that_are_open_there() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::default();
    let (store, dying) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let there = dying.open_topic("t").expect("topic");
    let (mine, other) = (consumer(&topic, "g", 9), consumer(&topic, "other", 9));
    let theirs = consumer(&there, "other", 9);
    take(&theirs, 1);
    dying.die();
    assert_eq!(leased(&topic, "other"), 1);
    let inner = store.inner().expect("open");
    inner.notice_dead(0, &mine.group);
    assert_eq!(
        leased(&topic, "other"),
        0,
        "others look no sooner than after the next beat"
    );
    drop((theirs, other));
}

#[test]
fn p10_who_comes_late_to_a_dead_consumer_takes_nothing_from_the_next_one_in_its_slot() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, dying) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let there = dying.open_topic("t").expect("topic");
    let theirs = consumer(&there, "g", 9);
    take(&theirs, 1);
    let inner = store.inner().expect("open").clone();
    let gone = inner
        .control
        .consumers_of_member(dying.inner().expect("open").env.me);
    assert_eq!(gone.len(), 1);
    dying.die();
    inner.find_dead(0).expect("look");
    // As after all others were given.
    let next = u64::from(gone[0].slot.0);
    inner.control.header().set(header::NEXT_CONSUMER, next);
    let mine = consumer(&topic, "g", 9);
    assert_eq!(mine.slot, gone[0].slot.0, "the next one in the slot");
    take(&mine, 1);
    // One that was stopped since it read the table.
    let group = topic.group("g").expect("group").inner;
    let mut moves = Vec::new();
    let late = group.return_consumer(&gone[0], true, BOUND, &mut moves);
    late.expect("nothing to do");
    inner.control.free_consumer(&gone[0]);
    assert_eq!(leased(&topic, "g"), 1, "the living one is robbed");
    let named = inner.control.consumers_of_group(&group.block);
    assert_eq!(named.len(), 1, "its slot is taken off the table");
}

#[test]
fn p10_what_a_closed_consumer_could_not_hand_back_comes_back_later() {
    for closes_again in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let gate = Arc::new(Gate::default());
        let (store, stopped) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
        let topic = store.topic("t", &Default::default()).expect("topic");
        topic.send(&Message::new(b"x")).expect("send");
        let (mine, other) = (consumer(&topic, "g", 9), consumer(&topic, "g", 9));
        take(&mine, 1);
        let inner = store.inner().expect("open").clone();
        let lock = mine.group.block.partitions[0].word32(group_partition::LOCK);
        let held = stop_in(&stopped, lock);
        let error = mine.close().expect_err("it is held");
        assert_eq!(error.kind(), ErrorKind::Stuck);
        assert!(error.message().contains("tried again"), "{error}");
        assert!(mine.is_closed());
        inner.look_around();
        let error = mine.close().expect_err("it is held still");
        assert_eq!(error.kind(), ErrorKind::Stuck);
        drop(held);
        assert_eq!(leased(&topic, "g"), 1);
        if closes_again {
            mine.close().expect("close");
        } else {
            inner.look_around();
        }
        assert_eq!(leased(&topic, "g"), 0, "closes again: {closes_again}");
        mine.close().expect("closed");
        let named = inner.control.consumers_of_group(&mine.group.block);
        assert_eq!(named.len(), 1, "its slot is still taken");
        let got = take(&other, 1);
        let failed = topic.group("g").expect("group").stats().expect("stats");
        assert_eq!((got[0].attempt(), failed.failed), (2, 0), "uncounted");
    }
}

#[test]
fn p10_who_leaves_with_leases_that_could_not_be_handed_back_leaves_them_to_others() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, leaves) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let stopped = open_at(folder.path(), &gate);
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let mine = consumer(&topic, "g", 9);
    let there = leaves.open_topic("t").expect("topic");
    let theirs = consumer(&there, "g", 9);
    take(&theirs, 1);
    let lock = mine.group.block.partitions[0].word32(group_partition::LOCK);
    let held = stop_in(&stopped, lock);
    theirs.close().expect_err("it is held");
    drop((theirs, there));
    leaves.close().expect("close");
    drop(held);
    take(&mine, 1);
    let inner = store.inner().expect("open").clone();
    inner.find_dead(0).expect("look");
    assert_eq!(inner.member_count(), 2, "its slot is free");
    assert_eq!(mine.group.block.head.get(words::KIND), 2);
    let none = mine.receive(1, NOW).expect("receive");
    assert!(none.is_empty());
}

/// Receipts of two partitions: in one of them somebody is stopped, and of the other one a receipt
/// is stale. That is not told as if all but that one were done.
#[test]
fn p9_receipts_that_could_not_be_settled_are_not_told_to_be_where_others_are_stale() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, stopped) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let two = crate::TopicOptions {
        partitions: Some(2),
        ..crate::TopicOptions::default()
    };
    let topic = store.topic("t", &two).expect("topic");
    for partition in [0, 1] {
        let message = Message::new(b"x").partition(partition);
        topic.send(&message).expect("send");
    }
    let mine = consumer(&topic, "g", 9);
    let mut got = take(&mine, 2);
    got.sort_by_key(|one| one.partition());
    let both = [got[0].receipt(), got[1].receipt()];
    mine.ack(&both[..1]).expect("ack");
    let group = topic.group("g").expect("group").inner;
    let lock = group.block.partitions[1].word32(group_partition::LOCK);
    let held = stop_in(&stopped, lock);
    let error = mine
        .ack(&both)
        .expect_err("one is stale, the other not settled");
    assert_eq!(error.kind(), ErrorKind::Stuck, "{error}");
    assert!(error.message().contains("settle all again"), "{error}");
    drop(held);
    assert_eq!(leased(&topic, "g"), 1);
    let error = mine.ack(&both).expect_err("one is stale still");
    assert_eq!(error.stale_places(), [0]);
    assert_eq!(leased(&topic, "g"), 0, "and the other settled");
}

/// What a dead one had marked for a transaction is looked for before its leases are returned. Where
/// a window cannot be had for that the consumer stays in the table, also where it can be a moment
/// later: else nobody would be left whose lease the mark is when it is taken off.
#[test]
fn p8_p10_a_window_whose_marks_could_not_be_looked_at_is_looked_at_again() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Arc::new(Gate::default());
    let (store, stopped) = (open_at(folder.path(), &gate), open_at(folder.path(), &gate));
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&Message::new(b"x")).expect("send");
    let mine = consumer(&topic, "g", 9);
    take(&mine, 1);
    let group = topic.group("g").expect("group").inner;
    let lock = group.block.partitions[0].word32(group_partition::LOCK);
    let held = stop_in(&stopped, lock);
    let error = group.tidy_all_marks(true, SOON).expect_err("stopped in it");
    assert_eq!(error.kind(), ErrorKind::Stuck);
    drop(held);
    group.tidy_all_marks(true, SOON).expect("nothing is marked");
}
