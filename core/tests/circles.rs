//! Dead-letter topics that lead back to where they came from.

#![allow(clippy::unwrap_used)]

mod common;

use common::{open, topic};
use libqueue::{DeadLetter, Error, ErrorKind, GroupOptions, Store, TopicOptions};
use tempfile::TempDir;

fn to(name: &str) -> GroupOptions {
    GroupOptions {
        dead_letter_topic: Some(DeadLetter::Topic(name.to_owned())),
        ..GroupOptions::default()
    }
}

fn create(store: &Store, topic: &str, group: &str, options: &GroupOptions) -> Result<(), Error> {
    let topic = store.topic(topic, &TopicOptions::default())?;
    topic.create_group(group, options).map(|_| ())
}

/// The error names the whole way.
fn refused(done: Result<(), Error>, way: &str) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains(way), "{error}");
}

#[test]
fn p12_a_dead_letter_topic_that_leads_back_is_refused_with_the_whole_way_and_makes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    create(&store, "a", "g", &to("b")).unwrap();
    create(&store, "b", "h", &to("c")).unwrap();
    // Not on the way, and no circle either: two ways to one topic.
    create(&store, "b", "i", &to("c")).unwrap();
    create(&store, "b", "none", &to("nowhere")).unwrap();
    refused(
        create(&store, "c", "k", &to("a")),
        "c/k -> a/g -> b/h -> c;",
    );
    let c = store.open_topic("c").unwrap();
    assert!(c.groups().unwrap().is_empty());
    create(&store, "c", "k", &to("d")).unwrap();
    let group = c.group("k").unwrap();
    refused(group.configure(&to("a")), "c/k -> a/g -> b/h -> c;");
    assert_eq!(group.dead_letter_topic().unwrap(), "d");
    // A consumer makes its group as well.
    let options = libqueue::ConsumerOptions {
        group: to("c"),
        ..Default::default()
    };
    let d = store.topic("d", &TopicOptions::default()).unwrap();
    refused(d.consumer("l", &options).map(|_| ()), "d/l -> c/k -> d;");
    // Once the way is cut it is none.
    let drop = GroupOptions {
        dead_letter_topic: Some(DeadLetter::Drop),
        ..GroupOptions::default()
    };
    store
        .open_topic("b")
        .unwrap()
        .group("h")
        .unwrap()
        .configure(&drop)
        .unwrap();
    store
        .open_topic("b")
        .unwrap()
        .group("i")
        .unwrap()
        .delete()
        .unwrap();
    group.configure(&to("a")).unwrap();
}

#[test]
fn p12_topics_of_the_default_name_are_followed_too() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let orders = topic(&store, 1);
    let group = orders.create_group("g", &GroupOptions::default()).unwrap();
    let name = group.dead_letter_topic().unwrap();
    let way = "orders.g.dlq/h -> orders/g -> orders.g.dlq;";
    refused(create(&store, &name, "h", &to("orders")), way);
    create(&store, &name, "h", &GroupOptions::default()).unwrap();
    let deeper = "orders.g.dlq.h.dlq";
    let way = "orders.g.dlq.h.dlq/i -> orders/g -> orders.g.dlq/h -> orders.g.dlq.h.dlq;";
    refused(create(&store, deeper, "i", &to("orders")), way);
}

#[test]
fn p12_of_two_who_would_close_a_circle_together_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for name in ["a", "b"] {
        create(&store, name, "g", &GroupOptions::default()).unwrap();
    }
    for _ in 0..20 {
        let groups = ["a", "b"].map(|name| store.open_topic(name).unwrap().group("g").unwrap());
        let done = std::thread::scope(|scope| {
            let one = scope.spawn(|| groups[0].configure(&to("b")));
            let other = scope.spawn(|| groups[1].configure(&to("a")));
            [one.join().unwrap(), other.join().unwrap()]
        });
        let failed: Vec<_> = done.iter().filter_map(|done| done.as_ref().err()).collect();
        assert_eq!(failed.len(), 1, "{done:?}");
        assert_eq!(failed[0].kind(), ErrorKind::InvalidArgument);
        let default = GroupOptions {
            dead_letter_topic: Some(DeadLetter::Default),
            ..GroupOptions::default()
        };
        for group in &groups {
            group.configure(&default).unwrap();
        }
    }
}
