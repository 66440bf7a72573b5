//! What tests of killed processes have in common: a topic of two partitions, a group in which a
//! death never makes a dead letter, and the other process, which is the test program started anew;
//! it has a test `the_other_process` that asks `task` what to do.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libqueue::{Backoff, ConsumerOptions, GroupOptions, Store, StoreOptions, Topic, TopicOptions};

const CHILD: &str = "LIBQUEUE_TEST_CHILD";

pub fn open(folder: &Path) -> (Store, Topic) {
    let store = Store::open(folder, StoreOptions::default()).expect("open");
    let options = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    (store, topic)
}

pub fn options() -> ConsumerOptions {
    let quick = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
        factor: 1.0,
    };
    ConsumerOptions {
        group: GroupOptions {
            max_attempts: Some(60_000),
            backoff: Some(quick),
            ..GroupOptions::default()
        },
        ..ConsumerOptions::default()
    }
}

/// Another process, which is told this, and speaks through a pipe.
pub fn start(task: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(CHILD, task)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// What this process is told to do, where it is the other one.
pub fn task() -> Option<String> {
    std::env::var(CHILD).ok()
}
