//! The structures of format.md, in the files of a store.

use std::fs;
use std::path::{Path, PathBuf};

use super::damage::{Case, Fault};

const PAGE: u64 = 4096;
const SEGMENT: [(u64, &str); 9] = [
    (0, "magic"),
    (8, "version"),
    (12, "salt"),
    (16, "base"),
    (24, "topic"),
    (32, "partition"),
    (40, "capacity"),
    (64, "header's CRC"),
    (200, "nothing"),
];
const RECORD: [(u64, &str); 13] = [
    (0, "length"),
    (3, "high byte of the length"),
    (4, "CRC"),
    (8, "offset"),
    (16, "timestamp"),
    (24, "key hash"),
    (32, "kind"),
    (33, "flags"),
    (34, "extension's length"),
    (36, "key's length"),
    (40, "headers' length"),
    (44, "payload's length"),
    (49, "body"),
];
const RESERVE: [(u64, &str); 11] = [
    (0, "magic"),
    (8, "version"),
    (12, "clean"),
    (16, "generation"),
    (24, "limit"),
    (32, "segment of the mark"),
    (40, "position of the mark"),
    (48, "offset of the mark"),
    (56, "timestamp of the mark"),
    (64, "boot"),
    (88, "CRC"),
];
const INDEX: [(u64, &str); 7] = [
    (0, "magic"),
    (8, "salt"),
    (12, "count"),
    (16, "CRC"),
    (24, "offset"),
    (32, "timestamp"),
    (40, "position"),
];
/// Words of a window's header that have a meaning.
const WINDOW: [u64; 19] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 40, 41, 42, 43, 44, 45,
];
const ENTRY: u64 = 64;

/// Every file of a store with every fault.
pub fn cases(store: &Path) -> Vec<Case> {
    let mut names = Vec::new();
    list(store, store, &mut names);
    names.sort();
    let mut cases = Vec::new();
    for file in &names {
        let mut faults = whole(&store.join(file));
        faults.extend(like(file, &names).map(Fault::Exchange));
        // One topic has all structures; those of the others are the same.
        if !file.starts_with("topics") || file.starts_with("topics/orders") {
            faults.extend(inside(store, file));
        }
        cases.extend(faults.into_iter().map(|fault| {
            let file = file.clone();
            Case { file, fault }
        }));
    }
    assert!(cases.len() > 200, "{}", cases.len());
    cases
}

fn list(store: &Path, folder: &Path, names: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(store, &path, names);
        } else {
            names.push(path.strip_prefix(store).unwrap().to_owned());
        }
    }
}

/// What may happen to any file.
fn whole(path: &Path) -> Vec<Fault> {
    let len = fs::metadata(path).unwrap().len();
    let mut faults = vec![Fault::Gone, Fault::ReadOnly];
    let mut lengths = vec![0, len / 2, len.saturating_sub(1)];
    lengths.retain(|to| *to < len);
    lengths.dedup();
    faults.extend(lengths.into_iter().map(Fault::Cut));
    faults
}

/// The next file of the same kind: of another partition, group or topic.
fn like(file: &Path, names: &[PathBuf]) -> Option<PathBuf> {
    let kind = |path: &Path| match path.extension() {
        Some(of) if of == "log" || of == "index" || of == "window" => of.to_owned(),
        _ => path.file_name().unwrap().to_owned(),
    };
    let later = names.iter().skip_while(|one| *one != file).skip(1);
    later
        .chain(names)
        .find(|one| *one != file && kind(one) == kind(file))
        .cloned()
}

fn flips<'a>(at: u64, places: &'a [(u64, &'static str)]) -> impl Iterator<Item = Fault> + 'a {
    places
        .iter()
        .map(move |(inside, what)| Fault::Flip(at + inside, what))
}

/// The structures of one file.
fn inside(store: &Path, file: &Path) -> Vec<Fault> {
    let bytes = fs::read(store.join(file)).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    match name.rsplit('.').next().unwrap() {
        "log" => of_segment(&bytes),
        "window" => of_window(&bytes),
        "index" => {
            let mut faults: Vec<Fault> = flips(0, &INDEX).collect();
            faults.push(Fault::Zero(24, 24, "entry"));
            faults
        }
        "reserve" => {
            let mut faults: Vec<Fault> = [0, 512]
                .into_iter()
                .flat_map(|slot| flips(slot, &RESERVE))
                .collect();
            faults.extend([0, 512].map(|slot| Fault::Zero(slot, 96, "slot")));
            faults
        }
        "meta" => {
            let lines = bytes.iter().enumerate();
            let starts = lines.filter(|(_, byte)| **byte == b'\n');
            let mut faults: Vec<Fault> = starts
                .map(|(at, _)| Fault::Flip(at as u64 - 1, "end of a line"))
                .collect();
            faults.push(Fault::Flip(0, "title"));
            faults.push(Fault::Zero(bytes.len() as u64 / 2, 8, "text"));
            faults
        }
        "control" => vec![
            Fault::Flip(0, "signature"),
            Fault::Flip(8, "laid out"),
            Fault::Zero(0, PAGE, "header"),
        ],
        // Nothing is in them that counts.
        "next" | "ballast" => vec![Fault::Flip(0, "nothing"), Fault::Flip(PAGE, "nothing")],
        _ => Vec::new(),
    }
}

/// Header, the first record, one in the middle, the last, and END.
fn of_segment(bytes: &[u8]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = flips(0, &SEGMENT).collect();
    faults.push(Fault::Zero(0, 72, "header"));
    let mut records = Vec::new();
    let mut at = PAGE as usize;
    while let Some(word) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(word.try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        records.push((at as u64, length as u64));
        at += length.next_multiple_of(8);
    }
    faults.push(Fault::Flip(at as u64 + 8, "nothing behind the end"));
    let Some(last) = records.pop() else {
        return faults;
    };
    // The header and a part of the body: END has no body.
    let of = |at: u64, length: u64| {
        let places: Vec<_> = RECORD
            .into_iter()
            .filter(|(inside, _)| *inside < length)
            .collect();
        flips(at, &places).collect::<Vec<_>>()
    };
    faults.extend(of(last.0, last.1));
    faults.push(Fault::Zero(last.0, 48, "last record's header"));
    if let Some((at, length)) = records.get(records.len() / 2).copied() {
        faults.extend(of(at, length));
        faults.push(Fault::Flip(at + length - 1, "payload"));
        faults.push(Fault::Zero(at, 48, "record's header"));
        faults.push(Fault::Zero(at + 48, length - 48, "record's body"));
    }
    if let Some((at, _)) = records.first() {
        faults.push(Fault::Zero(*at, 4, "first record's length"));
    }
    faults
}

/// Header, wheel, bitmap, buckets and three entries.
fn of_window(bytes: &[u8]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = WINDOW
        .map(|word| Fault::Flip(word * 8, "word of the header"))
        .into();
    faults.extend([
        Fault::Zero(0, PAGE, "header"),
        Fault::Flip(PAGE + 8, "wheel"),
        Fault::Zero(PAGE, PAGE, "wheel"),
        Fault::Flip(2 * PAGE, "bitmap"),
        Fault::Flip(3 * PAGE, "bucket"),
    ]);
    let entries = bytes.len() as u64 - 1024 * ENTRY;
    for entry in [0, 4, 5, 300] {
        for word in 0..8 {
            faults.push(Fault::Flip(
                entries + entry * ENTRY + word * 8,
                "word of an entry",
            ));
        }
    }
    faults.push(Fault::Zero(entries + 5 * ENTRY, ENTRY, "entry"));
    faults
}
