//! Intact stores verify clean; each kind of damage is named with its file and place (P3).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::error::ErrorKind;
use crate::format::record::{HEADER, padded};
use crate::format::window::header;

/// Position and length of each record of a segment.
fn records(segment: &Path) -> Vec<(u64, u64)> {
    let bytes = fs::read(segment).expect("read");
    let (mut at, mut found) = (RECORDS, Vec::new());
    loop {
        let length = u64::from(crate::format::u32_at(&bytes, at as usize));
        if length == 0 {
            return found;
        }
        found.push((at, length));
        at += padded(length);
        if bytes[found[found.len() - 1].0 as usize + 32] == crate::format::record::END {
            return found;
        }
    }
}

fn end_of(segment: &Path) -> u64 {
    let (at, length) = *records(segment).last().expect("records");
    at + padded(length)
}

#[test]
fn p3_an_intact_store_verifies_clean_and_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    rolled(&path);
    small(&path);
    let mut told = Vec::new();
    let report = verify(&path, &mut |done, total| {
        told.push((done, total));
        Ok(())
    })
    .expect("a store");
    assert_eq!(report.damage, []);
    assert_eq!((report.topics, report.groups, report.messages), (1, 1, 44));
    assert!(report.files >= 8, "{report:?}");
    let total = report.bytes;
    assert!(told.len() > 2, "a file of a MiB is told of in steps");
    assert_eq!(told.first(), Some(&(0, total)));
    assert_eq!(told.last(), Some(&(total, total)));
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn p3_every_byte_of_records_and_segment_header_is_guarded() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let segment = first_segment(folder.path());
    let all = records(&segment);
    let end = end_of(&segment);
    for at in (0..RECORDS)
        .step_by(61)
        .chain(0..72)
        .chain(RECORDS..end + 4)
    {
        let record = all
            .iter()
            .find(|(from, len)| (*from..from + len).contains(&at));
        let padding = at >= RECORDS && at < end && record.is_none();
        for bits in [1_u8 << (at % 8), 0xFF] {
            let old = flip(&segment, at, bits);
            let damage = quietly(folder.path()).damage;
            put(&segment, at, &[old]);
            if padding {
                assert_eq!(damage, [], "nobody reads byte {at}");
                continue;
            }
            // A record is named by where it begins; reserved bytes of the header page by
            // themselves.
            let expected = match record {
                Some((from, _)) => *from,
                None if at >= end => end,
                None if at >= 68 => at,
                None => 0,
            };
            let named = damage
                .iter()
                .any(|d| d.file == segment && d.position == expected);
            assert!(
                named,
                "byte {at} ^ {bits:#x}, expected at {expected}: {damage:?}"
            );
        }
    }
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn p3_a_damaged_record_costs_itself_and_those_behind_it_are_counted() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let segment = first_segment(folder.path());
    let (second, _) = records(&segment)[1];
    for at in [second, second + 36, second + HEADER as u64 + 3] {
        let old = flip(&segment, at, 4);
        let report = quietly(folder.path());
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!((report.damage[0].position, report.messages), (second, 3));
        put(&segment, at, &[old]);
    }
}

#[test]
fn p3_a_sealed_segment_that_loses_its_end_is_damaged() {
    let folder = tempfile::tempdir().expect("folder");
    rolled(folder.path());
    let segment = first_segment(folder.path());
    let all = records(&segment);
    let (end, _) = all[all.len() - 1];
    for at in [all[3].0, end] {
        let old = put(&segment, at, &[0; 4]);
        let damage = quietly(folder.path()).damage;
        assert!(
            damage.iter().any(|d| d.file == segment && d.position == at),
            "{damage:?}"
        );
        put(&segment, at, &old);
    }
    let next = word(&segment, end + 8);
    let second = partition(folder.path()).join(format!("{next:020}.log"));
    let hidden = folder.path().join("hidden");
    fs::rename(&second, &hidden).expect("rename");
    let damage = quietly(folder.path()).damage;
    assert!(damage.iter().any(|d| d.file == second), "{damage:?}");
    fs::rename(&hidden, &second).expect("rename");
    let stranger = partition(folder.path()).join(format!("{:020}.log", next + 7));
    fs::copy(&second, &stranger).expect("copy");
    let damage = quietly(folder.path()).damage;
    assert!(
        damage.iter().any(|d| d.file == stranger && d.position == 0),
        "{damage:?}"
    );
}

