//! Exports that are not what was written.

use super::*;
use libqueue::ErrorKind;
use tempfile::TempDir;

/// A small one, so that every byte can be tried.
fn small() -> (TempDir, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let orders = store.topic("orders", &TopicOptions::default()).unwrap();
    for _ in 0..5 {
        orders.send(&Message::new(b"payload").key(b"key")).unwrap();
    }
    let worker = consumer(&orders, "g", Ordering::Key, 2);
    let batch = worker.receive(2, NOW).unwrap();
    worker.ack(&receipts(&batch[..1])).unwrap();
    orders.group("g").unwrap().snapshot("one").unwrap();
    let bytes = export(&store, &[]);
    (folder, bytes)
}

#[test]
fn p3_p18_a_cut_or_flipped_export_is_told_of_with_its_place_and_leaves_nothing() {
    let (folder, bytes) = small();
    let path = folder.path().join("b");
    let other = open(&path);
    let cuts = (0..bytes.len())
        .step_by(7)
        .map(|cut| (cut, bytes[..cut].to_vec()));
    let flips = (0..bytes.len()).step_by(5).map(|at| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        (at, flipped)
    });
    for (at, bad) in cuts
        .chain(flips)
        .chain([(bytes.len(), [&bytes[..], b"x"].concat())])
    {
        let error = import(&other, &bad).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{at}: {error}");
        assert!(error.message().contains("the export at byte"), "{error}");
        assert_eq!(other.topics().unwrap(), Vec::<String>::new(), "{at}");
    }
    assert!(
        names(&path).iter().all(|name| !name.starts_with('.')),
        "{:?}",
        names(&path)
    );
    import(&other, &bytes).unwrap();
    assert_eq!(other.topics().unwrap(), ["orders"]);
}

#[test]
fn blocks_that_are_missing_or_in_another_order_are_seen() {
    let (folder, bytes) = small();
    let other = open(&folder.path().join("b"));
    let mut blocks = Vec::new();
    let mut at = 16;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        blocks.push(&bytes[at..at + 16 + length]);
        at += 16 + length;
    }
    for left_out in 0..blocks.len() {
        let mut some = blocks.clone();
        some.remove(left_out);
        let bad = [&bytes[..16], &some.concat()].concat();
        let error = import(&other, &bad).expect_err("a block is missing");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
    for first in 0..blocks.len() - 1 {
        let mut some = blocks.clone();
        some.swap(first, first + 1);
        let bad = [&bytes[..16], &some.concat()].concat();
        import(&other, &bad).expect_err("another order");
    }
    assert_eq!(other.topics().unwrap(), Vec::<String>::new());
}

#[test]
fn p17_what_an_import_that_died_left_is_removed_by_the_next_one() {
    let (folder, bytes) = small();
    let path = folder.path().join("b");
    let other = open(&path);
    let left = path.join(".import-0123456789abcdef.new");
    fs::create_dir_all(left.join("store/topics/half")).unwrap();
    fs::write(left.join("claim"), b"").unwrap();
    verified(&path);
    import(&other, &bytes).unwrap();
    assert!(!left.exists());
}
