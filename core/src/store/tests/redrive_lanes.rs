//! A redrive lane beside its group: other groups, waking, descriptors, leases, pausing, deleting,
//! damage.

use super::redrives::{Scene, payloads, receipts};
use super::*;
use crate::format::control::block as words;
use crate::format::names;
use crate::options::{DeadLetter, GroupOptions};
use crate::shm::EventCount;
use crate::storage::Twin;
use crate::store::{Consumer, ConsumerOptions, Message, RedriveOptions, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn p13_letters_of_two_groups_in_one_topic_are_told_apart() {
    let scene = Scene::new();
    let options = || ConsumerOptions {
        group: GroupOptions {
            dead_letter_topic: Some(DeadLetter::Topic("d".into())),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    };
    let workers = ["a", "b"].map(|name| scene.topic.consumer(name, &options()).expect("consumer"));
    scene.send(&[b"0", b"1"]);
    for _ in 0..2 {
        for worker in &workers {
            let got = worker.receive(1, NOW).expect("receive");
            worker.dead_letter(&receipts(&got), "no use").expect("bury");
        }
    }
    let [a, b] = ["a", "b"].map(|name| scene.topic.group(name).expect("group"));
    let of_b = b.dead_letters(9).expect("letters")[0].message.id();
    let named = RedriveOptions {
        ids: Some(&[of_b]),
        ..RedriveOptions::default()
    };
    assert_eq!(
        a.redrive(named).expect_err("another's").refused_places(),
        [0]
    );
    assert_eq!(a.redrive(RedriveOptions::default()).expect("redrive"), 2);
    assert_eq!(b.dead_letters(9).expect("letters").len(), 2);
    assert!(workers[1].receive(9, NOW).expect("b").is_empty());
    let got = workers[0].receive(9, NOW).expect("a");
    assert_eq!(payloads(&got), [b"0", b"1"]);
    let stale = workers[1].ack(&receipts(&got)).expect_err("another's");
    assert_eq!(stale.stale_places(), [0, 1]);
    workers[0].ack(&receipts(&got)).expect("ack");
    let topic = scene.store.open_topic("d").expect("topic");
    assert!(
        topic.groups().expect("groups").is_empty(),
        "lanes are no groups"
    );
    let lane = names::redrive_lane(a.inner.uid);
    let error = topic.group(&lane).map(drop).expect_err("reserved");
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert!(topic.consumer(&lane, &Default::default()).is_err());
}

#[test]
fn p10_a_redrive_wakes_who_sleeps_and_what_becomes_ready_in_the_lane_does_too() {
    let scene = Scene::new();
    let other = scene.topic.consumer("g", &Default::default()).expect("g");
    scene.bury(&[b"0"]);
    let wakes = |what: &dyn Fn()| {
        let event = other.group.block.head.word32(words::EVENT);
        let token = EventCount::prepare(event);
        what();
        EventCount::wait(event, token, Duration::ZERO)
    };
    assert!(
        wakes(&|| assert_eq!(scene.redrive(), 1)),
        "slept through it"
    );
    let got = scene.take();
    let release = || scene.worker.release(&receipts(&got)).expect("release");
    assert!(wakes(&release), "slept through a release");
    assert_eq!(scene.take().len(), 1);
    assert!(
        wakes(&|| scene.worker.close().expect("close")),
        "slept through a close"
    );
    let got = other.receive(9, NOW).expect("receive");
    assert_eq!((payloads(&got), got[0].attempt()), (vec![&b"0"[..]], 4));
}

#[test]
fn p12_p17_a_lane_in_which_a_death_left_something_uncounted_is_repaired_and_not_passed_over() {
    let scene = Scene::new();
    scene.bury(&[b"0"]);
    assert_eq!(scene.redrive(), 1);
    let lane = scene.worker.group.lane().expect("lane").expect("made");
    lane.with_window(0, |window| {
        window.forget_ready();
        panic!("dies here");
    })
    .map(|()| "lives")
    .expect_err("the lock is left behind");
    assert!(!lane.is_idle(0));
    let got = scene.take();
    assert_eq!(payloads(&got), [b"0"]);
    assert!(!lane.is_idle(0), "it is out");
    scene.worker.ack(&receipts(&got)).expect("ack");
    assert!(lane.is_idle(0));
}

#[test]
fn a_descriptor_is_readable_while_something_that_was_redriven_may_be_received() {
    let scene = Scene::new();
    let watched = |worker: &Consumer| {
        use std::os::fd::AsFd;
        let fd = worker.fd().expect("fd");
        let fd = fd.as_fd().try_clone_to_owned().expect("clone");
        move |within: Duration| {
            let mut one = [rustix::event::PollFd::new(
                &fd,
                rustix::event::PollFlags::IN,
            )];
            let within = rustix::event::Timespec::try_from(within).expect("time");
            rustix::event::poll(&mut one, Some(&within)).expect("poll") > 0
        }
    };
    scene.bury(&[b"0"]);
    let readable = watched(&scene.worker);
    assert!(scene.take().is_empty() && !readable(Duration::ZERO));
    assert_eq!(scene.redrive(), 1);
    assert!(readable(BOUND), "nobody is told");
    let got = scene.take();
    assert!(scene.take().is_empty() && !readable(Duration::ZERO));
    scene
        .worker
        .nack(&receipts(&got), Some(DAY), None)
        .expect("nack");
    assert!(!readable(Duration::ZERO));
    scene.clock.advance_ms(DAY.as_millis() as u64 + 1);
    scene.worker.stir_watch();
    assert!(readable(BOUND), "not for what fell due");
}

#[test]
fn p9_leases_of_redriven_messages_are_extended_handed_back_and_drained_as_others() {
    let scene = Scene::new();
    let changes = GroupOptions {
        max_lease: Some(Duration::from_secs(60)),
        ..GroupOptions::default()
    };
    scene.group().configure(&changes).expect("configure");
    let worker = scene.topic.consumer("g", &Default::default()).expect("g");
    scene.bury(&[b"0", b"1"]);
    assert_eq!(scene.redrive(), 2);
    let got = worker.receive(2, NOW).expect("receive");
    worker
        .extend(&receipts(&got), Duration::from_secs(50))
        .expect("extend");
    let error = worker.extend(&receipts(&got), Duration::from_secs(61));
    assert_eq!(error.expect_err("beyond").refused_places(), [0, 1]);
    scene.clock.advance_ms(49_000);
    assert!(scene.take().is_empty(), "extended");
    assert_eq!(
        worker.drain(NOW).expect_err("two are out").kind(),
        ErrorKind::Timeout
    );
    let consumers = scene.group().consumers().expect("consumers");
    let leased: u64 = consumers.iter().map(|one| one.leased).sum();
    assert_eq!((consumers.len(), leased), (2, 2), "no rows of its own");
    worker.ack(&receipts(&got[..1])).expect("ack");
    worker.close().expect("close");
    let again = scene.take();
    assert_eq!((payloads(&again), again[0].attempt()), (vec![&b"1"[..]], 3));
    let stale = worker.group.lane().expect("lane").is_some();
    assert!(stale && scene.worker.ack(&receipts(&got)).is_err());
}

#[test]
fn by_the_id_of_its_letter_a_redriven_message_is_settled_delayed_and_given_up_by_hand() {
    let scene = Scene::new();
    scene.bury(&[b"0", b"1", b"2"]);
    let (ids, group) = (scene.letter_ids(), scene.group());
    let other = group.settle(ids[0]).expect_err("there is no lane");
    assert_eq!(other.kind(), ErrorKind::InvalidArgument);
    let two = RedriveOptions {
        ids: Some(&ids[..2]),
        ..RedriveOptions::default()
    };
    assert_eq!(group.redrive(two).expect("redrive"), 2);
    let error = group.settle(ids[2]).expect_err("dead");
    assert!(error.message().contains("redrive"), "{error}");
    group.settle(ids[0]).expect("settle");
    group.delay(ids[1], Duration::from_secs(9)).expect("delay");
    assert!(scene.take().is_empty());
    group.dead_letter(ids[1], "by hand").expect("dead letter");
    let letters = scene.letters();
    let told: Vec<_> = letters
        .iter()
        .map(|one| (one.source_offset, one.cycles))
        .collect();
    assert_eq!(told, [(2, 0), (1, 1)]);
}

#[test]
fn a_pause_holds_for_what_was_redriven_and_a_life_later_it_is_still_there() {
    let twin = Twin::new();
    let scene = Scene::on(&twin);
    scene.bury(&[b"0", b"1"]);
    let group = scene.group();
    group.pause().expect("pause");
    let one = RedriveOptions {
        limit: Some(1),
        ..RedriveOptions::default()
    };
    assert_eq!(group.redrive(one).expect("redrive"), 1);
    assert!(scene.take().is_empty(), "paused");
    drop((group, scene));
    let scene = Scene::on(&twin);
    assert!(scene.take().is_empty(), "paused");
    assert_eq!(scene.offsets(), [1]);
    scene.group().resume().expect("resume");
    let got = scene.take();
    assert_eq!(payloads(&got), [b"0"]);
    got[0].start();
    drop((got, scene));
    // Nobody closed its consumer's leases but the store did: handed out, and not charged.
    let scene = Scene::on(&twin);
    assert_eq!(payloads(&scene.take()), [b"0"]);
}

#[test]
fn a_group_that_is_deleted_takes_its_lane_along_and_one_that_has_any_out_keeps_its_letters_topic() {
    let twin = Twin::new();
    let scene = Scene::on(&twin);
    let there = |of: &Topic| {
        let folder = of.inner.folder.join(names::GROUPS);
        of.inner
            .store
            .env
            .storage
            .list(&folder)
            .expect("list")
            .len()
    };
    scene.bury(&[b"0"]);
    assert_eq!(scene.redrive(), 1);
    assert_eq!(there(&scene.dlq()), 1);
    let elsewhere = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Topic("e".into())),
        ..GroupOptions::default()
    };
    let error = scene.group().configure(&elsewhere).expect_err("one is out");
    assert_eq!(error.kind(), ErrorKind::Busy);
    scene.worker.ack(&receipts(&scene.take())).expect("ack");
    scene.group().configure(&elsewhere).expect("configure");
    scene.bury(&[b"1"]);
    assert_eq!(scene.redrive(), 1);
    assert_eq!(payloads(&scene.take()), [b"1"]);
    let other = scene.store.open_topic("e").expect("topic");
    assert_eq!(there(&other), 1);
    scene.group().delete().expect("delete");
    assert_eq!(there(&other), 0, "the lane is left");
    // That of its former topic goes when the topic is opened next.
    drop((other, scene));
    let scene = Scene::on(&twin);
    assert_eq!(there(&scene.dlq()), 0, "the lane is left");
}

