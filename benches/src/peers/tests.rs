//! The peers of `benches/tests/peers`, which do nothing and say so.

use std::path::{Path, PathBuf};

use super::run::parse;
use super::{Asked, Peers};
use crate::report::{Entry, Kind, Table};
use crate::scale::SHORT;
use crate::works::Context;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

fn rows(asked: &Asked, ours: &[(&'static str, f64)]) -> Table {
    let peers = Peers::of(&folder()).expect("listed");
    let place = tempfile::tempdir().expect("a folder");
    let context = Context {
        folder: place.path(),
        scale: SHORT,
        programs: &[],
        peers: &peers,
    };
    let mut table = Table::default();
    table.part("w1", "send one by one");
    peers
        .rows(&context, asked, "one by one", ours, &mut table)
        .expect("asked");
    peers.failures(&mut table);
    let left = std::fs::read_dir(place.path()).expect("the folder").count();
    assert_eq!(left, 0, "a peer's folder is removed");
    table
}

fn find<'t>(table: &'t Table, who: &str) -> &'t Entry {
    let found = table
        .entries()
        .iter()
        .find(|one| one.row.who.starts_with(who));
    found.unwrap_or_else(|| panic!("no row of {who}:\n{}", table.text()))
}

#[test]
fn what_failed_is_shown_and_what_is_not_there_is_left_out() {
    let table = rows(
        &Asked::new("W1", 100, 1),
        &[("Rust", 500.0), ("Python", 1000.0)],
    );
    let quick = find(&table, "quick 1.0 (Rust)");
    assert!((quick.row.value - 500_000.0).abs() < 1.0 && !quick.failed);
    assert_eq!(quick.durability.as_deref(), Some("process"));
    for (who, why) in [
        ("unverified", "not verified"),
        ("broken", "the server did not start"),
    ] {
        let row = find(&table, who);
        let note = row.note.as_deref().unwrap_or_default();
        assert!(row.failed && note.contains(why), "{who}: {note}");
    }
    let text = table.text();
    assert!(
        !text.contains("unable") && !text.contains("absent"),
        "{text}"
    );
}

#[test]
fn the_best_of_the_same_durability_and_language_is_what_counts() {
    let table = rows(
        &Asked::new("W1", 1024, 1),
        &[("Rust", 500.0), ("Python", 1000.0)],
    );
    let against: Vec<&Entry> = table
        .entries()
        .iter()
        .filter(|one| one.kind == Kind::Against)
        .collect();
    let found: Vec<(&str, f64)> = against
        .iter()
        .map(|one| (one.row.who.as_ref(), one.row.value.round()))
        .collect();
    // Each of its messages took 2,000 ns; the one that took 100 survives nothing.
    assert_eq!(
        found,
        [
            ("Rust / quick (Rust)", 4.0),
            ("Python / snake (Python)", 2.0)
        ]
    );
    assert!(
        rows(&Asked::new("W1", 65_536, 1), &[("Rust", 1.0)])
            .entries()
            .is_empty()
    );
    assert!(
        rows(&Asked::new("W2", 100, 100), &[("Rust", 1.0)])
            .entries()
            .is_empty()
    );
}

#[test]
fn of_a_paced_work_the_times_on_the_way_are_shown() {
    let asked = Asked {
        pace: 10_000,
        consumers: 1,
        ..Asked::new("W5", 100, 100)
    };
    let table = rows(&asked, &[("Rust", 2500.0)]);
    let values: Vec<f64> = table.entries().iter().map(|one| one.row.value).collect();
    assert_eq!(values, [5.0, 90.0, 100.0, 200.0, 2.0], "{}", table.text());
    assert_eq!(find(&table, "Rust / quick").row.unit, "times");
}

#[test]
fn a_program_that_cannot_list_is_shown_and_one_that_is_not_there_is_not() {
    let place = tempfile::tempdir().expect("a folder");
    let none = Peers::of(&place.path().join("none")).expect("nothing");
    assert!(none.list.is_empty() && none.failed.is_empty());
    // A program that knows no `list`; what is beside it is none, or a server.
    for name in ["libqueue-peers-false", "server"] {
        std::os::unix::fs::symlink("/bin/false", place.path().join(name)).expect("a link");
    }
    std::fs::write(place.path().join("libqueue-peers.md"), "no program").expect("written");
    let peers = Peers::of(place.path()).expect("asked");
    let mut table = Table::default();
    peers.failures(&mut table);
    assert!(find(&table, "libqueue-peers-false").failed && table.entries().len() == 1);
}

#[test]
fn what_a_program_says_has_to_be_whole() {
    let asked = Asked::new("W1", 100, 1);
    let good = r#"{"count": 10, "seconds": 1.5, "checksum": true, "durability": "sync"}"#;
    assert_eq!(parse(good, &asked, 10).map(|found| found.each), Ok(1.5e8));
    let wrong = |from: &str, to: &str| parse(&good.replace(from, to), &asked, 10).err();
    for (from, to, why) in [
        ("10", "9", "it did 9"),
        ("1.5", "0.0", "how long it took"),
        ("true", "null", "not verified"),
        ("durability", "d", "what a message survives"),
        ("{", "", "said"),
    ] {
        let error = wrong(from, to).unwrap_or_else(|| panic!("{to} was taken"));
        assert!(error.contains(why), "{error}");
    }
    let paced = Asked { pace: 1, ..asked };
    assert!(
        parse(good, &paced, 10).is_err(),
        "a paced one without times"
    );
}
