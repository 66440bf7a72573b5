//! Ledgers of what was sent once: what a death or a power loss leaves of them is intact, damage is
//! named with its file and place, and a copy says what it does not know any more (P3, P8).

use std::sync::{Arc, Mutex};

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::format::ledger::{ENTRY, HEADER};
use crate::format::record;
use crate::inspect::{Recovered, recover};
use crate::options::DedupWindow;
use crate::storage::{Disk, Event, Storage, Twin, Watcher};
use crate::store::World;
use crate::{Consumer, Producer, Receipt};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// The store on a twin.
const AT: &str = "/store";

/// What is done to a file, and how that is called.
type Way<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Nobody keeps house: what retention takes it takes when the test says so.
fn quiet(path: &Path) -> Store {
    let world = World {
        storage: Arc::new(Disk),
        clock: Arc::new(SystemClock),
        housekeeping: false,
    };
    Store::open_in(&world, path, &StoreOptions::default()).expect("open")
}

fn with_ids(store: &Store) -> (Topic, Producer, Consumer) {
    let options = TopicOptions {
        partitions: Some(1),
        dedup_window: Some(DedupWindow::Time(Duration::from_secs(3600))),
        ..TopicOptions::default()
    };
    let topic = store.topic("t", &options).expect("topic");
    let till = topic.producer("till").expect("producer");
    let worker = topic.consumer("g", &ConsumerOptions::default());
    (topic, till, worker.expect("consumer"))
}

fn send_some(topic: &Topic, till: &Producer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let id = number.to_le_bytes();
        topic.send(&Message::new(b"x").dedup_id(&id)).expect("send");
        till.send(&Message::new(b"y"), Some(number + 1))
            .expect("send");
    }
}

fn settle_all(worker: &Consumer) {
    let got = worker.receive(1000, NOW).expect("receive");
    let receipts: Vec<Receipt> = got.iter().map(|one| one.receipt()).collect();
    worker.ack(&receipts).expect("ack");
}

/// Three messages of each kind that retention took, and one of each that is there; closed.
fn closed(path: &Path, kept_by_till: bool) {
    let store = quiet(path);
    let (topic, till, worker) = with_ids(&store);
    send_some(&topic, &till, 0..3);
    settle_all(&worker);
    topic.retain_all_now().expect("retain");
    assert!(topic.first_kept(0) > 5, "they are gone");
    topic
        .send(&Message::new(b"z").dedup_id(b"kept"))
        .expect("send");
    if kept_by_till {
        till.send(&Message::new(b"z"), None).expect("send");
    }
    drop((topic, till, worker));
    store.close().expect("close");
}

fn table(store: &Path) -> PathBuf {
    store.join("topics/t/dedup/00000000000000000000.table")
}

fn ring(store: &Path) -> PathBuf {
    store.join("topics/t/producers/till/ring")
}

fn copied(from: &Path) -> (tempfile::TempDir, Recovered) {
    let into = tempfile::tempdir().expect("folder");
    let done = recover(from, &into.path().join("copy"), &mut |_, _| Ok(()));
    let done = done.expect("recover");
    (into, done)
}

/// Positions of the entries that are taken.
fn taken(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).expect("read");
    let entries = bytes[HEADER..].chunks(ENTRY).enumerate();
    let taken = entries.filter(|(_, entry)| entry.iter().any(|byte| *byte != 0));
    taken
        .map(|(place, _)| (HEADER + place * ENTRY) as u64)
        .collect()
}

#[test]
fn p3_p8_every_byte_of_a_closed_ledgers_entries_and_of_its_header_is_guarded() {
    let folder = tempfile::tempdir().expect("folder");
    closed(folder.path(), true);
    let report = quietly(folder.path());
    assert!(report.is_intact(), "{report:?}");
    for file in [table(folder.path()), ring(folder.path())] {
        let entries = taken(&file);
        assert_eq!(entries.len(), 4, "{}", file.display());
        let of_entries = entries.iter().flat_map(|at| *at..at + ENTRY as u64);
        for at in (0..48).chain(of_entries) {
            // Its first word is 0 where there is none.
            let bits = if at % 8 == 0 { 0x80 } else { 1 << (at % 8) };
            let old = flip(&file, at, bits);
            let damage = quietly(folder.path()).damage;
            put(&file, at, &[old]);
            let expected = match at < HEADER as u64 {
                true => 0,
                false => at - (at - HEADER as u64) % ENTRY as u64,
            };
            let named = damage
                .iter()
                .any(|one| (&one.file, one.position) == (&file, expected));
            assert!(named, "byte {at} of {}: {damage:?}", file.display());
        }
    }
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn p3_p8_ledgers_and_marks_that_are_cut_gone_or_anothers_are_named() {
    let cut = |path: &Path, to: u64| {
        let file = fs::OpenOptions::new().write(true).open(path).expect("open");
        file.set_len(to).expect("cut");
    };
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    closed(&path, true);
    let mark = path.join("topics/t/dedup/mark");
    let meta = path.join("topics/t/producers/till/producer.meta");
    for file in [table(&path), ring(&path), mark.clone(), meta] {
        let whole = fs::read(&file).expect("read");
        let is_mark = whole.len() < HEADER;
        let other = match file == ring(&path) {
            true => table(&path),
            false => ring(&path),
        };
        let other = fs::read(other).expect("read");
        let gone = || fs::remove_file(&file).expect("remove");
        let flipped = || {
            flip(&file, whole.len() as u64 / 2, 4);
        };
        let anothers = || fs::write(&file, &other).expect("put");
        let mut ways: Vec<Way<'_>> = vec![
            ("cut", Box::new(|| cut(&file, whole.len() as u64 - 8))),
            ("cut to its beginning", Box::new(|| cut(&file, 20))),
            ("empty", Box::new(|| cut(&file, 0))),
        ];
        // Without its mark the first table may be what its first user left who died.
        if file != mark {
            ways.push(("gone", Box::new(gone)));
        }
        if is_mark {
            ways.push(("flipped", Box::new(flipped)));
        } else {
            ways.push(("another's", Box::new(anothers)));
        }
        for (how, damage) in ways {
            damage();
            let report = quietly(&path);
            let named = report.damage.iter().any(|one| one.file == file);
            assert!(named, "{}, {how}: {report:?}", file.display());
            // What is made anew from the log loses nothing that is in it.
            let (_into, done) = copied(&path);
            assert_eq!(done.messages, 2, "{how}");
            assert!(!done.source.is_intact(), "{how}");
            fs::write(&file, &whole).expect("back");
        }
    }
    assert_eq!(quietly(&path).damage, []);
}

