//! Each kind of file, decoded for a person.

use super::super::dump;
use super::*;
use crate::error::{Error, ErrorKind};

fn text(path: &Path) -> String {
    let mut out = Vec::new();
    dump(path, &mut out).expect("a file of ours");
    String::from_utf8(out).expect("text")
}

fn has(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

#[test]
fn a_segment_shows_each_record_on_a_line() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let shown = text(&first_segment(folder.path()));
    has(
        &shown,
        &[
            "partition 0, first offset 0",
            "offset 3, ",
            "nothing here yet",
        ],
    );
    let line = shown
        .lines()
        .find(|line| line.starts_with("4096 "))
        .expect("the first record");
    let payload = "payload of 20 bytes \"aaaaaaaaaaaaaaaaaaaa\"";
    has(
        line,
        &["offset 0", "Z, key \"key\"", "headers [trace]", payload],
    );
    rolled(folder.path());
    let shown = text(&first_segment(folder.path()));
    has(&shown, &["\"...", "end: goes on in the segment of offset"]);
}

#[test]
fn damage_is_shown_in_its_place_and_what_follows_too() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let segment = first_segment(folder.path());
    flip(&segment, RECORDS + 60, 1);
    let shown = text(&segment);
    has(&shown, &["\n4096  DAMAGED", "offset 1, ", "offset 3, "]);
    flip(&segment, 16, 1);
    has(
        &text(&segment),
        &["0  DAMAGED header", "records are not shown"],
    );
    put(&segment, 0, b"nonsense");
    has(&text(&segment), &["0  DAMAGED header"]);
}

#[test]
fn the_other_kinds_say_what_they_hold() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let store = fill(&path);
    let control = text(&path.join("control"));
    has(
        &control,
        &[
            "in this start of the host",
            "member 0.1: in use",
            "topic ",
            "group ",
        ],
    );
    store.close().expect("close");
    let topic = path.join("topics/t");
    has(
        &text(&path.join("store.meta")),
        &["store.meta: checksum right", "id = "],
    );
    has(&text(&topic.join("topic.meta")), &["partitions = 1"]);
    has(
        &text(&topic.join("groups/g/group.meta")),
        &["ordering = key"],
    );
    let window = text(&topic.join("groups/g/0.window"));
    has(
        &window,
        &[
            "partition 0",
            "all below offset 1 settled",
            "closed cleanly",
        ],
    );
    let reserve = text(&topic.join("0/reserve"));
    has(
        &reserve,
        &["(counts)", "offsets below 4 are covered", "closed cleanly"],
    );
    has(&text(&path.join("lock")), &["kernel locks"]);
    rolled(&path);
    let index = text(&topic.join("0/00000000000000000000.index"));
    has(&index, &["index: of the segment with salt", "  offset "]);
    let meta = topic.join("topic.meta");
    flip(&meta, 30, 1);
    has(
        &text(&meta),
        &["DAMAGED: its checksum is wrong", "libqueue topic 1"],
    );
}

#[test]
fn what_is_nothing_of_ours_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let refused = |path: &Path| -> Error {
        let mut out = Vec::new();
        let error = dump(path, &mut out).expect_err("nothing of ours");
        assert_eq!(out, b"");
        let place = path.display().to_string();
        assert!(error.message().contains(&place), "{error}");
        error
    };
    let file = folder.path().join("picture");
    for content in ["", "x", "\u{7f}ELF and more of it"] {
        fs::write(&file, content).expect("write");
        assert_eq!(refused(&file).kind(), ErrorKind::InvalidArgument);
    }
    assert!(refused(&file).message().contains("\\x7fELF"));
    assert_eq!(refused(folder.path()).kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        refused(&folder.path().join("none")).kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_writer_that_fails_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let error = dump(&folder.path().join("store.meta"), &mut Full).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
}
