//! Exports and imports.

use super::*;
use libqueue::ErrorKind;
use tempfile::TempDir;

#[test]
fn p1_p6_p12_an_import_holds_what_was_exported_and_exports_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let mut bytes = Vec::new();
    let told = store.export(&[], &mut bytes, &mut |done, total| {
        assert!(done <= total);
        Ok(())
    });
    let told = told.unwrap();
    assert_eq!(
        (told.topics, told.groups, told.bytes),
        (4, 3, bytes.len() as u64)
    );
    let path = folder.path().join("b");
    let other = open(&path);
    let done = import(&other, &bytes).unwrap();
    assert_eq!(
        (done.topics, done.groups, done.messages),
        (4, 3, told.messages)
    );
    assert_eq!(contents(&other), contents(&store));
    let [first, second] = [&store, &other].map(|one| one.open_topic("orders").unwrap());
    assert_eq!((first.id(), first.config()), (second.id(), second.config()));
    // Before anybody used it. What a delay is until is by two clocks, and told to the millisecond.
    let again = export(&other, &[]);
    assert_eq!(again.len(), bytes.len());
    let differ = again.iter().zip(&bytes).filter(|(a, b)| a != b).count();
    assert!(differ <= 16, "{differ} bytes differ");
    for group in ["billing", "keeper", "fresh"] {
        assert_eq!(
            standing(&store, "orders", group),
            standing(&other, "orders", group),
            "{group}"
        );
        let [ours, theirs] = [&store, &other].map(|one| drain(one, "orders", group));
        assert_eq!(ours, theirs, "{group}");
    }
    drop((first, second));
    other.close().unwrap();
    verified(&path);
    assert!(
        names(&path).iter().all(|name| !name.starts_with('.')),
        "{:?}",
        names(&path)
    );
}

#[test]
fn p6_what_is_imported_without_waits_exports_the_same_bytes_again_and_again() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let orders = store.topic("orders", &TopicOptions::default()).unwrap();
    for number in 0..3000_u32 {
        let key = [number as u8 % 5];
        orders
            .send(&Message::new(&number.to_le_bytes()).key(&key))
            .unwrap();
    }
    let worker = consumer(&orders, "g", Ordering::None, 5);
    let batch = worker.receive(700, NOW).unwrap();
    worker.ack(&receipts(&batch[..500])).unwrap();
    let mut bytes = export(&store, &["orders"]);
    for number in 0..3 {
        let next = open(&folder.path().join(number.to_string()));
        import(&next, &bytes).unwrap();
        let again = export(&next, &["orders"]);
        assert_eq!(again, bytes, "{number}");
        bytes = again;
    }
    // Of one topic the topic that its dead letters are in goes along.
    worker
        .dead_letter(&receipts(&batch[500..501]), "no")
        .unwrap();
    let next = open(&folder.path().join("letters"));
    let done = import(&next, &export(&store, &["orders"])).unwrap();
    assert_eq!(done.topics, 2);
    let group = next.open_topic("orders").unwrap().group("g").unwrap();
    assert_eq!(group.dead_letters(9).unwrap().len(), 1);
    assert_eq!(group.redrive(RedriveOptions::default()).unwrap(), 1);
}

#[test]
fn a_topic_that_exists_is_refused_or_its_messages_are_appended() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let other = open(&folder.path().join("b"));
    let orders = other.topic("orders", &TopicOptions::default()).unwrap();
    let id = orders.send(&Message::new(b"ours")).unwrap();
    let bytes = export(&store, &["empty", "orders"]);
    let refused = import(&other, &bytes).expect_err("exists");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    assert_eq!(other.topics().unwrap(), ["orders"]);
    let options = ImportOptions {
        append: true,
        bytes: None,
    };
    let done = other
        .import(&mut &bytes[..], &options, &mut |_, _| Ok(()))
        .unwrap();
    assert_eq!((done.topics, done.groups, done.appended), (3, 0, 121));
    assert_eq!(other.topics().unwrap().len(), 4);
    let found = contents(&other);
    let sent: Vec<_> = contents(&store)
        .into_iter()
        .filter(|(place, _)| place.0 == "orders")
        .collect();
    let here: Vec<_> = found
        .iter()
        .filter(|(place, _)| place.0 == "orders")
        .collect();
    assert_eq!(here.len(), sent.len() + 1);
    assert_eq!(here[0].0.2, id.offset);
    assert_eq!(here[5].1.1, sent[4].1.1, "the key");
    assert_eq!(here[5].1.2, sent[4].1.2, "the headers");
    assert_eq!(here[5].1.3, sent[4].1.3, "the payload");
    let refused = orders
        .group("billing")
        .map(drop)
        .expect_err("groups are left out");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[test]
