//! Groups whose configuration or windows are damaged.

use std::fs;

use super::*;

fn unsettled_are_delivered(case: &Case, original: &Original) {
    let left = drain(&case.to(), "orders", "g");
    for place in &original.unsettled {
        assert!(left.contains_key(place), "{place:?} was skipped");
    }
    assert!(!left.contains_key(&original.dead), "in both places");
}

#[test]
fn p6_every_byte_of_a_window_may_be_damaged_and_nothing_is_skipped() {
    let original = Original::make();
    let header = (0..46 * 8_u64).step_by(8);
    let len = fs::metadata(window(&original.path(), "g", 0))
        .unwrap()
        .len();
    // The entries that are in use.
    let entries = (0..70 * 64_u64).step_by(83).map(|at| len - 1024 * 64 + at);
    for at in header.chain(entries) {
        let case = Case::of(&original.path());
        let bits = 1 << (at % 7) | 2;
        flip(&window(&case.from(), "g", 0), at, bits);
        let recovered = recover(&case.from(), &case.to()).expect("a store");
        assert_eq!(recovered.messages, 121);
        let told = recovered
            .losses
            .iter()
            .all(|loss| loss.what.contains("position"));
        assert!(told, "{:?}", recovered.losses);
        unsettled_are_delivered(&case, &original);
    }
}

#[test]
fn p6_a_damaged_floor_is_found_from_the_entries() {
    let original = Original::make();
    let floor = window(&original.path(), "g", 0);
    let word = |at: usize| {
        let bytes = fs::read(&floor).unwrap();
        u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap())
    };
    let (floor, next) = (word(7), word(8));
    assert!(floor > 10 && next > floor + 5, "{floor} {next}");
    for wrong in [0, floor + 1, next, 1 << 40] {
        let case = Case::of(&original.path());
        put(
            &window(&case.from(), "g", 0),
            7 * 8,
            &u64::to_le_bytes(wrong),
        );
        let recovered = recover(&case.from(), &case.to()).unwrap();
        let expected = floor.min(wrong);
        let what = format!("begins again at offset {expected} of partition 0");
        assert_eq!(recovered.losses.len(), 1);
        assert!(
            recovered.losses[0].what.contains(&what),
            "{:?}",
            recovered.losses
        );
        unsettled_are_delivered(&case, &original);
    }
}

#[test]
fn p6_windows_that_are_gone_zeroed_cut_or_swapped() {
    let original = Original::make();
    for how in 0..5 {
        let case = Case::of(&original.path());
        let path = window(&case.from(), "g", 0);
        match how {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, vec![0; 1 << 18]).unwrap(),
            2 => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(300_000).unwrap();
            }
            3 => fs::write(&path, b"").unwrap(),
            // Another group's, which has settled nothing; and one that settled all.
            _ => {
                drain(&case.from(), "orders", "fresh");
                fs::copy(window(&case.from(), "fresh", 0), &path).unwrap();
            }
        }
        let recovered = recover(&case.from(), &case.to()).unwrap();
        assert_eq!(recovered.losses.len(), 1, "{how}: {:?}", recovered.losses);
        assert_eq!(recovered.losses[0].file, path, "{how}");
        unsettled_are_delivered(&case, &original);
        let again = inspect::verify(&case.to(), &mut |_, _| Ok(())).unwrap();
        assert!(again.is_intact(), "{:?}", again.damage);
    }
    // Those of the two partitions, one in the place of the other: nothing is lost.
    let case = Case::of(&original.path());
    let (first, second) = (window(&case.from(), "g", 0), window(&case.from(), "g", 1));
    let other = case.from().join("other");
    fs::rename(&first, &other).unwrap();
    fs::rename(&second, &first).unwrap();
    fs::rename(&other, &second).unwrap();
    let recovered = recover(&case.from(), &case.to()).unwrap();
    assert_eq!(recovered.losses, []);
    let left = drain(&case.to(), "orders", "g");
    assert_eq!(
        left.into_keys().collect::<BTreeSet<_>>(),
        original.unsettled
    );
}

#[test]
fn p6_a_group_without_configuration_has_the_defaults_and_its_position() {
    let original = Original::make();
    for gone in [true, false] {
        let case = Case::of(&original.path());
        let meta = case.from().join("topics/orders/groups/g/group.meta");
        if gone {
            fs::remove_file(&meta).unwrap();
        } else {
            flip(&meta, 40, 1);
        }
        let recovered = case.recover(&original.contents);
        assert_eq!(recovered.losses.len(), 1, "{:?}", recovered.losses);
        assert_eq!(recovered.losses[0].file, meta);
        let left = drain(&case.to(), "orders", "g");
        assert_eq!(
            left.into_keys().collect::<BTreeSet<_>>(),
            original.unsettled
        );
    }
}

#[test]
fn p6_a_rebuilt_window_keeps_attempts() {
    let original = Original::make();
    let before = {
        let case = Case::of(&original.path());
        drain(&case.from(), "orders", "g")
    };
    let case = Case::of(&original.path());
    // The checksum itself.
    flip(&window(&case.from(), "g", 0), 43 * 8, 1);
    flip(&window(&case.from(), "g", 1), 43 * 8, 1);
    let recovered = recover(&case.from(), &case.to()).unwrap();
    assert_eq!(recovered.losses.len(), 2);
    let left = drain(&case.to(), "orders", "g");
    assert!(before.values().any(|attempt| *attempt > 1));
    for (place, attempt) in &before {
        assert_eq!(left.get(place), Some(attempt), "{place:?}");
    }
}