#[test]
fn p3_every_byte_of_meta_files_and_reserve_is_guarded() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let files = [
        folder.path().join("store.meta"),
        folder.path().join("topics/t/topic.meta"),
        folder.path().join("topics/t/groups/g/group.meta"),
        partition(folder.path()).join("reserve"),
    ];
    for file in files {
        for at in 0..fs::read(&file).expect("read").len() as u64 {
            let old = flip(&file, at, 1 << (at % 7));
            // A digit of the version says that another version wrote it.
            match verify(folder.path(), &mut |_, _| Ok(())) {
                Ok(report) => assert!(
                    report.damage.iter().any(|d| d.file == file),
                    "byte {at} of {}: {:?}",
                    file.display(),
                    report.damage
                ),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}"),
            }
            put(&file, at, &[old]);
        }
    }
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn p3_every_byte_of_an_index_is_guarded() {
    let folder = tempfile::tempdir().expect("folder");
    rolled(folder.path());
    let index = partition(folder.path()).join("00000000000000000000.index");
    for at in 0..fs::read(&index).expect("read").len() as u64 {
        let old = flip(&index, at, 1 << (at % 8));
        let wrong = super::super::cached::look_at_index(&index, &[]).expect("read");
        assert_eq!(wrong.len(), 1, "byte {at}");
        if at == 30 {
            let damage = quietly(folder.path()).damage;
            assert!(damage.iter().any(|d| d.file == index), "{damage:?}");
        }
        put(&index, at, &[old]);
    }
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn p3_the_reserve_must_cover_the_log_and_the_log_reach_the_mark() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let reserve = partition(folder.path()).join("reserve");
    let bytes = fs::read(&reserve).expect("read");
    fs::remove_file(&reserve).expect("remove");
    let damage = quietly(folder.path()).damage;
    assert!(damage.iter().any(|d| d.file == reserve), "{damage:?}");
    fs::write(&reserve, &bytes).expect("write");
    let segment = first_segment(folder.path());
    // The last record is as if it was never sent.
    let (last, _) = *records(&segment).last().expect("records");
    put(&segment, last, &[0; 4]);
    let damage = quietly(folder.path()).damage;
    assert!(
        damage
            .iter()
            .any(|d| d.file == segment && d.position == last),
        "{damage:?}"
    );
}

#[test]
fn p3_the_words_of_a_window_are_guarded() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let file = window(folder.path());
    let guarded = [
        header::MAGIC,
        header::VERSION,
        header::GROUP,
        header::PARTITION,
        header::LIMIT,
        header::EPOCH,
        header::CAPACITY,
        header::FLOOR,
        header::NEXT,
        header::CLEAN,
        header::CRC,
        header::DEAD_FROM,
        header::WORDS,
    ];
    for at in guarded.into_iter().map(|word| word as u64 * 8) {
        for bits in [2, 0x40] {
            let old = flip(&file, at, bits);
            let damage = quietly(folder.path()).damage;
            assert!(damage.iter().any(|d| d.file == file), "byte {at} ^ {bits}");
            put(&file, at, &[old]);
        }
    }
    // An entry: that of the second message was taken in, or none was.
    let (floor, next) = (word(&file, 7 * 8), word(&file, 8 * 8));
    assert_eq!(floor, 1, "the first message is settled");
    let at = fs::metadata(&file).expect("look").len() - 1024 * 64 + floor * 64;
    put(&file, 8 * 8, &(floor + 1).to_le_bytes());
    let damage = quietly(folder.path()).damage;
    put(&file, 8 * 8, &next.to_le_bytes());
    assert_eq!(next == floor + 1, damage.is_empty());
    if next > floor {
        flip(&file, at, 1);
        let damage = quietly(folder.path()).damage;
        assert_eq!(damage[0].position, header::CRC as u64 * 8, "{damage:?}");
    }
}

#[test]
fn p3_missing_configuration_and_folders_are_damage_once_there_are_messages() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let hidden = folder.path().join("hidden");
    for name in [
        "topics/t/topic.meta",
        "topics/t/groups/g/group.meta",
        "topics/t/0",
    ] {
        let path = folder.path().join(name);
        fs::rename(&path, &hidden).expect("rename");
        let damage = quietly(folder.path()).damage;
        assert!(damage.iter().any(|d| d.file == path), "{name}: {damage:?}");
        fs::rename(&hidden, &path).expect("rename");
    }
    // What the creator of a topic or group that died leaves.
    fs::create_dir_all(folder.path().join("topics/half/0")).expect("folder");
    fs::create_dir_all(folder.path().join("topics/t/groups/half")).expect("folder");
    assert_eq!(quietly(folder.path()).damage, []);
}

#[test]
fn what_is_no_store_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let kind = |path: &Path| {
        verify(path, &mut |_, _| Ok(()))
            .expect_err("no store")
            .kind()
    };
    assert_eq!(kind(&folder.path().join("none")), ErrorKind::NotFound);
    assert_eq!(kind(folder.path()), ErrorKind::NotAStore);
    let file = folder.path().join("file");
    fs::write(&file, "text").expect("write");
    assert_eq!(kind(&file), ErrorKind::NotAStore);
    let store = folder.path().join("store");
    small(&store);
    let meta = store.join("store.meta");
    let text = fs::read_to_string(&meta).expect("read");
    let newer = text.replace(" store 1\n", " store 2\n");
    assert_ne!(newer, text);
    fs::write(&meta, newer).expect("write");
    assert_eq!(kind(&store), ErrorKind::Incompatible);
}

#[test]
fn verify_changes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    small(folder.path());
    let segment = first_segment(folder.path());
    let look = || {
        let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).expect("look");
        let files = super::super::plan::Plan::of(folder.path()).expect("plan");
        let times = files
            .all()
            .iter()
            .map(|l| (l.path.clone(), modified(&l.path)))
            .collect();
        let times: Vec<(PathBuf, std::time::SystemTime)> = times;
        times
    };
    let before = look();
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o440)).expect("read-only");
    assert_eq!(quietly(folder.path()).damage, []);
    assert_eq!(look(), before);
}

#[test]
fn a_check_ends_where_progress_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    rolled(folder.path());
    for wanted in [ErrorKind::Io, ErrorKind::NotFound, ErrorKind::Internal] {
        let mut told = 0;
        let ended = verify(folder.path(), &mut |done, _| {
            told += 1;
            if done == 0 {
                return Ok(());
            }
            Err(crate::Error::new(wanted, "enough"))
        });
        let error = ended.expect_err("it was ended in the middle of a file");
        assert_eq!((error.kind(), error.message(), told), (wanted, "enough", 2));
    }
}
