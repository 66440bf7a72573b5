//! What a backup that runs meanwhile costs those who send and receive: their rate beside one, as a
//! ratio to their rate without. Both take the same disk and the same processors, so this is what
//! is left of a machine, and not what they wait for: nobody waits for a backup.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libqueue::{ConsumerOptions, Error, ErrorKind, Message, Receipt, Store, StoreOptions};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

const PAYLOAD: [u8; 100] = [b'x'; 100];
const BATCH: usize = 100;
/// Bytes of a message that the store holds besides, to be copied.
const LARGE: usize = 1 << 20;

pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let path = folder.join("backup");
    let store = Store::open(&path, StoreOptions::default())?;
    // What is copied while others work; it has no group, so it stays.
    let stored = store.topic("stored", &Default::default())?;
    let large = vec![7; LARGE];
    for _ in 0..scale.recovered.min(1 << 30) / LARGE {
        stored.send(&Message::new(&large))?;
    }
    store.sync()?;
    // The first one also makes the files that all use.
    rate(&store, scale.messages / 4)?;
    let (mut without, mut beside) = (0.0_f64, 0.0_f64);
    for _ in 0..scale.rounds {
        without = without.max(rate(&store, scale.messages / 4)?);
        let (stop, target) = (AtomicBool::new(false), folder.join("copy"));
        beside = beside.max(std::thread::scope(|scope| {
            scope.spawn(|| again_and_again(&store, &target, &stop));
            let found = rate(&store, scale.messages / 4);
            stop.store(true, Ordering::SeqCst);
            found
        })?);
    }
    for (what, value) in [("alone", without), ("while a backup runs", beside)] {
        table.push(Row {
            name: format!("send and receive, {what}"),
            who: "Rust".into(),
            value,
            unit: "messages/s",
            ratio: Some((value / without, "alone".into())),
        });
    }
    drop(stored);
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(())
}

/// Backups one after the other, until they are to stop.
fn again_and_again(store: &Store, target: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let made = store.backup(target, &mut |_, _| match stop.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Timeout, "enough")),
            false => Ok(()),
        });
        if made.is_ok() && std::fs::remove_dir_all(target).is_err() {
            return;
        }
    }
}

/// Messages a second that are sent, received and acknowledged, in batches.
fn rate(store: &Store, messages: usize) -> Outcome<f64> {
    let topic = store.topic("worked", &Default::default())?;
    let consumer = topic.consumer("g", &ConsumerOptions::default())?;
    let batch = [Message::new(&PAYLOAD); BATCH];
    let began = Instant::now();
    let mut done = 0;
    while done < messages.max(BATCH) {
        topic.send_many(&batch)?;
        let got = consumer.receive(BATCH, Some(Duration::from_secs(10)))?;
        let receipts: Vec<Receipt> = got.iter().map(|one| one.receipt()).collect();
        consumer.ack(&receipts)?;
        done += got.len();
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    consumer.close()?;
    Ok(rate)
}
