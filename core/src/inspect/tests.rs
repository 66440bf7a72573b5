//! A store with every kind of file, each damaged in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::{ConsumerOptions, Message, Start, Store, StoreOptions, TopicOptions};

const MESSAGES: u64 = 3000;

fn filled(folder: &Path) {
    let store = Store::open(folder, StoreOptions::default()).expect("open");
    let topic = store
        .topic("orders", &TopicOptions::default())
        .expect("topic");
    for number in 0..MESSAGES {
        let payload = format!("{number:0>1000}");
        let headers: &[(&str, &[u8])] = &[("trace", b"42")];
        let message = Message::new(payload.as_bytes()).key(b"k").headers(headers);
        topic.send(&message).expect("send");
    }
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = consumer.receive(3, Some(Duration::ZERO)).expect("receive");
    consumer.ack(&[got[0].receipt()]).expect("ack");
    let mut reader = topic
        .reader(&crate::ReaderOptions::default())
        .expect("reader");
    reader.seek(Start::Offset(500)).expect("seek");
    reader.receive(1, Some(Duration::ZERO)).expect("read");
    drop((got, consumer, reader, topic));
    store.close().expect("close");
}

fn check(folder: &Path) -> Report {
    let mut last = (0, 0);
    let report = verify(folder, &mut |done, total| {
        assert!(done >= last.0 && done <= total, "progress goes forward");
        last = (done, total);
    });
    assert_eq!(last.0, last.1, "and ends at the end");
    report.expect("verify")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn p3_an_intact_store_verifies_and_each_flipped_bit_is_named_with_file_and_place() {
    let folder = tempfile::TempDir::new().expect("folder");
    filled(folder.path());
    let report = check(folder.path());
    assert_eq!(report.damage, []);
    assert_eq!(
        (report.topics, report.groups, report.messages),
        (1, 1, MESSAGES)
    );
    let partition = folder.path().join("topics/orders/0");
    let names = files(&partition);
    let segment = names
        .iter()
        .find(|path| path.ends_with("00000000000000000000.log"));
    let segment = segment.expect("the first segment").clone();
    let group = folder.path().join("topics/orders/groups/g");
    // File, position, whether the place that is named is the flipped one's record or header.
    let flips = [
        (segment.clone(), 4096 + 48 + 5, 4096),
        (segment.clone(), 4096 + 8, 4096),
        (segment.clone(), 4096, 4096),
        (segment.clone(), 16, 0),
        (partition.join("reserve"), 20, 0),
        (partition.join("00000000000000000000.index"), 30, 0),
        (folder.path().join("store.meta"), 25, 0),
        (folder.path().join("topics/orders/topic.meta"), 25, 0),
        (group.join("group.meta"), 25, 0),
        (group.join("0.window"), 3, 0),
        (group.join("0.window"), 8 * 8, 43 * 8),
    ];
    for (file, at, named) in flips {
        let good = fs::read(&file).expect("read");
        let mut bad = good.clone();
        bad[at] ^= 4;
        if file.ends_with("reserve") {
            // Either slot alone would do.
            bad[at + 512] ^= 4;
        }
        fs::write(&file, &bad).expect("write");
        let damage = check(folder.path()).damage;
        fs::write(&file, &good).expect("write");
        let here: Vec<_> = damage.iter().filter(|found| found.file == file).collect();
        assert_eq!(here.len(), 1, "{} at {at}: {damage:?}", file.display());
        assert_eq!(
            here[0].position,
            named,
            "{}: {}",
            file.display(),
            here[0].what
        );
    }
    assert_eq!(check(folder.path()).damage, []);
}

#[test]
fn every_file_is_decoded_for_a_person_and_what_is_none_of_ours_is_refused() {
    let folder = tempfile::TempDir::new().expect("folder");
    filled(folder.path());
    let says = |path: &str| {
        let mut out = Vec::new();
        dump(&folder.path().join(path), &mut out).expect(path);
        String::from_utf8(out).expect("text")
    };
    let log = says("topics/orders/0/00000000000000000000.log");
    assert!(log.starts_with("segment of topic "), "{}", &log[..200]);
    assert!(log.contains("offset 7 at ") && log.contains("key \"k\" trace=\"42\""));
    assert!(
        log.contains("END, goes on with offset "),
        "the segment was sealed"
    );
    assert!(says("topics/orders/0/00000000000000000000.index").contains("offset "));
    assert!(says("topics/orders/0/reserve").contains("closed cleanly"));
    let window = says("topics/orders/groups/g/0.window");
    assert!(window.contains("offsets 1 to "), "{window}");
    assert!(says("topics/orders/topic.meta").contains("partitions=1"));
    assert!(says("control").starts_with("control, laid out as "));
    let other = folder.path().join("letter.txt");
    fs::write(&other, "dear").expect("write");
    let error = dump(&other, &mut Vec::new()).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = verify(&folder.path().join("topics"), &mut |_, _| ()).expect_err("no store");
    assert_eq!(error.kind(), ErrorKind::NotAStore);
}
