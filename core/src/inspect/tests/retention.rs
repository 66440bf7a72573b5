//! What retention took is no damage, at whatever place it was stopped, or goes on meanwhile.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::clock::ManualClock;
use crate::storage::{Event, Twin, Watcher};
use crate::store::World;
use crate::{Delivery, GroupOptions};

const STORE: &str = "/store";

fn opened(twin: &Twin) -> (Store, Topic) {
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: Arc::new(ManualClock::new(1_000, 1_000_000)),
        housekeeping: false,
    };
    let options = StoreOptions::default();
    let store = Store::open_in(&world, Path::new(STORE), &options).expect("open");
    let topic = topic(&store, "t");
    (store, topic)
}

/// Twelve messages in three segments, ten of which the group has settled.
fn settled(topic: &Topic) {
    let options = GroupOptions::default();
    topic.create_group("g", &options).expect("group");
    for number in 0..12_u8 {
        send(topic, "key", &vec![number; 300_000]);
    }
    let options = ConsumerOptions::default();
    let worker = topic.consumer("g", &options).expect("consumer");
    for _ in 0..10 {
        let got = worker.receive(1, Some(Duration::ZERO)).expect("receive");
        let receipts: Vec<_> = got.iter().map(Delivery::receipt).collect();
        worker.ack(&receipts).expect("ack");
    }
    worker.close().expect("close");
}

fn on_disk(image: &Twin) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    image
        .copy_to(Path::new(STORE), folder.path())
        .expect("copy");
    folder
}

#[test]
fn p3_p15_a_store_in_which_retention_was_stopped_anywhere_is_intact() {
    let twin = Twin::new();
    let (store, topic) = opened(&twin);
    settled(&topic);
    topic.sync().expect("sync");
    let found: Arc<Mutex<Vec<Twin>>> = Arc::default();
    let into = found.clone();
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        if event == Event::Stored {
            return;
        }
        let mut into = into.lock().expect("lock");
        into.push(twin.all_die().expect("image"));
        for seed in 1..6 {
            into.push(twin.power_loss(seed).expect("image"));
        }
    });
    twin.watch(Some(watcher));
    store.inner().expect("open").retain_now().expect("retain");
    twin.watch(None);
    let images = std::mem::take(&mut *found.lock().expect("lock"));
    let mut counts = std::collections::BTreeSet::new();
    for (number, image) in images.iter().enumerate() {
        let folder = on_disk(image);
        let report = quietly(folder.path());
        assert!(report.is_intact(), "{number}: {report:?}");
        counts.insert(report.messages);
        if number % 7 == 0 {
            let into = tempfile::tempdir().expect("folder");
            let copy = into.path().join("copy");
            let copied = crate::inspect::recover(folder.path(), &copy, &mut |_, _| Ok(()));
            let copied = copied.expect("recover");
            assert!(copied.losses.is_empty(), "{number}: {copied:?}");
            assert_eq!(copied.messages, report.messages, "{number}");
        }
    }
    assert!(counts.len() > 1 && images.len() > 30, "{counts:?}");
}

#[test]
fn p3_p15_segments_that_go_while_it_is_looked_at_are_no_damage() {
    for stop in 0..40 {
        let folder = tempfile::tempdir().expect("folder");
        let store = open(folder.path());
        let topic = topic(&store, "t");
        settled(&topic);
        topic.sync().expect("sync");
        let mut looks = 0;
        let report = verify(folder.path(), &mut |_, _| {
            if looks == stop {
                store.inner().expect("open").retain_now().expect("retain");
            }
            looks += 1;
            Ok(())
        });
        let report = report.expect("verify");
        assert!(report.is_intact(), "stopped at {stop}: {report:?}");
        assert!(
            report.messages >= 3,
            "what is left was looked at: {report:?}"
        );
        if looks <= stop {
            assert!(stop > 5, "{stop}");
            return;
        }
    }
}
