//! Deaths and power losses while dead letters are redriven, purged, and die again: at each event a
//! message is dead or redriven, never neither and never both (P12).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::redrives::{Scene, payloads, receipts};
use super::*;
use crate::storage::{Event, Twin, Watcher};
use crate::store::{Message, RedriveOptions};

const NOW: Option<Duration> = Some(Duration::ZERO);
const DAY_MS: u64 = 86_400_000;

/// What was going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Buried,
    Redriving,
    Redriven,
    DyingAgain,
    DeadAgain,
    Purging,
    Purged,
}

const PHASES: [Phase; 7] = [
    Phase::Buried,
    Phase::Redriving,
    Phase::Redriven,
    Phase::DyingAgain,
    Phase::DeadAgain,
    Phase::Purging,
    Phase::Purged,
];

/// Message 0 is redriven and dies again, message 1 is purged; disks that are left at each event. To
/// make a lane is to lay out a window: where that is left out, deaths after each store are looked
/// at.
fn images(lane_is_there: bool) -> Vec<(Phase, Event, Twin)> {
    let twin = Twin::new();
    let scene = Scene::on(&twin);
    scene.bury(&[b"0"]);
    if lane_is_there {
        let none = RedriveOptions {
            limit: Some(0),
            ..RedriveOptions::default()
        };
        assert_eq!(scene.group().redrive(none).expect("none"), 0);
    }
    scene.bury(&[b"1"]);
    let found: Arc<Mutex<Vec<(Phase, Event, Twin)>>> = Arc::default();
    let (into, now) = (found.clone(), Arc::new(AtomicUsize::new(0)));
    let (seed, phase) = (AtomicU64::new(1), now.clone());
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        let phase = PHASES[phase.load(Ordering::SeqCst)];
        let keep = |image: Twin| {
            image.forget_versions();
            into.lock().expect("lock").push((phase, event, image));
        };
        if event != Event::Stored {
            for _ in 0..3 {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                keep(twin.power_loss(seed).expect("image"));
            }
        } else if lane_is_there {
            keep(twin.all_die().expect("image"));
        }
    });
    twin.watch(Some(watcher));
    let enter = |phase: Phase| {
        let place = PHASES.iter().position(|one| *one == phase);
        now.store(place.expect("known"), Ordering::SeqCst);
    };
    let (letters, group) = (scene.letters(), scene.group());
    enter(Phase::Redriving);
    let first = RedriveOptions {
        ids: Some(&[letters[0].message.id()]),
        ..RedriveOptions::default()
    };
    assert_eq!(group.redrive(first).expect("redrive"), 1);
    enter(Phase::Redriven);
    let got = scene.take();
    enter(Phase::DyingAgain);
    scene
        .worker
        .dead_letter(&receipts(&got), "again")
        .expect("bury");
    enter(Phase::DeadAgain);
    assert_eq!(scene.offsets(), [1, 0]);
    enter(Phase::Purging);
    let second = [letters[1].message.id()];
    assert_eq!(group.purge_dead_letters(Some(&second)).expect("purge"), 1);
    enter(Phase::Purged);
    assert_eq!(scene.offsets(), [0]);
    twin.watch(None);
    std::mem::take(&mut *found.lock().expect("lock"))
}

/// Where the two messages are: as letters, with their cycles, and handed out.
fn places(scene: &Scene) -> ([Vec<u32>; 2], [usize; 2]) {
    // What was leased comes back, what was dying is moved.
    let mut got = Vec::new();
    for _ in 0..3 {
        scene.clock.advance_ms(DAY_MS);
        got.extend(scene.take());
        let all = receipts(&got);
        if !all.is_empty() {
            let hour = Duration::from_secs(100 * 86_400);
            scene.worker.extend(&all, hour).expect("extend");
        }
    }
    let (mut dead, mut out) = ([Vec::new(), Vec::new()], [0, 0]);
    for letter in scene.letters() {
        dead[letter.source_offset as usize].push(letter.cycles);
    }
    for one in &got {
        out[one.offset() as usize] += 1;
        assert_eq!(one.payload(), [b'0' + one.offset() as u8]);
    }
    scene.worker.release(&receipts(&got)).expect("release");
    (dead, out)
}

