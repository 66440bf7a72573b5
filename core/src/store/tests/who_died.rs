//! Who died with a message, where another process than the one that found that writes the letter.

use super::*;
use crate::clock::ManualClock;
use crate::options::GroupOptions;
use crate::storage::Twin;
use crate::store::dying::locked_reasons;
use crate::store::{Consumer, ConsumerOptions, DeadLetterEntry, Group, Message, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Two members of a store, as two processes have it, which nobody tends.
struct Scene {
    clock: Arc<ManualClock>,
    mine: Store,
    topic: Topic,
    worker: Consumer,
    theirs: Store,
    victim: Consumer,
}

fn one(store: &Store, name: &str) -> (Topic, Consumer) {
    let topic = store.topic("t", &Default::default()).expect("topic");
    let with = ConsumerOptions {
        group: GroupOptions {
            max_attempts: Some(1),
            ..GroupOptions::default()
        },
        name: Some(name.to_owned()),
        ..ConsumerOptions::default()
    };
    let consumer = topic.consumer("g", &with).expect("consumer");
    (topic, consumer)
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(0, 1_000_000));
        let world = World {
            storage: Arc::new(Twin::new()),
            clock: clock.clone(),
            housekeeping: false,
        };
        let open = || Store::open_in(&world, Path::new("/store"), &options()).expect("open");
        let (mine, theirs) = (open(), open());
        let (topic, worker) = one(&mine, "mine");
        let (_, victim) = one(&theirs, "victim");
        topic.send(&Message::new(b"x")).expect("send");
        Self {
            clock,
            mine,
            topic,
            worker,
            theirs,
            victim,
        }
    }

    fn group(&self) -> Group {
        self.topic.group("g").expect("group")
    }

    /// What the next receive of another process than the one that knows the reason writes.
    fn letter(&self) -> DeadLetterEntry {
        locked_reasons(&self.group().inner).clear();
        self.clock.advance_ms(1_000);
        assert!(self.worker.receive(1, NOW).expect("receive").is_empty());
        let mut letters = self.group().dead_letters(9).expect("letters");
        assert_eq!(letters.len(), 1);
        letters.remove(0)
    }
}

#[test]
fn p10_p12_who_died_is_told_by_whoever_writes_the_letter_also_once_others_have_come() {
    let scene = Scene::new();
    assert_eq!(scene.victim.receive(1, NOW).expect("receive").len(), 1);
    scene.theirs.die();
    let inner = &scene.group().inner;
    let store = &inner.topic.store;
    let consumers = store.control.consumers_of_group(&inner.block);
    let gone = consumers.iter().find(|one| one.name == "victim");
    let gone = gone.expect("in the table");
    let mut moves = Vec::new();
    inner
        .return_consumer(gone, true, BOUND, &mut moves)
        .expect("return");
    assert_eq!(moves.len(), 1);
    store.control.free_consumer(gone);
    // Its slot is free, and the next consumers have others.
    scene.clock.advance_ms(1);
    let _next: Vec<Consumer> = (0..9).map(|_| one(&scene.mine, "next").1).collect();
    let letter = scene.letter();
    let process = std::process::id();
    let told = format!("consumer \"victim\" (process {process}) died while it had the message");
    assert!(letter.error.starts_with(&told), "{}", letter.error);
    assert_eq!(letter.consumer, "victim");
}

#[test]
fn p12_a_slot_that_was_given_away_since_names_nobody() {
    let scene = Scene::new();
    assert_eq!(scene.victim.receive(1, NOW).expect("receive").len(), 1);
    let inner = &scene.group().inner;
    let control = &inner.topic.store.control;
    let slot = inner
        .with_window(0, |window| window.seen(0).consumer)
        .expect("window");
    let (clock, at) = (&scene.clock, crate::clock::Clock::boot_ms(&*scene.clock));
    assert_eq!(
        control.held(slot, &inner.block, at).map(|(name, _)| name),
        Some("victim".to_owned())
    );
    inner
        .with_window(0, |window| window.give_up(0, 1, at, 1))
        .expect("window");
    scene.victim.close().expect("close");
    clock.advance_ms(1);
    // All slots once more.
    for _ in 0..crate::format::control::consumer::SLOTS {
        one(&scene.mine, "next").1.close().expect("close");
    }
    assert_eq!(control.held(slot, &inner.block, at), None);
    for wild in [4096, u16::MAX] {
        assert_eq!(control.held(wild, &inner.block, at), None);
    }
    let letter = scene.letter();
    assert!(
        letter.error.contains("not known any more"),
        "{}",
        letter.error
    );
    assert_eq!(letter.consumer, "");
}

#[test]
fn p12_a_reason_that_its_process_did_not_write_down_is_told_as_far_as_it_is_known() {
    let scene = Scene::new();
    assert_eq!(scene.victim.receive(1, NOW).expect("receive").len(), 1);
    let inner = &scene.group().inner;
    inner
        .with_window(0, |window| {
            let policy = crate::group::Policy::of(&scene.group().config());
            window.nack(&policy, (0, 1), None, 1_000_000, 1)
        })
        .expect("window");
    let letter = scene.letter();
    assert!(
        letter.error.contains("in the hands of consumer \"victim\""),
        "{}",
        letter.error
    );
    assert_eq!(letter.consumer, "victim");
}
