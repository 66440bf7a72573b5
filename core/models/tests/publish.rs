//! Publishing and reading: the log's own code, with a reader beside the writer, and a writer that
//! dies at any store.

use libqueue_models::options::Durability;
use libqueue_models::party::{Party, draft, read};
use libqueue_models::world::{Kernel, Mutation, Naps, Setting, check, finds, long, mortal, thread};

/// An append that no reader disturbs has fewer stores.
const STORES: usize = 48;
const LARGE: usize = 33_000;

/// What is read is a prefix of what was sent, each message whole and each batch as one.
fn judge(found: &[(u64, Vec<u8>)], sent: &[&[u8]], batch: std::ops::Range<usize>) {
    for (number, (offset, payload)) in found.iter().enumerate() {
        assert_eq!(*offset, number as u64);
        assert!(payload == sent[number], "other bytes than were sent");
    }
    let half = batch.start + 1..batch.end;
    assert!(!half.contains(&found.len()), "half of a batch is seen");
}

fn reader_beside_writer() {
    let party = Party::new(Durability::Process);
    let (writer, reader) = (party.open(2), party.open(3));
    writer.append(&[draft(b"one")]).expect("append");
    let sent: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
    let writes = thread::spawn(move || {
        writer.append(&[draft(b"two")]).expect("append");
        writer
            .append(&[draft(b"three"), draft(b"four")])
            .expect("append");
    });
    let mut before = 0;
    for _ in 0..2 {
        let found = read(&reader);
        judge(&found, &sent, 2..4);
        assert!(found.len() >= before.max(1), "what was seen is gone");
        before = found.len();
    }
    writes.join().expect("writer");
    assert_eq!(read(&reader).len(), 4);
}

fn large_beside_small() {
    let party = Party::new(Durability::Process);
    let (writer, other) = (party.open(2), party.open(3));
    writer.append(&[draft(b"one")]).expect("append");
    let large = thread::spawn(move || {
        let mut payload = vec![0; LARGE];
        payload[0] = 9;
        writer.append(&[draft(&payload)]).expect("append")
    });
    other.append(&[draft(b"small")]).expect("append");
    let seen: Vec<_> = read(&other).iter().map(|(offset, _)| *offset).collect();
    assert!(
        seen == [0] || seen == [0, 1] || seen == [0, 1, 2],
        "order: {seen:?}"
    );
    let place = large.join().expect("writer");
    let found = read(&other);
    assert_eq!(found.len(), 3);
    assert_eq!(found[place as usize].1.len(), LARGE);
    assert_eq!(found[place as usize].1[0], 9);
}

/// The first process dies somewhere in its append; the second one goes on.
fn dead_writer(batch: &'static [&'static [u8]]) -> impl Fn() + Send + Sync + 'static {
    move || {
        let party = Party::new(Durability::Process);
        let (victim, heir) = (party.open(Kernel::MORTAL), party.open(2));
        victim.append(&[draft(b"one")]).expect("append");
        let kernel = party.kernel.clone();
        let first = thread::spawn(move || {
            let drafts: Vec<_> = batch.iter().map(|payload| draft(payload)).collect();
            mortal(&kernel, || {
                victim.append(&drafts).expect("append");
            })
        });
        let place = heir.append(&[draft(b"heir")]).expect("append");
        let died = first.join().expect("victim");
        heir.append(&[draft(b"end")]).expect("append");
        // As whoever waits does.
        heir.tend_large().expect("tend");
        let found: Vec<_> = read(&heir)
            .into_iter()
            .map(|(_, payload)| payload)
            .collect();
        let whole = [&[b"one".as_slice()], batch, &[b"heir", b"end"]].concat();
        let late = [&[b"one".as_slice(), b"heir"], batch, &[b"end"]].concat();
        let without = vec![b"one".as_slice(), b"heir", b"end"];
        assert!(
            found == whole || found == late || (died && found == without),
            "{found:?} at {place}"
        );
    }
}

const BATCH: &[&[u8]] = &[b"two", b"six"];
/// Copied outside of the append lock, which is more steps than loom can put in every order.
const LARGE_BATCH: &[&[u8]] = &[&[0; LARGE], b"six"];

#[test]
fn p1_p3_a_reader_sees_whole_messages_and_whole_batches() {
    let bound = if long() { 2 } else { 1 };
    check(Setting::new(Naps::Endless, bound), reader_beside_writer);
}

#[test]
fn p3_a_large_message_is_copied_beside_small_ones() {
    if cfg!(feature = "shuttle") {
        let thousands = if long() { 20 } else { 1 };
        check(Setting::new(Naps::Endless, thousands), large_beside_small);
    }
}

#[test]
fn p1_p17_a_writer_that_dies_at_any_store_leaves_all_of_its_batch_or_nothing() {
    let bound = if long() { 2 } else { 1 };
    for stores in 0..STORES {
        let setting = Setting::new(Naps::Bounded, bound).dying_after(stores);
        check(setting, dead_writer(BATCH));
    }
}

#[test]
fn p1_p17_a_writer_that_dies_while_it_copies_leaves_padding() {
    if cfg!(feature = "shuttle") {
        let step = if long() { 1 } else { 5 };
        for stores in (0..STORES).step_by(step) {
            let setting = Setting::new(Naps::Bounded, 1).dying_after(stores);
            check(setting, dead_writer(LARGE_BATCH));
        }
    }
}

#[test]
fn the_model_finds_a_missing_release() {
    if cfg!(not(feature = "shuttle")) {
        let setting = Setting::new(Naps::Endless, 2).with(Mutation::NoRelease);
        assert!(finds(setting, reader_beside_writer));
    }
}

#[test]
fn the_model_finds_a_length_word_that_is_not_zeroed() {
    let found = (0..STORES).any(|stores| {
        let setting = Setting::new(Naps::Bounded, 1).with(Mutation::NoZero);
        finds(setting.dying_after(stores), dead_writer(BATCH))
    });
    assert!(found);
}