#[test]
fn p12_p17_at_every_event_a_letter_is_dead_or_redriven_never_neither_and_never_both() {
    let images = images(false).into_iter().chain(images(true));
    let (mut losses, mut deaths) = (0, 0);
    let mut seen = std::collections::HashSet::new();
    for (place, (phase, event, image)) in images.enumerate() {
        match event {
            Event::Stored => deaths += 1,
            _ => losses += 1,
        }
        let what = format!("{phase:?}, image {place}, {event:?}");
        let scene = Scene::on(&image);
        let (dead, out) = places(&scene);
        seen.insert((phase, dead.clone(), out));
        let first = (dead[0].as_slice(), out[0]);
        let dies = [(&[0][..], 0), (&[][..], 1), (&[1][..], 0)];
        let good = match phase {
            Phase::Buried => &dies[..1],
            Phase::Redriving => &dies[..2],
            Phase::Redriven => &dies[1..2],
            Phase::DyingAgain => &dies[1..],
            _ => &dies[2..],
        };
        assert!(good.contains(&first), "{what}: message 0 is {first:?}");
        let second = (dead[1].as_slice(), out[1]);
        let good: &[(&[u32], usize)] = match phase {
            Phase::Purged => &[(&[], 0)],
            Phase::Purging => &[(&[0], 0), (&[], 0)],
            _ => &[(&[0], 0)],
        };
        assert!(good.contains(&second), "{what}: message 1 is {second:?}");
        // Whoever comes goes on.
        scene.redrive();
        let rest = scene.take();
        assert_eq!(rest.len(), 1 + out[1].max(dead[1].len()), "{what}");
        scene.worker.ack(&receipts(&rest)).expect("ack");
        let stats = scene.group().stats().expect("stats");
        assert!(
            stats.lag_messages == 0 && scene.letters().is_empty(),
            "{what}"
        );
        drop((rest, scene));
        let scene = Scene::on(&image);
        assert_eq!(places(&scene), Default::default(), "{what}: it came back");
    }
    assert!(
        losses > 60 && deaths > 60,
        "{losses} losses, {deaths} deaths"
    );
    let during = |phase| seen.iter().filter(|one| one.0 == phase).count();
    for phase in [Phase::Redriving, Phase::DyingAgain, Phase::Purging] {
        assert!(during(phase) > 1, "{phase:?}: {seen:?}");
    }
}

/// Another process dies before each of its calls to the disk while this one works on.
#[test]
fn p12_p17_a_process_killed_at_any_step_of_a_redrive_leaves_it_to_the_others() {
    for what in ["redrive", "die again", "purge"] {
        let (mut step, mut done) = (1, false);
        while !done {
            let folder = tempfile::tempdir().expect("folder");
            let store = Store::open(folder.path(), options()).expect("open");
            let topic = store.topic("t", &Default::default()).expect("topic");
            let worker = topic.consumer("g", &Default::default()).expect("g");
            topic.send(&Message::new(b"0")).expect("send");
            let got = worker.receive(1, NOW).expect("receive");
            worker.dead_letter(&receipts(&got), "no use").expect("bury");
            let mut actor = Actor::start(&format!("changes {step} {what}"), folder.path());
            assert_eq!(actor.hear(), "opened");
            actor.go();
            let mut said = String::new();
            let _ = std::io::Read::read_to_string(&mut actor.lines, &mut said);
            actor.process.wait().expect("wait");
            done = said.contains("@done");
            let group = topic.group("g").expect("group");
            // What it had, and was dying, is for the others: at once, and after a moment.
            let mut found = (0, 0);
            until("it is somewhere", || {
                let got = worker.receive(9, NOW).expect("receive");
                let all = receipts(&got);
                let letters = group.dead_letters(9).expect("letters");
                found = (letters.len(), got.len());
                assert!(got.iter().all(|one| one.payload() == b"0"));
                worker.ack(&all).expect("ack");
                let stats = group.stats().expect("stats");
                found != (0, 0) || stats.purged == 1 || (done && what == "purge")
            });
            let stats = group.stats().expect("stats");
            match what {
                "purge" => assert_eq!(found.0 as u64 + stats.purged, 1, "step {step}"),
                _ => assert_eq!(found.0 + found.1, 1, "{what} step {step}: {found:?}"),
            }
            if done && what == "die again" {
                assert_eq!(group.dead_letters(9).expect("letters")[0].cycles, 1);
            }
            step += 1;
            assert!(step < 100, "{what}: no end");
        }
        assert!(step > 3, "{what}: died at {step} steps only");
    }
}

/// A batch of what was redriven and what is fresh, of which one is started.
#[test]
fn p10_a_death_with_a_batch_of_both_is_charged_for_what_was_started_only() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let worker = topic.consumer("g", &Default::default()).expect("g");
    topic.send(&Message::new(b"0")).expect("send");
    let got = worker.receive(1, NOW).expect("receive");
    worker.dead_letter(&receipts(&got), "no use").expect("bury");
    let group = topic.group("g").expect("group");
    assert_eq!(
        group.redrive(RedriveOptions::default()).expect("redrive"),
        1
    );
    topic.send(&Message::new(b"1")).expect("send");
    let mut actor = Actor::start("starts-redriven", folder.path());
    assert_eq!(actor.hear(), "started 0");
    assert!(worker.receive(9, NOW).expect("receive").is_empty());
    actor.kill();
    let got = worker.receive(9, Some(BOUND)).expect("receive");
    assert_eq!(
        payloads(&got),
        [b"1"],
        "what was started waits for its backoff"
    );
    let stats = group.stats().expect("stats");
    assert_eq!((stats.delayed, stats.failed), (1, 2), "charged once");
    let got = worker.receive(9, Some(BOUND)).expect("receive");
    assert_eq!((payloads(&got), got[0].attempt()), (vec![&b"0"[..]], 3));
}
