//! Backups of a store in which named producers send.

use libqueue::{DedupWindow, Retention, Topic};
use tempfile::TempDir;

use super::*;

#[test]
fn p8_a_backup_that_is_made_while_a_named_producer_sends_verifies_and_knows_its_last_messages() {
    // Fewer than the ring has to spare, and more, while it has never been full and when it is.
    for (before, meanwhile) in [(5, 3), (5, 100), (1_100, 10), (1_100, 300)] {
        let folder = TempDir::new().unwrap();
        let store = open(&folder.path().join("s"));
        let options = TopicOptions {
            retention: Some(Retention::Forever),
            ..TopicOptions::default()
        };
        let topic = store.topic("t", &options).unwrap();
        let till = topic.producer("till").unwrap();
        let send = |sequence| till.send(&Message::new(b"x"), Some(sequence));
        let sent: Vec<_> = (1..=before).map(|n| send(n).unwrap()).collect();
        let mut once = true;
        let path = folder.path().join("copy");
        let made = store.backup(&path, &mut |_, _| {
            if std::mem::take(&mut once) {
                for sequence in before + 1..=before + meanwhile {
                    send(sequence)?;
                }
            }
            Ok(())
        });
        made.unwrap();
        assert!(!once, "it was told");
        let report = inspect::verify(&path, &mut |_, _| Ok(())).unwrap();
        assert!(
            report.damage.is_empty(),
            "{before} and {meanwhile}: {report:?}"
        );
        let copy = open(&path);
        let till = copy.open_topic("t").unwrap().producer("till");
        let till = till.unwrap();
        assert_eq!(till.last_sequence().unwrap(), before);
        for sequence in before.saturating_sub(998).max(1)..=before {
            let again = till.send(&Message::new(b"x"), Some(sequence));
            assert_eq!(again.unwrap(), sent[sequence as usize - 1]);
        }
    }
}

#[test]
fn p3_p8_a_backup_of_a_moment_before_the_first_id_was_sent_is_whole() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("store"));
    let options = TopicOptions {
        dedup_window: Some(DedupWindow::Time(hour())),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).unwrap();
    topic.send(&Message::new(b"no id")).unwrap();
    let send = |topic: &Topic| {
        let sent = topic.send(&Message::new(b"first").dedup_id(b"first"));
        sent.unwrap().offset
    };
    let (copy, mut once) = (folder.path().join("copy"), true);
    let made = store.backup(&copy, &mut |_, _| {
        // Behind the moment that the copy is of.
        if std::mem::take(&mut once) {
            send(&topic);
        }
        Ok(())
    });
    made.unwrap();
    assert!(!once, "it was told");
    verified(&copy);
    let copy = open(&copy);
    let topic = copy.open_topic("t").unwrap();
    assert_eq!((send(&topic), send(&topic)), (1, 1));
}

#[test]
fn p3_p8_a_backup_of_a_damaged_table_of_ids_vouches_for_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    let options = TopicOptions {
        dedup_window: Some(DedupWindow::Time(hour())),
        retention: Some(Retention::Forever),
        ..TopicOptions::default()
    };
    let send = |topic: &Topic, id: &[u8]| {
        let sent = topic.send(&Message::new(id).dedup_id(id));
        sent.unwrap().offset
    };
    let store = open(&path);
    let topic = store.topic("t", &options).unwrap();
    assert_eq!((send(&topic, b"first"), send(&topic, b"second")), (0, 1));
    drop(topic);
    store.close().unwrap();
    let table = path.join("topics/t/dedup/00000000000000000000.table");
    let whole = fs::read(&table).unwrap();
    // In its header, and in one of its entries.
    let entry = (512..whole.len()).find(|at| whole[*at] != 0).unwrap();
    for at in [17, entry] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&table, bytes).unwrap();
        let copy = folder.path().join(format!("copy {at}"));
        backup(&open(&path), &copy);
        let copy = open(&copy);
        let topic = copy.open_topic("t").unwrap();
        assert_eq!(
            (send(&topic, b"first"), send(&topic, b"second")),
            (0, 1),
            "{at}"
        );
    }
}
