//! A death, and the end of all processes, at every store and sync of a transaction's commit: it has
//! happened as a whole or not at all, and the next one works (P8).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::transactions::contents;
use super::*;
use crate::options::TopicOptions;
use crate::storage::Event;
use crate::{Consumer, ConsumerOptions, Durability, Message};

pub(super) const KEPT: &[u8] = b"before";

pub(super) type Contents = Vec<(u32, u64, Vec<u8>)>;

/// A disk, a clock, and how the store on it is opened.
pub(super) struct Scene {
    pub(super) twin: Twin,
    pub(super) clock: Arc<ManualClock>,
    durability: Durability,
}

impl Scene {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            twin: Twin::new(),
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000_000, 10_000_000)),
            durability,
        }
    }

    pub(super) fn open_on(&self, twin: &Twin) -> Store {
        self.open_with(twin, options().lock_timeout)
    }

    /// By one who waits for no lock for long.
    pub(super) fn open_hasty(&self) -> Store {
        self.open_with(&self.twin, Duration::from_millis(30))
    }

    fn open_with(&self, twin: &Twin, lock_timeout: Duration) -> Store {
        let world = World {
            storage: Arc::new(twin.clone()),
            clock: self.clock.clone(),
            housekeeping: false,
        };
        let with = StoreOptions {
            durability: self.durability,
            lock_timeout,
            ..options()
        };
        Store::open_in(&world, Path::new("/store"), &with).expect("open")
    }

    pub(super) fn open(&self) -> Store {
        self.open_on(&self.twin)
    }
}

pub(super) fn topics(store: &Store) -> [Topic; 3] {
    let two = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    [
        store.topic("from", &two).expect("topic"),
        store.topic("to", &two).expect("topic"),
        store.topic("far", &Default::default()).expect("topic"),
    ]
}

fn worker(from: &Topic) -> Consumer {
    from.consumer("g", &ConsumerOptions::default())
        .expect("consumer")
}

/// Three messages are out, one of which was there before and is settled by a transaction.
pub(super) fn begin(store: &Store) -> ([Topic; 3], Consumer, Vec<crate::Delivery>) {
    let [from, to, far] = topics(store);
    let worker = worker(&from);
    for number in 0..4_u32 {
        let payload = number.to_string();
        let one = Message::new(payload.as_bytes()).partition(number % 2);
        from.send(&one).expect("send");
    }
    let mut got = worker.receive(1, Some(Duration::ZERO)).expect("receive");
    let mut tx = store.transaction().expect("begin");
    tx.send(&to, &Message::new(KEPT).partition(0))
        .expect("send");
    tx.ack(&got[0]).expect("ack");
    tx.commit().expect("the first one");
    far.send(&Message::new(KEPT)).expect("send");
    got = worker.receive(3, Some(Duration::ZERO)).expect("receive");
    assert_eq!(got.len(), 3);
    got.iter().for_each(crate::Delivery::start);
    ([from, to, far], worker, got)
}

/// To three partitions of two topics, from two of one.
pub(super) fn commit(
    store: &Store,
    topics: &[Topic; 3],
    got: &[crate::Delivery],
) -> crate::Result<Vec<crate::MessageId>> {
    let mut tx = store.transaction()?;
    tx.send(&topics[1], &Message::new(b"t0").partition(0))?;
    tx.send(&topics[1], &Message::new(b"t1").partition(1))?;
    tx.send(&topics[1], &Message::new(b"t2").partition(1))?;
    tx.send(&topics[2], &Message::new(b"f0"))?;
    for one in got {
        tx.ack(one)?;
    }
    tx.commit()
}

pub(super) fn done_to() -> Contents {
    vec![
        (0, 0, KEPT.to_vec()),
        (0, 1, b"t0".to_vec()),
        (1, 0, b"t1".to_vec()),
        (1, 1, b"t2".to_vec()),
    ]
}

/// Whether the transaction has happened, by what a store has; panics where it is half done.
pub(super) fn look(store: &Store, clock: &ManualClock, what: &str) -> bool {
    let topics = topics(store);
    let (to, far) = (contents(&topics[1]), contents(&topics[2]));
    let worker = worker(&topics[0]);
    // What the dead one had started comes back after the backoff.
    let mut got = worker.receive(9, Some(Duration::ZERO)).expect("receive");
    clock.advance_ms(2_000);
    got.extend(worker.receive(9, Some(Duration::ZERO)).expect("receive"));
    let happened = to == done_to();
    let expected_far: Contents = match happened {
        true => vec![(0, 0, KEPT.to_vec()), (0, 1, b"f0".to_vec())],
        false => vec![(0, 0, KEPT.to_vec())],
    };
    assert_eq!(far, expected_far, "{what}: {to:?}");
    if !happened {
        assert_eq!(to, [(0, 0, KEPT.to_vec())], "{what}");
    }
    // Where a lock could not be had in a moment the next call looks again.
    for _ in 0..50 {
        if happened || got.len() >= 3 {
            break;
        }
        got.extend(
            worker
                .receive(9, Some(Duration::from_millis(20)))
                .expect("receive"),
        );
    }
    assert_eq!(got.len(), if happened { 0 } else { 3 }, "{what}");
    happened
}