#[test]
fn p3_a_damaged_letter_is_told_of_and_keeps_none_behind_it() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let worker = topic.consumer("g", &Default::default()).expect("g");
    for payload in [&b"damaged"[..], b"1"] {
        topic.send(&Message::new(payload)).expect("send");
    }
    let got = worker.receive(2, NOW).expect("receive");
    worker.dead_letter(&receipts(&got), "no use").expect("bury");
    let letters = names::topic_folder(folder.path(), "t.g.dlq");
    let file = names::partition_folder(&letters, 0).join(names::segment(0));
    let bytes = std::fs::read(&file).expect("read");
    let at = bytes
        .windows(7)
        .position(|seven| seven == b"damaged")
        .expect("payload");
    let open = std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .expect("file");
    std::os::unix::fs::FileExt::write_all_at(&open, b"D", at as u64).expect("write");
    let group = topic.group("g").expect("group");
    let error = group
        .redrive(RedriveOptions::default())
        .expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().starts_with("1 dead letters"), "{error}");
    assert_eq!(payloads(&worker.receive(9, NOW).expect("receive")), [b"1"]);
    assert_eq!(group.stats().expect("stats").damaged, 1);
    assert_eq!(
        group.redrive(RedriveOptions::default()).expect("told once"),
        0
    );
}

#[test]
fn more_letters_than_a_new_window_has_room_for_are_redriven_all_the_same() {
    let scene = Scene::new();
    for _ in 0..30 {
        let hundred = [&b"x"[..]; 99];
        scene.bury(&hundred);
    }
    let lane = || scene.group().inner.lane().expect("lane");
    assert!(lane().is_none());
    assert_eq!(scene.redrive(), 2970);
    assert!(lane().is_some());
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let got = scene.take();
        if got.is_empty() {
            break;
        }
        seen.extend(got.iter().map(|one| one.offset()));
        scene.worker.ack(&receipts(&got)).expect("ack");
    }
    assert_eq!(seen.len(), 2970);
    assert_eq!(scene.group().stats().expect("stats").lag_messages, 0);
}
