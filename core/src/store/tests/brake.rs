//! The brake of a group of which too many messages die.

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::options::{Brake, DeadLetter, GroupOptions, OnExpired};
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Group, Message, PausedBy, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const MOST: u32 = 3;
const WITHIN_MS: u64 = 60_000;

fn braked() -> GroupOptions {
    GroupOptions {
        brake: Some(Brake {
            messages: MOST,
            within: Duration::from_millis(WITHIN_MS),
        }),
        on_expired: Some(OnExpired::DeadLetter),
        ..GroupOptions::default()
    }
}

/// A group with a brake, in a store whose clocks the test sets.
struct Scene {
    twin: Twin,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
    worker: Consumer,
    group: Group,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN_NS, 1_000_000));
        Self::open(Twin::new(), clock)
    }

    fn open(twin: Twin, clock: Arc<ManualClock>) -> Self {
        let (store, topic) = open_by(&twin, &clock);
        let with = ConsumerOptions {
            group: braked(),
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer("g", &with).expect("consumer");
        let group = topic.group("g").expect("group");
        Self {
            twin,
            clock,
            store,
            topic,
            worker,
            group,
        }
    }

    /// All leave, and one comes back.
    fn reopen(self) -> Self {
        let Self {
            twin, clock, store, ..
        } = self;
        drop((self.worker, self.group, self.topic));
        store.close().expect("close");
        Self::open(twin, clock)
    }

    /// Sends one and has it die; whether it was handed out.
    fn one_dies(&self) -> bool {
        self.topic.send(&Message::new(b"x")).expect("send");
        let got = self.worker.receive(1, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        self.worker.dead_letter(&receipts, "no").expect("dies");
        !receipts.is_empty()
    }

    fn die(&self, count: u32) {
        (0..count).for_each(|one| assert!(self.one_dies(), "{one} of {count}"));
    }

    fn paused_by(&self) -> PausedBy {
        let stats = self.group.stats().expect("stats");
        assert_eq!(stats.paused, stats.paused_by != PausedBy::Nobody);
        assert_eq!(stats.paused, stats.paused_at_ns != 0);
        assert_eq!(stats.paused, self.group.is_paused().expect("paused"));
        stats.paused_by
    }
}

#[test]
fn p12_one_death_more_than_the_brake_allows_pauses_the_group_for_all_and_for_good() {
    let scene = Scene::new();
    scene.die(MOST);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
    let at = scene.group.stats().expect("stats").paused_at_ns;
    assert_eq!(at, scene.clock.wall_ns());
    assert!(!scene.one_dies(), "nothing is handed out");
    // To pause what the brake has paused changes nothing.
    scene.group.pause().expect("pause");
    let scene = scene.reopen();
    assert_eq!(scene.paused_by(), PausedBy::Brake);
    let kept = scene.group.stats().expect("stats");
    assert_eq!(kept.paused_at_ns, at, "when it was is kept");
    assert_eq!(kept.dead_lettered, u64::from(MOST) + 1);
    scene.group.resume().expect("resume");
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    // What died before counts no more, in no life.
    scene.die(2);
    let scene = scene.reopen();
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
}

#[test]
fn p12_the_time_of_the_brake_slides() {
    let scene = Scene::new();
    for _ in 0..5 {
        scene.die(MOST);
        scene.clock.advance_ms(WITHIN_MS + 1);
    }
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    scene.die(2);
    scene.clock.advance_ms(WITHIN_MS / 2);
    scene.die(1);
    scene.clock.advance_ms(WITHIN_MS / 2 + 1);
    scene.die(2);
    assert_eq!(scene.paused_by(), PausedBy::Nobody, "3 in the last minute");
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
}

#[test]
fn p12_a_pause_by_hand_is_told_apart_and_what_died_before_it_ended_does_not_count() {
    let scene = Scene::new();
    scene.die(MOST);
    scene.group.pause().expect("pause");
    assert_eq!(scene.paused_by(), PausedBy::User);
    scene.group.resume().expect("resume");
    scene.die(MOST);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
}

#[test]
fn p12_messages_that_only_came_too_late_do_not_count_for_the_brake() {
    let scene = Scene::new();
    for _ in 0..2 * MOST {
        let late = Message::new(b"late").ttl(Duration::from_millis(1));
        scene.topic.send(&late).expect("send");
    }
    scene.clock.advance_ms(10);
    assert!(scene.worker.receive(9, NOW).expect("receive").is_empty());
    assert_eq!(scene.group.dead_letters(99).expect("letters").len(), 6);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
}

#[test]
fn p12_letters_of_others_in_a_shared_topic_do_not_count_for_the_brake() {
    let scene = Scene::new();
    let shared = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Topic("dead".into())),
        ..GroupOptions::default()
    };
    scene.group.configure(&shared).expect("configure");
    let with = ConsumerOptions {
        group: shared,
        ..ConsumerOptions::default()
    };
    let other = scene.topic.consumer("other", &with).expect("consumer");
    scene.die(MOST);
    let got = other.receive(9, NOW).expect("receive");
    let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
    assert_eq!(receipts.len(), MOST as usize);
    other.dead_letter(&receipts, "no").expect("dies");
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
}

