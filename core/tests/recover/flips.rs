//! Stores damaged at random: what can be read is copied as it was, nothing is invented or found
//! twice, and every group gets what it had not settled and can be read.

use std::fs;

use super::*;

/// A small generator, so that a seed gives the same damage again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// Bytes of a file in which anything is written.
fn used(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

#[test]
fn p1_p3_p4_p6_random_damage_to_what_killed_processes_left() {
    let original = Original::make();
    let folder = TempDir::new().unwrap();
    let live = folder.path().join("live");
    copy(&original.path(), &live);
    let store = open(&live);
    let topic = store.open_topic("orders").unwrap();
    let worker = topic.consumer("g", &Default::default()).unwrap();
    for number in 0..30_u8 {
        let payload = vec![number; usize::from(number) * 600];
        topic.send(&Message::new(&payload)).unwrap();
    }
    let batch = worker.receive(10, NOW).unwrap();
    worker.ack(&receipts(&batch[..5])).unwrap();
    let killed = folder.path().join("killed");
    copy(&live, &killed);
    drop((batch, worker, topic));
    store.close().unwrap();
    let all = contents(&live);
    let whole = Case::of(&killed);
    assert_eq!(whole.recover(&all).losses, []);
    let wanted = drain(&whole.to(), "orders", "g");
    assert!(wanted.len() > 60);
    // An entry of a window that nobody closed has no checksum, so those are left as they are; and
    // leases of the dead come back after the backoff, which is not to be a second.
    let names: Vec<PathBuf> = files(&killed)
        .into_iter()
        .filter(|path| path.extension().is_none_or(|is| is != "window"))
        .filter(|path| !path.ends_with("group.meta") && used(path) > 0)
        .collect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..30 {
        let case = Case::of(&killed);
        let name = &names[random.below(names.len() as u64) as usize];
        let path = case.from().join(name.strip_prefix(&killed).unwrap());
        let (at, bits) = (random.below(used(&path)), 1 << random.below(8));
        flip(&path, at, bits);
        case.recover(&all);
        let left = contents(&case.to());
        let delivered = drain(&case.to(), "orders", "g");
        for (partition, offset) in wanted.keys() {
            let place = ("orders".to_owned(), *partition, *offset);
            let found = delivered.contains_key(&(*partition, *offset));
            let expected = left.contains_key(&place);
            assert_eq!(
                found,
                expected,
                "{place:?} after {at} of {}",
                path.display()
            );
        }
    }
}

#[test]
fn p3_p4_p6_p18_random_damage_costs_what_it_hits_and_nothing_else() {
    let original = Original::make();
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let names: Vec<PathBuf> = files(&original.path())
        .into_iter()
        .map(|path| path.strip_prefix(original.path()).unwrap().to_owned())
        .filter(|path| used(&original.path().join(path)) > 0)
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let rounds = std::env::var("LIBQUEUE_FLIPS").map_or(60, |n| n.parse().unwrap());
    for round in 0..rounds {
        let case = Case::of(&original.path());
        let mut done = Vec::new();
        for _ in 0..=random.below(3) {
            let name = &names[random.below(names.len() as u64) as usize];
            let path = case.from().join(name);
            let (at, bits) = (random.below(used(&path)), 1 << random.below(8));
            done.push(format!("{} at {at} ^ {bits:#x}", name.display()));
            flip(&path, at, bits);
        }
        println!("{round}: {done:?}");
        case.recover(&original.contents);
        let left = contents(&case.to());
        let delivered = drain(&case.to(), "orders", "g");
        for (partition, offset) in &original.unsettled {
            let place = ("orders".to_owned(), *partition, *offset);
            let found = delivered.contains_key(&(*partition, *offset));
            assert_eq!(found, left.contains_key(&place), "{place:?} after {done:?}");
        }
        let fresh = drain(&case.to(), "orders", "fresh");
        let there = left.keys().filter(|(topic, ..)| topic == "orders").count();
        assert_eq!(fresh.len(), there, "{done:?}");
    }
}
