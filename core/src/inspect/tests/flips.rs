//! One bit flipped anywhere in a closed store is told of, or lies where the format's document says
//! that a byte carries nothing (P3).

use super::*;
use crate::format::record::padded;
use crate::format::segment::RECORDS as FIRST_RECORD;
use crate::format::window::{ENTRY, Parts, entry, header};
use crate::format::{names, u32_at, u64_at};

/// Two segments with an index, keys, headers and padding; a group with an entry in every state that
/// a clean close leaves, and a dead letter.
fn various(path: &Path) {
    rolled(path);
    let store = open(path);
    let topic = store.open_topic("t").expect("topic");
    for number in 0..9_u8 {
        send(
            &topic,
            &format!("k{}", number % 4),
            &vec![number; number.into()],
        );
    }
    let consumer = topic.consumer("g", &ConsumerOptions::default());
    let consumer = consumer.expect("consumer");
    let mut got = Vec::new();
    while got.len() < 4 {
        got.extend(consumer.receive(9, Some(Duration::ZERO)).expect("receive"));
    }
    consumer
        .dead_letter(&[got[0].receipt()], "dead")
        .expect("dead");
    let first = consumer.receive(1, Some(Duration::ZERO)).expect("receive");
    consumer.ack(&[got[2].receipt()]).expect("ack");
    consumer
        .nack(&[got[3].receipt()], None, None)
        .expect("nack");
    drop((first, got, consumer, topic));
    store.close().expect("close");
}

/// Where records begin and end in a segment's file; what is behind the last is its successor's
/// length word.
fn records(bytes: &[u8]) -> Vec<(u64, u64)> {
    let (mut at, mut found) = (FIRST_RECORD as u64, Vec::new());
    while let length @ 1.. = u32_at(bytes, at as usize) {
        found.push((at, at + u64::from(length)));
        at += padded(u64::from(length));
    }
    found.push((at, at + 4));
    found
}

/// Entries of the offsets from floor to next, and where they begin in the file.
fn entries(bytes: &[u8]) -> Vec<u64> {
    let word = |word: usize| u64_at(bytes, word * 8);
    let parts = Parts::of(word(header::LIMIT) as u32);
    let number = |offset| (offset & (word(header::CAPACITY) - 1)) as usize;
    (word(header::FLOOR)..word(header::NEXT))
        .map(|offset| (parts.entries + number(offset) * ENTRY) as u64)
        .collect()
}

/// As `core/docs/format.md` has it under "What carries nothing".
fn carries_nothing(name: &str, bytes: &[u8], at: u64) -> bool {
    if [names::BALLAST, names::NEXT_SEGMENT, names::CONTROL].contains(&name) {
        return true;
    }
    if name.ends_with(".log") {
        let all = records(bytes);
        let inside = all
            .iter()
            .take(all.len() - 1)
            .any(|(from, to)| (*from..*to).contains(&at));
        let gaps = crate::format::sums::GAPS as u64;
        return at == gaps || at >= FIRST_RECORD as u64 && !inside;
    }
    if !name.ends_with(".window") {
        return false;
    }
    let word = (at / 8) as usize;
    let quiet = [
        header::CURSOR_SEGMENT,
        header::CURSOR_POSITION,
        header::DYING,
        header::READY_LEVELS,
        header::SKEW,
        header::JOINS,
        header::BOOT,
        header::BOOT + 1,
        header::CLEAN,
    ];
    let counter = (header::COUNTERS..header::BOOT).contains(&word);
    if at < crate::format::window::HEADER as u64 {
        return quiet.contains(&word) || counter;
    }
    let of = entries(bytes)
        .into_iter()
        .find(|from| (*from..*from + ENTRY as u64).contains(&at));
    of.is_none_or(|from| {
        let within = at - from;
        within >= entry::CHAIN as u64 * 8 || within / 8 == entry::PLACE as u64 && within % 8 >= 4
    })
}

