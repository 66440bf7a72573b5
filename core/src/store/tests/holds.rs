//! Dead letters that hold their keys until they are redriven or purged.

use super::*;
use crate::clock::ManualClock;
use crate::group::Window;
use crate::options::{DeadLetter, GroupOptions, OnDeadLetter, OnExpired, Ordering as Order};
use crate::storage::Twin;
use crate::store::dying;
use crate::store::{
    Consumer, ConsumerOptions, Group, Message, MessageState, RedriveOptions, Topic,
};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn holding(ordering: Order) -> GroupOptions {
    GroupOptions {
        ordering: Some(ordering),
        on_dead_letter: Some(OnDeadLetter::HoldKey),
        on_expired: Some(OnExpired::DeadLetter),
        ..GroupOptions::default()
    }
}

/// A group whose dead letters hold their keys, in a store that nobody tends.
struct Scene {
    twin: Twin,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
    worker: Consumer,
}

impl Scene {
    fn new(ordering: Order) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000_000, 1_000_000));
        Self::on(Twin::new(), clock, ordering)
    }

    fn on(twin: Twin, clock: Arc<ManualClock>, ordering: Order) -> Self {
        let (store, topic) = open_by(&twin, &clock);
        let with = ConsumerOptions {
            group: holding(ordering),
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer("g", &with).expect("consumer");
        Self {
            twin,
            clock,
            store,
            topic,
            worker,
        }
    }

    fn group(&self) -> Group {
        self.topic.group("g").expect("group")
    }

    fn send(&self, key: Option<&[u8]>, payloads: &[&[u8]]) {
        for payload in payloads {
            let message = Message::new(payload);
            let message = match key {
                Some(key) => message.key(key),
                None => message,
            };
            self.topic.send(&message).expect("send");
        }
    }

    /// Offsets of what is handed out now and acknowledged.
    fn manage(&self) -> Vec<u64> {
        let got = self.worker.receive(99, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        self.worker.ack(&receipts).expect("ack");
        got.iter().map(|one| one.offset()).collect()
    }

    /// Has the next message die.
    fn dies(&self) -> u64 {
        let got = self.worker.receive(1, NOW).expect("receive");
        self.worker
            .dead_letter(&[got[0].receipt()], "no")
            .expect("dies");
        got[0].offset()
    }

    /// Source offsets and cycles of the dead letters.
    fn dead(&self) -> Vec<(u64, u32)> {
        let letters = self.group().dead_letters(99).expect("letters");
        letters
            .iter()
            .map(|one| (one.source_offset, one.cycles))
            .collect()
    }

    fn holding(&self) -> u64 {
        self.group().stats().expect("stats").holding
    }
}

#[test]
fn p11_p12_a_dead_letter_holds_its_key_until_it_is_redriven_and_then_comes_first() {
    let scene = Scene::new(Order::Key);
    scene.send(Some(b"k"), &[b"0", b"1"]);
    scene.send(Some(b"other"), &[b"2"]);
    scene.send(None, &[b"3"]);
    assert_eq!(scene.dies(), 0);
    assert_eq!(scene.manage(), [2, 3], "others flow past");
    let stats = scene.group().stats().expect("stats");
    assert_eq!((stats.holding, stats.held, stats.dead_lettered), (1, 1, 1));
    assert_eq!(stats.lag_messages, 2);
    let peeked = scene.group().peek(0, 0).expect("peek");
    assert_eq!(peeked.state, MessageState::Holding);
    assert_eq!(scene.dead(), [(0, 0)]);
    let redrive = || scene.group().redrive(RedriveOptions::default());
    assert_eq!(redrive().expect("redrive"), 1);
    assert_eq!((scene.dead(), scene.holding()), (vec![], 0));
    assert_eq!(redrive().expect("redrive"), 0, "it is no dead letter now");
    // Dies again, and holds its key again, as a letter of its own.
    assert_eq!(scene.dies(), 0);
    assert_eq!(scene.dead(), [(0, 1)]);
    let letters = scene.group().dead_letters(9).expect("letters");
    assert_eq!((letters[0].attempts, letters[0].failures), (2, 1));
    assert!(scene.manage().is_empty());
    assert_eq!(redrive().expect("redrive"), 1);
    assert_eq!(scene.manage(), [0]);
    assert_eq!(scene.manage(), [1]);
    let stats = scene.group().stats().expect("stats");
    assert_eq!((stats.lag_messages, stats.redriven), (0, 2));
}

#[test]
fn p12_a_message_that_held_its_key_comes_back_with_its_own_headers_alone() {
    let scene = Scene::new(Order::Key);
    let own: [(&str, &[u8]); 1] = [("trace", b"42")];
    for key in [Some(&b"k"[..]), None] {
        let mut message = Message::new(b"0").headers(&own);
        message.key = key;
        scene.topic.send(&message).expect("send");
        scene.dies();
        let redriven = scene.group().redrive(RedriveOptions::default());
        assert_eq!(redriven.expect("redrive"), 1);
        let got = scene.worker.receive(1, NOW).expect("receive");
        let headers: Vec<_> = got[0].headers().collect();
        // Without a key it came out of its letter, which counts the cycles.
        let cycles: Option<(&str, &[u8])> = key.is_none().then_some(("lq-cycles", b"0"));
        assert_eq!(headers, own.into_iter().chain(cycles).collect::<Vec<_>>());
        scene.worker.ack(&[got[0].receipt()]).expect("ack");
    }
}

#[test]
fn p11_p12_a_key_goes_on_when_its_dead_letter_is_purged() {
    for by_id in [false, true] {
        let scene = Scene::new(Order::Key);
        scene.send(Some(b"k"), &[b"0", b"1"]);
        assert_eq!(scene.dies(), 0);
        if by_id {
            // As where the letter itself is damaged.
            let id = scene.group().peek(0, 0).expect("peek").message.id();
            let delay = scene.group().delay(id, Duration::ZERO);
            assert_eq!(delay.expect_err("holds").kind(), ErrorKind::Busy);
            scene.group().settle(id).expect("settle");
        } else {
            let purged = scene.group().purge_dead_letters(None).expect("purge");
            assert_eq!(purged, 1);
        }
        assert_eq!((scene.dead(), scene.holding()), (vec![], 0));
        assert_eq!(scene.manage(), [1]);
        assert_eq!(scene.group().purge_dead_letters(None).expect("purge"), 0);
    }
}

#[test]
fn p11_in_a_group_ordered_by_partition_the_whole_partition_is_held() {
    let scene = Scene::new(Order::Partition);
    scene.send(None, &[b"0"]);
    scene.send(Some(b"k"), &[b"1"]);
    assert_eq!(scene.dies(), 0);
    assert!(scene.manage().is_empty());
    scene
        .group()
        .redrive(RedriveOptions::default())
        .expect("redrive");
    assert_eq!(scene.manage(), [0]);
    assert_eq!(scene.manage(), [1]);
}

#[test]
fn p11_p12_what_has_no_key_or_only_came_too_late_holds_nothing() {
    let scene = Scene::new(Order::Key);
    scene.send(None, &[b"0", b"1"]);
    assert_eq!(scene.dies(), 0);
    let late = Message::new(b"2").key(b"k").ttl(Duration::from_millis(5));
    scene.topic.send(&late).expect("send");
    scene.send(Some(b"k"), &[b"3"]);
    scene.clock.advance_ms(10);
    assert_eq!(scene.manage(), [1, 3]);
    assert_eq!((scene.dead(), scene.holding()), (vec![(0, 0), (2, 0)], 0));
    assert_eq!(
        scene
            .group()
            .redrive(RedriveOptions::default())
            .expect("redrive"),
        2
    );
}

#[test]
fn p12_a_message_that_is_redriven_after_its_ttl_is_handed_out_whether_or_not_it_held_its_key() {
    for key in [Some(&b"k"[..]), None] {
        let scene = Scene::new(Order::Key);
        let mut message = Message::new(b"0").ttl(Duration::from_millis(50));
        message.key = key;
        scene.topic.send(&message).expect("send");
        assert_eq!(scene.dies(), 0);
        scene.clock.advance_ms(1_000);
        for cycle in 1..3 {
            let redriven = scene.group().redrive(RedriveOptions::default());
            assert_eq!(redriven.expect("redrive"), 1);
            assert_eq!(scene.dies(), 0, "{key:?}, lost in cycle {cycle}");
        }
        let redriven = scene.group().redrive(RedriveOptions::default());
        assert_eq!(redriven.expect("redrive"), 1);
        assert_eq!(scene.manage(), [0]);
        assert_eq!(scene.group().stats().expect("stats").expired, 0);
    }
}

#[test]
fn p12_a_held_key_stays_held_through_new_lives_and_a_power_loss() {
    let scene = Scene::new(Order::Key);
    scene.send(Some(b"k"), &[b"0", b"1"]);
    assert_eq!(scene.dies(), 0);
    let lost = |seed| scene.twin.power_loss(seed).expect("image");
    let lost: Vec<Twin> = (0..24).map(lost).collect();
    let clock = scene.clock.copy();
    let Scene {
        twin,
        clock: same,
        store,
        topic,
        worker,
    } = scene;
    drop((topic, worker));
    store.close().expect("close");
    let again = Scene::on(twin, same, Order::Key);
    assert!(again.manage().is_empty(), "its key is held");
    assert_eq!((again.dead(), again.holding()), (vec![(0, 0)], 1));
    for (seed, twin) in lost.into_iter().enumerate() {
        // The topic promises nothing of what was not synced, and yet the message of a letter is
        // there to be redriven. What was not on disk of the settling is found in the letters.
        let after = Scene::on(twin, clock.copy(), Order::Key);
        after.clock.advance_ms(10_000);
        assert!(after.manage().is_empty(), "seed {seed}: its key is held");
        let seen = (after.dead(), after.holding());
        assert_eq!(seen, (vec![(0, 0)], 1), "seed {seed}");
        let redriven = after.group().redrive(RedriveOptions::default());
        assert_eq!(redriven.expect("redrive"), 1, "seed {seed}");
        assert_eq!(after.manage(), [0], "seed {seed}");
    }
}

#[test]
fn p12_what_a_mover_that_died_had_appended_holds_its_key_and_an_older_letter_does_not_count() {
    let scene = Scene::new(Order::Key);
    scene.send(Some(b"k"), &[b"0", b"1"]);
    assert_eq!(scene.dies(), 0);
    scene
        .group()
        .redrive(RedriveOptions::default())
        .expect("redrive");
    let got = scene.worker.receive(1, NOW).expect("receive");
    assert_eq!(got[0].attempt(), 2);
    // It dies again, and the next mover has to look what is in the topic: the letter of before.
    let inner = &scene.group().inner;
    inner
        .with_window(0, |window| window.give_up(0, 2, 1_000_000, 1))
        .expect("window");
    let word = crate::format::control::group_partition::MOVED;
    inner.block.partitions[0].set(word, 0);
    scene.clock.advance_ms(1_000);
    dying::move_dying(inner, 0, BOUND).expect("move");
    assert_eq!((scene.dead(), scene.holding()), (vec![(0, 1)], 1));
    let letters = scene.group().dead_letters(9).expect("letters");
    assert_eq!(letters[0].attempts, 2);
    // Once more, all of it appended and nothing settled.
    inner.block.partitions[0].set(word, 0);
    dying::move_dying(inner, 0, BOUND).expect("move");
    assert_eq!((scene.dead(), scene.holding()), (vec![(0, 1)], 1));
    let old = [(0, 0, 1), (9, 0, 2)];
    for end in [Window::redrive_held, Window::purge_held] {
        let ended = inner
            .end_holding(&old, end)
            .expect("an old letter, and no partition");
        assert_eq!(ended, [false, false]);
    }
    let ended = inner.end_holding(&[old[0], (0, 0, 2)], Window::redrive_held);
    assert_eq!(ended.expect("redrive"), [false, true]);
    assert_eq!(scene.manage(), [0]);
}

#[test]
fn p11_holding_keys_is_refused_where_it_contradicts_and_while_any_is_held() {
    let scene = Scene::new(Order::Key);
    let goes_on = GroupOptions {
        on_dead_letter: Some(OnDeadLetter::Continue),
        ..GroupOptions::default()
    };
    let refused = |options: &GroupOptions, kind: ErrorKind| {
        let error = scene.group().configure(options).expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
    };
    let drop = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Drop),
        ..GroupOptions::default()
    };
    let unordered = GroupOptions {
        ordering: Some(Order::None),
        ..GroupOptions::default()
    };
    refused(&drop, ErrorKind::InvalidArgument);
    refused(&unordered, ErrorKind::InvalidArgument);
    let made = scene.topic.create_group("h", &holding(Order::None));
    assert_eq!(
        made.err().expect("refused").kind(),
        ErrorKind::InvalidArgument
    );
    scene.send(Some(b"k"), &[b"0", b"1"]);
    assert_eq!(scene.dies(), 0);
    refused(&goes_on, ErrorKind::Busy);
    let other = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Topic("dead".into())),
        ..GroupOptions::default()
    };
    refused(&other, ErrorKind::Busy);
    scene.group().purge_dead_letters(None).expect("purge");
    scene.group().configure(&goes_on).expect("nothing is held");
    assert_eq!(scene.dies(), 1);
    assert_eq!(scene.holding(), 0);
    let made = scene.topic.create_group("g", &holding(Order::Key));
    assert_eq!(made.err().expect("other").kind(), ErrorKind::ConfigMismatch);
}
