//! Deaths and power losses at every event of sends under ids and by a producer: whoever sends all
//! of it again has each message once, under the ids that were returned (P8).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::dedup::{all, clock, store_on};
use super::*;
use crate::options::DedupWindow;
use crate::storage::{Event, Twin, Watcher};
use crate::store::{Message, MessageId, Producer};
use crate::{Durability, TopicOptions};

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// The ids that were returned, by what was sent: dedup ids, then sequences.
type Returned = std::collections::BTreeMap<String, MessageId>;

fn options_of(durability: Durability) -> TopicOptions {
    TopicOptions {
        partitions: Some(2),
        durability: Some(durability),
        dedup_window: Some(DedupWindow::UntilSettled),
        ..TopicOptions::default()
    }
}

fn large() -> String {
    "g".repeat(40_000)
}

/// The payloads that are there when all was sent, each once; the two large ones are alike.
fn once() -> Vec<String> {
    let small = ["1", "2", "3", "4", "a", "b", "c", "d", "e", "f"];
    let mut all: Vec<String> = small.map(str::to_owned).to_vec();
    all.extend([large(), large()]);
    all
}

/// All sends of the history, or all of it again; each with its text as payload.
fn send_all(
    topic: &Topic,
    producer: &Producer,
    mut told: impl FnMut(&str, MessageId),
) -> Result<()> {
    for (number, id) in (1_u64..).zip(IDS) {
        let one = Message::new(id.as_bytes()).dedup_id(id.as_bytes());
        told(id, topic.send(&one)?);
        let text = number.to_string();
        told(
            &text,
            producer.send(&Message::new(text.as_bytes()), Some(number))?,
        );
    }
    // One that is copied without the append lock.
    let large = large();
    let one = Message::new(large.as_bytes()).dedup_id(b"g");
    told("g", topic.send(&one)?);
    told(
        "5",
        producer.send(&Message::new(large.as_bytes()), Some(5))?,
    );
    let pair = ["e", "f"];
    let batch = pair.map(|id| {
        Message::new(id.as_bytes())
            .dedup_id(id.as_bytes())
            .key(id.as_bytes())
    });
    for (id, sent) in pair.iter().zip(topic.send_many(&batch)?) {
        told(id, sent);
    }
    Ok(())
}

/// Sends all of it again: each message is there once, and what was returned is what it was.
fn check(store: &Store, returned: Option<&Returned>, what: &str) {
    let topic = store.open_topic("t").expect("topic");
    let producer = topic.producer("p").expect("producer");
    let last = producer.last_sequence().expect("last");
    let mut found = Returned::new();
    for round in 0..2 {
        let sent = send_all(&topic, &producer, |text, id| {
            let before = found.insert(text.to_owned(), id);
            assert!(
                before.is_none_or(|before| before == id),
                "{what}: {text} in round {round}"
            );
        });
        sent.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert!(
        all(&topic) == once(),
        "{what}: {} messages",
        all(&topic).len()
    );
    for (text, id) in returned.into_iter().flatten() {
        assert_eq!(found.get(text), Some(id), "{what}: {text}");
    }
    let sequences = |text: &String| text.parse::<u64>().ok();
    let known = returned
        .into_iter()
        .flat_map(|all| all.keys().filter_map(sequences))
        .max();
    assert!(last >= known.unwrap_or(0), "{what}: {last} of {known:?}");
}

/// What is left at one event: opened, sent to again, killed, and opened once more.
fn check_image(image: &Twin, durability: Durability, returned: &Returned, what: &str) {
    image.forget_versions();
    let promised = image.is_here() || durability == Durability::Sync;
    let store = store_on(image, &clock());
    check(&store, promised.then_some(returned), what);
    store.die();
    check(&store_on(image, &clock()), None, what);
}

#[test]
fn p8_p17_at_every_event_what_is_sent_again_is_there_once() {
    for durability in [Durability::Process, Durability::Sync] {
        let (twin, clock) = (Twin::new(), clock());
        let store = store_on(&twin, &clock);
        let topic = store.topic("t", &options_of(durability)).expect("topic");
        let returned: Arc<Mutex<Returned>> = Arc::default();
        let (known, events) = (returned.clone(), AtomicU64::new(0));
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = counts.clone();
        let failed: Arc<Mutex<Option<String>>> = Arc::default();
        let tell = failed.clone();
        let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
            let draw = events.fetch_add(1, Ordering::Relaxed);
            if tell.lock().expect("lock").is_some() {
                return;
            }
            let returned = known.lock().expect("lock").clone();
            let look = |image: Twin| {
                let what = format!("{durability:?}, event {draw}, {event:?}");
                counted[usize::from(image.is_here())].fetch_add(1, Ordering::Relaxed);
                let work = || check_image(&image, durability, &returned, &what);
                // Told at the end: a panic here would end the process, if it is in the middle of
                // giving a lock back.
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    tell.lock().expect("lock").get_or_insert(what.clone());
                }
            };
            if event != Event::Stored {
                let losses = (0..2).map(|turn| twin.power_loss(draw * 2 + turn));
                losses.for_each(|image| look(image.expect("image")));
            } else if draw % 2 == 0 {
                look(twin.all_die().expect("image"));
                look(twin.power_loss(draw).expect("image"));
            }
        });
        twin.watch(Some(watcher));
        let producer = topic.producer("p").expect("producer");
        send_all(&topic, &producer, |text, id| {
            returned.lock().expect("lock").insert(text.to_owned(), id);
        })
        .expect("send");
        // And a mark in the middle, and a clean close.
        topic.inner.tables.tend_now_in_test();
        send_all(&topic, &producer, |_, _| ()).expect("send");
        drop((topic, producer));
        store.close().expect("close");
        twin.watch(None);
        assert_eq!(*failed.lock().expect("lock"), None, "the first that failed");
        let [losses, deaths] = [0, 1].map(|kind| counts[kind].load(Ordering::Relaxed));
        assert!(
            deaths > 40 && losses > 200,
            "{deaths} deaths, {losses} losses"
        );
    }
}