/// Settled and sent by another one, which goes on.
pub(super) fn goes_on(store: &Store, what: &str) {
    let [from, to, far] = topics(store);
    let worker = worker(&from);
    from.send(&Message::new(b"more").partition(0))
        .expect("send");
    let got = worker.receive(9, Some(Duration::ZERO)).expect("receive");
    assert!(got.iter().any(|one| one.payload() == b"more"), "{what}");
    let mut tx = store.transaction().expect("begin");
    tx.send(&to, &Message::new(b"next").partition(1))
        .expect("send");
    tx.send(&far, &Message::new(b"next")).expect("send");
    for one in &got {
        tx.ack(one).expect("ack");
    }
    tx.commit()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(contents(&far).last().expect("next").2, b"next", "{what}");
    let stats = from.group("g").expect("group").stats().expect("stats");
    assert_eq!((stats.lag_messages, stats.leased), (0, 0), "{what}");
}

/// Does something that is watched, and something else at one event of it; how many there were.
pub(super) fn events_of(
    scene: &Scene,
    event: u64,
    work: impl FnOnce(),
    then: impl FnMut(Event) + Send + 'static,
) -> u64 {
    let (seen, then) = (Arc::new(AtomicU64::new(0)), Mutex::new(then));
    let counted = seen.clone();
    scene.twin.watch(Some(Arc::new(move |twin, kind| {
        if counted.fetch_add(1, Ordering::SeqCst) + 1 == event {
            twin.watch(None);
            (then.lock().expect("one at a time"))(kind);
        }
    })));
    work();
    scene.twin.watch(None);
    seen.load(Ordering::SeqCst)
}

/// Runs a commit that is watched, and does something at one event of it; how many there were.
pub(super) fn at_event(
    scene: &Scene,
    event: u64,
    mut then: impl FnMut(&Store, Event) + Send + 'static,
) -> u64 {
    let store = scene.open();
    let (topics, worker, got) = begin(&store);
    let watched = store.clone();
    let work = || drop(commit(&store, &topics, &got));
    let seen = events_of(scene, event, work, move |kind| then(&watched, kind));
    // As those of a process that ended: nothing is tidied up.
    std::mem::forget(worker);
    seen
}

/// At each event in a scene of its own, until there are no more.
pub(super) fn at_every_event(
    durability: Durability,
    check: impl Fn(&Arc<Scene>, u64) -> u64,
) -> u64 {
    for event in 1..2_000 {
        let scene = Arc::new(Scene::new(durability));
        if check(&scene, event) < event {
            return event - 1;
        }
    }
    panic!("too many events");
}

#[test]
fn p8_p17_a_death_at_every_step_of_a_commit_leaves_all_or_nothing_to_those_who_live_on() {
    for durability in [Durability::Process, Durability::Sync] {
        let seen = Arc::new(Mutex::new((0, 0)));
        let events = at_every_event(durability, |scene, event| {
            let (inner, seen) = (scene.clone(), seen.clone());
            let other = scene.open();
            at_event(scene, event, move |dying, kind| {
                dying.die();
                let what = format!("{durability:?}, event {event}, {kind:?}");
                inner.clock.advance_ms(100);
                let living = other.inner().expect("open");
                until("the dead one is cleaned up after", || {
                    living.find_dead(0).is_ok_and(|dead| dead == 0)
                });
                let happened = look(&other, &inner.clock, &what);
                let mut seen = seen.lock().expect("lock");
                if happened {
                    seen.0 += 1
                } else {
                    seen.1 += 1
                }
                goes_on(&other, &what);
            })
        });
        let seen = seen.lock().expect("lock");
        assert!(
            events > 20 && seen.0 > 5 && seen.1 > 5,
            "{events}, {seen:?}"
        );
    }
}

#[test]
fn p8_p17_when_all_die_at_any_step_of_a_commit_the_next_life_finds_all_or_nothing() {
    for durability in [Durability::Process, Durability::Sync] {
        let events = at_every_event(durability, |scene, event| {
            let inner = scene.clone();
            at_event(scene, event, move |_, kind| {
                let what = format!("{durability:?}, event {event}, {kind:?}");
                let image = inner.twin.all_die().expect("image");
                let again = inner.open_on(&image);
                look(&again, &inner.clock, &what);
                goes_on(&again, &what);
            })
        });
        assert!(events > 20, "{events}");
    }
}