/// As everyone died, or is at it still, in this start of the host.
#[test]
fn p3_p8_ledgers_that_are_in_use_are_intact_and_damage_in_them_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let store = quiet(&path);
    let (topic, till, worker) = with_ids(&store);
    send_some(&topic, &till, 0..700);
    settle_all(&worker);
    topic.move_dedup_mark_now();
    send_some(&topic, &till, 700..720);
    assert_eq!(quietly(&path).damage, [], "in use");
    let died = folder.path().join("died");
    super::copy(&path, &died);
    assert_eq!(quietly(&died).damage, []);
    let tables = fs::read_dir(died.join("topics/t/dedup")).expect("list");
    let tables = tables.map(|entry| entry.expect("entry").path());
    let tables: Vec<PathBuf> = tables.filter(|one| one.extension().is_some()).collect();
    assert!(tables.len() > 1, "one is sealed: {tables:?}");
    for file in &tables {
        let at = taken(file)[0];
        let old = flip(file, at + 17, 1);
        let damage = quietly(&died).damage;
        assert!(
            damage
                .iter()
                .any(|one| (&one.file, one.position) == (file, at))
        );
        put(file, at + 17, &[old]);
    }
    // Of a ring one entry may have been written just then, and no more.
    let entries = taken(&ring(&died));
    flip(&ring(&died), entries[3] + 17, 1);
    assert_eq!(quietly(&died).damage, []);
    flip(&ring(&died), entries[4] + 17, 1);
    assert_eq!(quietly(&died).damage.len(), 2);
    drop((topic, till, worker));
}

/// The disk as a death leaves it at each event of a history, or a power loss.
fn images_of(twin: &Twin, power: bool) -> Vec<Twin> {
    let images: Arc<Mutex<Vec<Twin>>> = Arc::default();
    let into = images.clone();
    let watcher: Watcher = Arc::new(move |twin: &Twin, event| {
        if event == Event::Stored {
            return;
        }
        let mut into = into.lock().expect("lock");
        let image = match power {
            true => twin.power_loss(into.len() as u64),
            false => twin.all_die(),
        };
        into.push(image.expect("image"));
    });
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: Arc::new(ManualClock::new(1_000_000_000, 1_000_000)),
        housekeeping: false,
    };
    let path = Path::new(AT);
    let store = Store::open_in(&world, path, &StoreOptions::default()).expect("open");
    twin.watch(Some(watcher));
    let (topic, till, worker) = with_ids(&store);
    send_some(&topic, &till, 0..300);
    topic.move_dedup_mark_now();
    settle_all(&worker);
    topic.retain_all_now().expect("retain");
    send_some(&topic, &till, 300..310);
    drop((topic, till, worker));
    store.close().expect("close");
    twin.watch(None);
    std::mem::take(&mut *images.lock().expect("lock"))
}

#[test]
fn p3_p8_what_a_death_or_a_power_loss_leaves_of_ledgers_is_intact() {
    // The other one is a disk of an earlier start of the host, to whoever looks at it here.
    let earlier = Twin::new().power_loss(0).expect("empty");
    for (twin, power) in [(Twin::new(), false), (earlier, true)] {
        let images = images_of(&twin, power);
        assert!(images.len() > 30, "{}", images.len());
        for (number, image) in images.iter().enumerate() {
            let folder = tempfile::tempdir().expect("folder");
            image.copy_to(Path::new(AT), folder.path()).expect("copy");
            let report = quietly(folder.path());
            let what = format!("{number}, power lost: {power}");
            assert!(report.is_intact(), "{what}: {:?}", report.damage);
        }
    }
}