/// Positions to try: all of what is small or dense, and some of the rest.
fn places(name: &str, bytes: &[u8]) -> Vec<u64> {
    let len = bytes.len() as u64;
    let mut all: Vec<u64> = (0..len.min(1100)).collect();
    all.extend((0..len).step_by(len.div_ceil(40).max(1) as usize + 1));
    if name.ends_with(".log") {
        for (from, to) in records(bytes) {
            all.extend(from..to.min(from + 80));
            all.extend(to.saturating_sub(2)..padded(to));
        }
        all.truncate(2500);
    }
    if name.ends_with(".window") {
        all.extend(
            entries(bytes)
                .into_iter()
                .take(8)
                .flat_map(|from| from..from + 64),
        );
    }
    all.retain(|at| *at < len);
    all
}

#[test]
fn p3_a_flipped_bit_is_told_of_or_lies_where_nothing_is_carried() {
    let folder = tempfile::tempdir().expect("folder");
    various(folder.path());
    assert_eq!(quietly(folder.path()).damage, []);
    let plan = super::super::plan::Plan::of(folder.path()).expect("plan");
    let (mut told, mut silent) = (0, 0);
    for listed in plan.all() {
        let bytes = fs::read(&listed.path).expect("read");
        let name = super::super::plan::name_of(&listed.path);
        for at in places(&name, &bytes) {
            let bit = 1 << ((at * 5 + at / 8) % 8);
            flip(&listed.path, at, bit);
            let found = verify(folder.path(), &mut |_, _| Ok(()));
            flip(&listed.path, at, bit);
            match found {
                Ok(report) if report.is_intact() => {
                    silent += 1;
                    let nothing = carries_nothing(&name, &bytes, at);
                    assert!(
                        nothing,
                        "{}: bit {bit:#x} of byte {at}",
                        listed.path.display()
                    );
                }
                _ => told += 1,
            }
        }
    }
    assert!(told > 4000 && silent > 100, "{told} told, {silent} silent");
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn p12_a_dead_letter_whose_message_is_open_in_a_closed_store_is_told_of() {
    let folder = tempfile::tempdir().expect("folder");
    various(folder.path());
    let path = window(folder.path());
    let intact = fs::read(&path).expect("read");
    let floor = u64_at(&intact, header::FLOOR * 8);
    assert!(floor > 0, "offset 0 is a dead letter");
    let set = |bytes: &mut Vec<u8>, at: usize, value: u64| {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    for (next, what) in [(floor, "is not settled"), (0, "was never looked at")] {
        super::invariants::rewrite_window(&path, |bytes, parts| {
            for counter in header::COUNTERS..header::BOOT {
                set(bytes, counter * 8, 0);
            }
            set(bytes, header::FLOOR * 8, 0);
            set(bytes, header::NEXT * 8, next);
            let state = u64_at(bytes, parts.entries);
            set(
                bytes,
                parts.entries,
                state & !0xFF | crate::format::window::state::READY,
            );
        });
        let damage = quietly(folder.path()).damage;
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!(damage[0].file, path);
        assert!(damage[0].what.contains(what), "{damage:?}");
        assert!(
            damage[0].what.contains("is a dead letter at byte 4096"),
            "{damage:?}"
        );
    }
}

#[test]
fn p12_p18_a_letter_that_somebody_sent_is_no_damage_whatever_it_says() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), StoreOptions::default()).expect("open");
    let orders = super::topic(&store, "orders");
    orders
        .create_group("g", &Default::default())
        .expect("group");
    orders.send(&Message::new(b"open")).expect("send");
    let headers: &[(&str, &[u8])] = &[
        ("lq-source-topic", b"orders"),
        ("lq-group", b"g"),
        ("lq-source-partition", b"0"),
        ("lq-source-offset", b"0"),
    ];
    let letters = super::topic(&store, "orders.g.dlq");
    letters
        .send(&Message::new(b"forged").headers(headers))
        .expect("send");
    drop((orders, letters));
    store.close().expect("close");
    assert_eq!(quietly(folder.path()).damage, []);
}
