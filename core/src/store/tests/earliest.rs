//! Who begins at the earliest message while others send.

use std::sync::atomic::{AtomicU32, Ordering};

use super::create_lock_rest::Told;
use super::*;
use crate::format::names;
use crate::options::{ReaderOptions, TopicOptions};
use crate::store::{ConsumerOptions, Message, Topic};

/// The topic as another process has it open, which tells `of` each look into its partition's
/// folder.
fn watched(folder: &Path, of: impl FnMut() + Send + 'static) -> (Store, Topic) {
    let (disk, mut of) = (Arc::new(Told::default()), of);
    let world = World {
        storage: disk.clone(),
        clock: Arc::new(SystemClock),
        housekeeping: false,
    };
    let store = Store::open_in(&world, folder, &options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    let log = names::partition_folder(&names::topic_folder(folder, "t"), 0);
    *disk.tell.lock().expect("lock") = Some(Box::new(move |path| {
        if path == log {
            of();
        }
    }));
    (store, topic)
}

fn sends(to: &Topic) -> impl FnMut() + Send + use<> {
    let (to, sent) = (to.clone(), AtomicU32::new(0));
    move || {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        to.send(&Message::new(&number.to_le_bytes())).expect("send");
    }
}

#[test]
fn p6_p16_what_is_sent_while_a_reader_or_a_group_begins_at_the_earliest_is_not_passed_over() {
    for group in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let other = Store::open(folder.path(), options()).expect("open");
        let sender = other.topic("t", &TopicOptions::default()).expect("topic");
        let (_store, topic) = watched(folder.path(), sends(&sender));
        let first = if group {
            let worker = topic.consumer("g", &ConsumerOptions::default());
            let worker = worker.expect("consumer");
            sender.send(&Message::new(b"last")).expect("send");
            let got = worker.receive(1, Some(BOUND)).expect("receive");
            got.first().map(|one| one.offset())
        } else {
            let mut reader = topic.reader(&ReaderOptions::default()).expect("reader");
            sender.send(&Message::new(b"last")).expect("send");
            let got = reader.receive(1, Some(BOUND)).expect("receive");
            got.first().map(|one| one.offset())
        };
        assert_eq!(first, Some(0), "a group: {group}");
    }
}