#[test]
fn p8_a_copy_says_how_many_ids_and_sequences_it_does_not_know_and_where_a_producer_goes_on() {
    for kept_by_till in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s");
        closed(&path, kept_by_till);
        let (_into, done) = copied(&path);
        assert!(
            done.losses.is_empty() && done.source.is_intact(),
            "{done:?}"
        );
        let note = |what: &str| {
            let found = done.notes.iter().find(|note| note.contains(what));
            found.unwrap_or_else(|| panic!("no note of {what}: {:?}", done.notes))
        };
        assert!(note("dedup ids").contains("of 3 that retention"));
        assert!(note("producer \"till\"").contains("of 3 that retention"));
        let goes_on = match kept_by_till {
            true => "its last sequence, 4, is known",
            false => "its last sequence was 3, and the copy says 0: go on behind 3",
        };
        assert!(
            note("producer \"till\"").contains(goes_on),
            "{:?}",
            done.notes
        );
        // What is damaged is told of as well, and of a table that is none nothing more is known.
        let segments = fs::read_dir(partition(&path)).expect("list");
        let segments = segments.map(|entry| entry.expect("entry").path());
        let mut segments: Vec<PathBuf> = segments
            .filter(|one| one.extension().is_some_and(|end| end == "log"))
            .collect();
        segments.sort();
        let last = segments.last().expect("a segment");
        flip(last, RECORDS + record::HEADER as u64 + 2, 1);
        let (_into, done) = copied(&path);
        let text = done.notes.join("\n");
        assert!(text.contains("and of 1 that are damaged"), "{text}");
        flip(&table(&path), 3, 1);
        let (_into, done) = copied(&path);
        assert!(
            !done.notes.join("\n").contains("dedup ids"),
            "{:?}",
            done.notes
        );
        let told = done
            .source
            .damage
            .iter()
            .find(|one| one.file == table(&path));
        assert!(told.expect("damage").what.contains("without the ids"));
    }
}

#[test]
fn p8_a_copy_says_what_transactions_had_done_and_had_not_applied() {
    let twin = Twin::new();
    let world = World {
        storage: Arc::new(twin.clone()),
        clock: Arc::new(ManualClock::new(1_000_000_000, 1_000_000)),
        housekeeping: false,
    };
    let store = Store::open_in(&world, Path::new(AT), &StoreOptions::default()).expect("open");
    let (from, to) = (topic(&store, "from"), topic(&store, "to"));
    let worker = from.consumer("g", &ConsumerOptions::default());
    let worker = worker.expect("consumer");
    from.send(&Message::new(b"order")).expect("send");
    to.send(&Message::new(b"before")).expect("send");
    let got = worker.receive(1, NOW).expect("receive");
    let mut both = store.transaction().expect("transaction");
    both.ack(&got[0]).expect("ack");
    both.send(&to, &Message::new(b"bill")).expect("send");
    let images: Arc<Mutex<Vec<Twin>>> = Arc::default();
    let into = images.clone();
    twin.watch(Some(Arc::new(move |twin: &Twin, _| {
        into.lock()
            .expect("lock")
            .push(twin.all_die().expect("image"));
    })));
    both.commit().expect("commit");
    twin.watch(None);
    let (mut told, mut silent, mut missing) = (0, 0, 0);
    for image in std::mem::take(&mut *images.lock().expect("lock")) {
        let folder = tempfile::tempdir().expect("folder");
        image.copy_to(Path::new(AT), folder.path()).expect("copy");
        let (into, done) = copied(folder.path());
        let note = done
            .notes
            .iter()
            .find(|note| note.contains("transactions had happened"));
        let copy = open(&into.path().join("copy"));
        let to = copy.open_topic("to").expect("topic");
        let mut reader = to.reader(&ReaderOptions::default()).expect("reader");
        let there = reader.receive(9, NOW).expect("read").len() == 2;
        match note {
            None => silent += 1,
            Some(note) => {
                told += 1;
                missing += usize::from(!there);
                let expected = format!("{} of the 1 that they sent", u32::from(!there));
                assert!(
                    note.contains("1 transactions") && note.contains(&expected),
                    "{note}"
                );
                assert!(note.contains("1 messages that they settled"), "{note}");
            }
        }
    }
    assert!(
        told > 0 && silent > 0 && missing > 0,
        "{told} {silent} {missing}"
    );
    // Of one that is damaged nothing is known.
    let folder = tempfile::tempdir().expect("folder");
    twin.copy_to(Path::new(AT), folder.path()).expect("copy");
    flip(&folder.path().join("transactions.log"), 3, 1);
    let (_into, done) = copied(folder.path());
    let lost = done.losses.iter().find(|one| one.what.contains("journal"));
    assert!(lost.is_some(), "{:?}", done.losses);
    let storage: &dyn Storage = &twin;
    assert!(
        storage
            .exists(Path::new("/store/transactions.log"))
            .expect("look")
    );
}