/// At each store a process dies in the middle of the sends, and another one that has the same
/// store open sends all of it again.
#[test]
fn p8_p17_a_death_at_any_store_leaves_the_rest_to_those_who_live_on() {
    let (mut step, mut died) = (1, true);
    let mut inside = 0;
    while died {
        let (twin, clock) = (Twin::new(), clock());
        let store = store_on(&twin, &clock);
        let topic = store
            .topic("t", &options_of(Durability::Process))
            .expect("topic");
        let producer = topic.producer("p").expect("producer");
        // So that files are there, and what is looked at is the sends.
        topic
            .send(&Message::new(b"0").dedup_id(b"0"))
            .expect("send");
        let zero = |topic: &Topic| topic.send(&Message::new(b"0").dedup_id(b"0"));
        let other = store_on(&twin, &clock);
        let theirs = other.open_topic("t").expect("topic");
        zero(&theirs).expect("send");
        let returned: Arc<Mutex<Returned>> = Arc::default();
        let (dying, known) = (store.clone(), returned.clone());
        let (left, done) = (AtomicUsize::new(step), Arc::new(AtomicUsize::new(0)));
        let told = done.clone();
        let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
            if event != Event::Stored || left.fetch_sub(1, Ordering::SeqCst) != 1 {
                return;
            }
            twin.watch(None);
            dying.die();
            let known = known.lock().expect("lock").clone();
            let checked = catch_unwind(AssertUnwindSafe(|| check_beside_zero(&other, &known)));
            told.store(if checked.is_ok() { 1 } else { 2 }, Ordering::SeqCst);
        });
        twin.watch(Some(watcher));
        // What the dead one does afterwards is of no interest.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            send_all(&topic, &producer, |text, id| {
                returned.lock().expect("lock").insert(text.to_owned(), id);
            })
        }));
        twin.watch(None);
        let done = done.load(Ordering::SeqCst);
        assert_ne!(done, 2, "a death at store {step}");
        died = done == 1;
        inside += usize::from(died);
        step += 1;
    }
    assert!(inside > 90, "{inside} deaths");
}

fn check_beside_zero(store: &Store, returned: &Returned) {
    let topic = store.open_topic("t").expect("topic");
    let producer = topic.producer("p").expect("producer");
    let mut found = Returned::new();
    for _ in 0..2 {
        send_all(&topic, &producer, |text, id| {
            let before = found.insert(text.to_owned(), id);
            assert!(before.is_none_or(|before| before == id), "{text}");
        })
        .expect("send");
    }
    let mut expected = once();
    expected.insert(0, "0".to_owned());
    assert!(all(&topic) == expected, "{} messages", all(&topic).len());
    for (text, id) in returned {
        assert_eq!(found.get(text), Some(id), "{text}");
    }
}

/// What the other process does: 800 ids, for which a second table is made, and a producer.
pub(super) fn sends_unique(topic: &Topic) -> Result<()> {
    let dedup_window = Some(DedupWindow::UntilSettled);
    topic.configure(&TopicOptions {
        dedup_window,
        ..TopicOptions::default()
    })?;
    let producer = topic.producer("p")?;
    for number in 0..800_u64 {
        let text = number.to_string();
        topic.send(&Message::new(text.as_bytes()).dedup_id(text.as_bytes()))?;
        if number % 100 == 0 {
            let text = format!("p{number}");
            producer.send(&Message::new(text.as_bytes()), Some(number + 1))?;
        }
    }
    Ok(())
}

#[test]
fn p8_p17_a_process_killed_at_any_step_leaves_the_rest_to_the_others() {
    let died = super::group_changes::at_each_step("unique", |path, _store, topic, _group| {
        for _ in 0..2 {
            sends_unique(topic).expect("send");
        }
        let mut once: Vec<String> = (0..800).map(|number| number.to_string()).collect();
        once.extend((0..8).map(|number| format!("p{}", number * 100)));
        // What the store was prepared with.
        once.extend(["0", "1", "2"].map(str::to_owned));
        once.sort();
        assert_eq!(all(topic), once);
        let other = Store::open(path, options()).expect("open");
        let theirs = other.open_topic("t").expect("topic");
        sends_unique(&theirs).expect("send");
        assert_eq!(all(topic), once);
    });
    assert!(died > 20, "{died} deaths");
}