fn nothing_is_appended_where_a_topic_cannot_get_its_name() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let to = |name: &str| GroupOptions {
        dead_letter_topic: Some(libqueue::DeadLetter::Topic(name.to_owned())),
        ..GroupOptions::default()
    };
    let options = TopicOptions::default();
    let orders = store.topic("orders", &options).unwrap();
    orders.send(&Message::new(b"one")).unwrap();
    let b = store.topic("b", &options).unwrap();
    b.create_group("g", &to("c")).unwrap();
    let bytes = export(&store, &["orders", "b"]);
    let other = open(&folder.path().join("b"));
    let here = other.topic("orders", &options).unwrap();
    let c = other.topic("c", &options).unwrap();
    c.create_group("g", &to("b")).unwrap();
    let options = ImportOptions {
        append: true,
        bytes: None,
    };
    let refused = other.import(&mut &bytes[..], &options, &mut |_, _| Ok(()));
    let refused = refused.expect_err("a circle");
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
    assert_eq!(here.stats().unwrap().messages, 0);
    other.delete_topic("c").unwrap();
    let done = other.import(&mut &bytes[..], &options, &mut |_, _| Ok(()));
    assert_eq!(done.unwrap().appended, 1);
    assert_eq!(here.stats().unwrap().messages, 1);
}

#[test]
fn p12_a_group_id_that_is_taken_and_letters_that_lead_back_are_refused() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let a = store.topic("a", &TopicOptions::default()).unwrap();
    let to = |name: &str| GroupOptions {
        dead_letter_topic: Some(libqueue::DeadLetter::Topic(name.to_owned())),
        ..GroupOptions::default()
    };
    a.create_group("g", &to("b")).unwrap();
    let bytes = export(&store, &["a"]);
    let other = open(&folder.path().join("b"));
    let b = other.topic("b", &TopicOptions::default()).unwrap();
    b.create_group("g", &to("a")).unwrap();
    let refused = import(&other, &bytes).expect_err("a circle");
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
    b.group("g").unwrap();
    other.delete_topic("b").unwrap();
    import(&other, &bytes).unwrap();
    // A deleted topic comes back, and the group's id is free again.
    other.delete_topic("a").unwrap();
    import(&other, &bytes).unwrap();
    let missing = store.export(&["none"], &mut Vec::new(), &mut |_, _| Ok(()));
    assert_eq!(missing.expect_err("none").kind(), ErrorKind::NotFound);
}

#[test]
fn an_export_is_a_file_once_it_is_whole() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let path = folder.path().join("all.lqx");
    let mut calls = 0;
    let told = store.export_file(&[], &path, &mut |_, _| {
        calls += 1;
        assert!(!path.exists());
        Ok(())
    });
    let told = told.unwrap();
    assert!(calls > 1);
    assert_eq!(fs::metadata(&path).unwrap().len(), told.bytes);
    let stopped = store.export_file(&[], &path, &mut |_, _| {
        Err(libqueue::Error::new(ErrorKind::Timeout, "enough"))
    });
    assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Timeout);
    assert_eq!(names(folder.path()), ["a", "all.lqx"]);
    let other = open(&folder.path().join("b"));
    let mut read = 0;
    let options = ImportOptions::default();
    other
        .import_file(&path, &options, &mut |done, total| {
            assert_eq!(total, told.bytes);
            read = done;
            Ok(())
        })
        .unwrap();
    assert!(read > told.bytes / 2);
    assert_eq!(contents(&other), contents(&store));
}

#[test]
fn p12_where_ids_are_taken_new_ones_are_drawn_and_dead_letters_stay_their_groups() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let bytes = export(&store, &[]);
    let before = ["billing", "keeper"].map(|group| standing(&store, "orders", group));
    let id = store.open_topic("orders").unwrap().id();
    // In the store that they are of, while it knows of the deleted ones.
    for topic in ["orders", "empty", "orders.billing.dlq", "orders.keeper.dlq"] {
        store.delete_topic(topic).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(import(&store, &bytes).unwrap().topics, 4);
        let orders = store.open_topic("orders").unwrap();
        assert_ne!(orders.id(), id);
        let after = ["billing", "keeper"].map(|group| standing(&store, "orders", group));
        assert_eq!(after, before);
        let billing = orders.group("billing").unwrap();
        let snapshots = billing.snapshots().unwrap();
        assert!(snapshots.len() == 1 && snapshots[0].whole);
        // One was redriven before, and goes first; the others follow.
        assert_eq!(billing.redrive(RedriveOptions::default()).unwrap(), 3);
        let worker = orders
            .consumer("billing", &ConsumerOptions::default())
            .unwrap();
        assert_eq!(worker.receive(4, NOW).unwrap().len(), 4);
        assert_eq!(billing.dead_letters(9).unwrap().len(), 0);
        worker.close().unwrap();
        drop((billing, orders));
        for topic in store.topics().unwrap() {
            store.delete_topic(&topic).unwrap();
        }
    }
}
