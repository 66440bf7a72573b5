//! Words of `control` that somebody else changed: nothing that was sent is overwritten, and the
//! next life finds it all (P4, P18).

use std::path::Path;
use std::sync::Arc;

use super::tests::{draft, open, payloads};
use super::*;
use crate::format::control::partition as at;
use crate::storage::Disk;

const SENT: [&[u8]; 3] = [b"one", b"two", b"three"];

fn sent(folder: &Path) -> Arc<Partition> {
    let partition = open(Arc::new(Disk), folder);
    for payload in SENT {
        partition.append(&[draft(payload)]).expect("append");
    }
    partition
}

fn all_is_there(folder: &Path) {
    let next = open(Arc::new(Disk), folder);
    let found: Vec<_> = payloads(&next).into_iter().map(|(_, p)| p).collect();
    assert_eq!(found, SENT);
    assert_eq!(next.append(&[draft(b"four")]).expect("append"), 3);
}

#[test]
fn p4_p18_where_the_log_goes_on_is_not_taken_from_one_word() {
    let changes = [
        (at::POSITION, 4096),
        (at::POSITION, 4096 + 48),
        (at::POSITION, u64::MAX),
        (at::NEXT_OFFSET, 1),
        (at::NEXT_OFFSET, 4_000),
        (at::SEGMENT, 7),
        (at::TAIL, 1),
        (at::TAIL, 0),
    ];
    for (word, value) in changes {
        let folder = tempfile::tempdir().expect("folder");
        let partition = sent(folder.path());
        if partition.block.0.get(word) == value {
            continue;
        }
        partition.block.0.set(word, value);
        let error = partition.append(&[draft(b"lost")]).expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Damaged, "word {word}: {error}");
        assert!(partition.append(&[draft(b"lost")]).is_err(), "word {word}");
        drop(partition);
        all_is_there(folder.path());
    }
}

#[test]
fn p18_an_offset_beyond_all_is_an_error_and_goes_into_no_file() {
    for value in [u64::MAX, u64::MAX - 5, 1 << 62] {
        let folder = tempfile::tempdir().expect("folder");
        let partition = sent(folder.path());
        let before = partition.read_reserve().expect("reserve");
        partition.block.0.set(at::NEXT_OFFSET, value);
        let error = partition.append(&[draft(b"lost")]).expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert_eq!(partition.read_reserve().expect("reserve"), before);
        drop(partition);
        all_is_there(folder.path());
    }
}

#[test]
fn p2_p18_a_clean_close_believes_no_mark_that_is_not_the_end() {
    let folder = tempfile::tempdir().expect("folder");
    let partition = sent(folder.path());
    partition.sync().expect("sync");
    let mark = at::MARKS + (partition.block.0.get(at::MARK) & 1) as usize * 4;
    partition.block.0.set(mark + 1, 4096 + 48);
    partition.close_clean().expect("close");
    drop(partition);
    all_is_there(folder.path());
}