#[test]
fn p12_a_brake_is_configured_taken_off_and_refused_where_no_letters_are_kept() {
    let scene = Scene::new();
    let off = GroupOptions {
        brake: Some(Brake::NONE),
        ..GroupOptions::default()
    };
    let drop = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Drop),
        ..GroupOptions::default()
    };
    let both = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Drop),
        ..braked()
    };
    let refused = |error: crate::Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains("take the brake off"), "{error}");
    };
    refused(scene.group.configure(&drop).expect_err("contradicts"));
    let made = scene.topic.create_group("h", &both);
    refused(made.err().expect("contradicts"));
    scene.group.configure(&off).expect("off");
    assert_eq!(scene.group.config().brake, None);
    scene.die(3 * MOST);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    let made = scene.topic.create_group("g", &braked());
    assert_eq!(made.err().expect("other").kind(), ErrorKind::ConfigMismatch);
    scene.topic.create_group("g", &off).expect("agrees");
    // Set again it counts at the next death, whoever had died between a move and the pause.
    scene.group.configure(&braked()).expect("on");
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
    for (messages, within) in [(10_001, 1), (1, 0)] {
        let within = Duration::from_millis(within);
        let wrong = GroupOptions {
            brake: Some(Brake { messages, within }),
            ..GroupOptions::default()
        };
        let error = scene.group.configure(&wrong).expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

#[test]
fn p12_who_opens_a_group_with_messages_that_are_dying_brakes_it() {
    let scene = Scene::new();
    scene.die(MOST);
    scene.topic.send(&Message::new(b"x")).expect("send");
    assert_eq!(scene.worker.receive(1, NOW).expect("receive").len(), 1);
    // It fails for the last time in a process that dies before it moves it.
    let inner = &scene.group.inner;
    inner
        .with_window(0, |window| window.give_up(u64::from(MOST), 1, 1, 1))
        .expect("window");
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
    let scene = scene.reopen();
    scene.clock.advance_ms(1_000);
    assert!(scene.worker.receive(1, NOW).expect("receive").is_empty());
    assert_eq!(scene.paused_by(), PausedBy::Brake);
}

#[test]
fn p12_a_group_made_anew_under_the_name_counts_no_letters_of_the_one_before() {
    let scene = Scene::new();
    scene.die(MOST);
    scene.group.delete().expect("delete");
    let with = ConsumerOptions {
        group: GroupOptions {
            start: Some(crate::Start::Latest),
            ..braked()
        },
        ..ConsumerOptions::default()
    };
    let worker = scene.topic.consumer("g", &with).expect("consumer");
    let group = scene.topic.group("g").expect("group");
    let scene = Scene {
        worker,
        group,
        ..scene
    };
    scene.die(MOST);
    assert_eq!(scene.paused_by(), PausedBy::Nobody);
}

#[test]
fn p12_a_wall_clock_that_jumps_never_pauses_a_group_twice_for_the_same_deaths() {
    for wall in [
        BEGIN_NS + 5 * HOUR_NS,
        BEGIN_NS - 5 * HOUR_NS,
        BEGIN_NS + 100_000 * HOUR_NS,
        0,
        -HOUR_NS,
        i64::MAX,
        i64::MIN,
    ] {
        let scene = Scene::new();
        scene.die(2);
        scene.clock.set_wall_ns(wall);
        scene.die(1);
        scene.clock.set_wall_ns(BEGIN_NS + 2 * HOUR_NS);
        while scene.paused_by() == PausedBy::Nobody {
            scene.die(1);
        }
        // Times of letters never fall: those that follow are of the time of the jump.
        for round in 0..3 {
            scene.group.resume().expect("resume");
            let text = format!("wall {wall}, round {round}");
            scene.die(MOST);
            assert_eq!(scene.paused_by(), PausedBy::Nobody, "{text}");
            scene.die(1);
            assert_eq!(scene.paused_by(), PausedBy::Brake, "{text}");
        }
    }
}

#[test]
fn p5_p12_a_pause_that_fails_is_told_costs_no_letter_and_is_made_up_for() {
    let scene = Scene::new();
    scene.die(MOST);
    scene.topic.send(&Message::new(b"x")).expect("send");
    let got = scene.worker.receive(1, NOW).expect("receive");
    scene.twin.fail(crate::storage::Fault::Name, 1);
    let done = scene.worker.dead_letter(&[got[0].receipt()], "no");
    scene.twin.heal();
    let error = done.expect_err("group.meta keeps its name");
    assert!(error.to_string().contains("its brake allows"), "{error}");
    let stats = scene.group.stats().expect("stats");
    assert_eq!((stats.dead_lettered, stats.paused), (4, false));
    scene.die(1);
    assert_eq!(scene.paused_by(), PausedBy::Brake);
}

#[test]
fn p12_what_dies_in_any_process_counts_once_and_slides_out_of_the_time_for_all() {
    let one = Scene::new();
    let other = Scene::open(one.twin.clone(), one.clock.clone());
    let half = WITHIN_MS / 2 + 1;
    one.die(2);
    other.clock.advance_ms(half);
    other.die(1);
    // The first two are too long ago by now.
    other.clock.advance_ms(half);
    one.die(1);
    other.die(1);
    assert_eq!(one.paused_by(), PausedBy::Nobody, "three in the time");
    other.die(1);
    assert_eq!(one.paused_by(), PausedBy::Brake, "four");
    one.group.resume().expect("resume");
    one.die(2);
    other.die(1);
    assert_eq!(other.paused_by(), PausedBy::Nobody, "three since then");
    one.die(1);
    assert_eq!(other.paused_by(), PausedBy::Brake);
}
