//! A delivery window: its header, its entries, and after a clean close the checksum of its truth.

use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::entries::{self, InLog};
use super::{Wrong, chain, settled};
use crate::error::{ErrorKind, Result};
use crate::format::window::{
    CAPACITY_MIN, CLOSED, ENTRY, HEADER, MAGIC, OPENING, Parts, header, sum_entry, sum_header,
};
use crate::format::{VERSION, u64_at};
use crate::storage::{Disk, Storage};

/// Words of the header that nobody uses.
const RESERVED: [(usize, usize); 2] = [
    (header::READY_LEVELS + 1, header::COUNTERS),
    (header::JOINS + 1, HEADER / 8),
];

/// What the group's configuration says, as far as it could be read.
pub(super) struct Expected {
    pub(super) group: Option<u64>,
    pub(super) partition: u32,
    pub(super) limit: Option<u64>,
    /// The partition's reserve.
    pub(super) reserve: PathBuf,
}

/// The header's words in use.
pub(super) type Words = [u64; header::WORDS];

/// What is wrong with a window, also against the log. While somebody works with it only what then
/// stays is looked at.
pub(super) fn look(
    path: &Path,
    expected: &Expected,
    log: Option<&InLog<'_>>,
) -> Result<Vec<Wrong>> {
    let (_, wrong) = settled(|| {
        let mut bytes = Bytes::open(path)?;
        let Some(words) = words(&mut bytes)? else {
            // Being created: the length comes before the first word.
            let place = bytes.not_zero(0, bytes.len())?;
            let short = |place| (place, format!("it has {} bytes only", bytes.len()));
            return Ok::<_, crate::error::Error>(((), place.map(short).into_iter().collect()));
        };
        let mut wrong = Vec::new();
        // Being created as well: the magic word is stored last.
        if words[header::MAGIC] != 0 {
            check_header(&words, expected, &mut wrong);
            // Read after the header: the limit is raised before offsets are used.
            let next = words[header::NEXT];
            let covered = match Disk.exists(&expected.reserve)? {
                true => chain::limit(&expected.reserve)?,
                // Written before the first offset is given out.
                false => Some(0),
            };
            if wrong.is_empty()
                && let Some(limit) = covered
                && next > limit
            {
                let what = format!("its end is offset {next}, the log ends below {limit}");
                wrong.push((header::NEXT as u64 * 8, what));
            }
            if wrong.is_empty() {
                check_rest(&mut bytes, &words, log, &mut wrong)?;
            }
        }
        Ok(((), wrong))
    })?;
    Ok(wrong)
}

/// Whether anything was handed out, or passed over, through this window.
pub(super) fn was_used(path: &Path) -> Result<bool> {
    let words = match Bytes::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => words(&mut opened?)?,
    };
    Ok(words.is_some_and(|words| {
        let counted = words[header::COUNTERS..header::BOOT]
            .iter()
            .any(|word| *word != 0);
        counted || words[header::NEXT] != words[header::FLOOR]
    }))
}

/// The words of the header of the window in a file, if they can be read.
pub(super) fn words_of(path: &Path) -> Option<Words> {
    words(&mut Bytes::open(path).ok()?).ok()?
}

/// The words of the header; `None` if the file is shorter than it.
pub(super) fn words(bytes: &mut Bytes) -> Result<Option<Words>> {
    let head = bytes.get(0, HEADER as u64)?;
    Ok(head.map(|head| std::array::from_fn(|word| u64_at(head, word * 8))))
}

fn check_header(words: &Words, expected: &Expected, wrong: &mut Vec<Wrong>) {
    let mut must = |name: &str, word: usize, wanted: Option<u64>| {
        let found = words[word];
        if let Some(wanted) = wanted
            && found != wanted
        {
            let what = format!("its {name} is {found:#x}, expected {wanted:#x}");
            wrong.push((word as u64 * 8, what));
        }
    };
    must("magic", header::MAGIC, Some(MAGIC));
    must("version", header::VERSION, Some(u64::from(VERSION)));
    must("group", header::GROUP, expected.group);
    must(
        "partition",
        header::PARTITION,
        Some(u64::from(expected.partition)),
    );
    must("limit", header::LIMIT, expected.limit);
}

/// The parts that the header's limit gives, if it can be one.
pub(super) fn parts(words: &Words) -> Option<Parts> {
    u32::try_from(words[header::LIMIT]).ok().map(Parts::of)
}

fn check_rest(
    bytes: &mut Bytes,
    words: &Words,
    log: Option<&InLog<'_>>,
    wrong: &mut Vec<Wrong>,
) -> Result<()> {
    let at = |word: usize| word as u64 * 8;
    let Some(parts) = parts(words) else {
        let what = format!("its limit is {}", words[header::LIMIT]);
        wrong.push((at(header::LIMIT), what));
        return Ok(());
    };
    let (capacity, most) = (words[header::CAPACITY], parts.most as u64);
    if !capacity.is_power_of_two() || !(CAPACITY_MIN..=most).contains(&capacity) {
        let what = format!("its capacity is {capacity}, expected a power of two up to {most}");
        wrong.push((at(header::CAPACITY), what));
        return Ok(());
    }
    if bytes.len() < parts.bytes(capacity) {
        let needed = parts.bytes(capacity);
        let what = format!("the file ends here, {capacity} entries need {needed} bytes");
        wrong.push((bytes.len(), what));
        return Ok(());
    }
    let (floor, next) = (words[header::FLOOR], words[header::NEXT]);
    let jumps = words[header::CLEAN] != CLOSED && floor <= next;
    if jumps && next - floor > capacity {
        // One died between the two words: the window ends where its entries do.
        return Ok(());
    }
    if next.checked_sub(floor).is_none_or(|open| open > capacity) {
        let what = format!("its floor is {floor}, its end {next}, its capacity {capacity}");
        wrong.push((at(header::FLOOR), what));
        return Ok(());
    }
    let usable = words[header::USABLE];
    if !usable.is_power_of_two() || usable > capacity || next - floor > usable {
        let what = format!(
            "{usable} entries may be in use, {capacity} have room, {} are",
            next - floor
        );
        wrong.push((at(header::USABLE), what));
    }
    let mut found = Vec::new();
    entries::check(bytes, words, &parts, log, &mut found)?;
    // What was changed while it was read does not fit together, and is no damage.
    if !found.is_empty() && is_still(bytes, words)? {
        wrong.append(&mut found);
    }
    for (from, to) in RESERVED {
        if let Some(place) = bytes.not_zero(at(from), at(to))? {
            wrong.push((place, "a reserved byte of the header is not zero".into()));
        }
    }
    match words[header::CLEAN] {
        0 | OPENING => {}
        CLOSED => check_sum(bytes, words, &parts, wrong)?,
        other => {
            let what = format!("its word of a clean close is {other:#x}, expected 0 to 2");
            wrong.push((at(header::CLEAN), what));
        }
    }
    Ok(())
}

/// Whether nobody worked with the window since its header was read: all that is done counts
/// something there.
pub(super) fn is_still(bytes: &mut Bytes, words: &Words) -> Result<bool> {
    bytes.forget();
    Ok(self::words(bytes)?.is_some_and(|now| now == *words))
}

fn check_sum(
    bytes: &mut Bytes,
    words: &Words,
    parts: &Parts,
    wrong: &mut Vec<Wrong>,
) -> Result<()> {
    let mask = words[header::CAPACITY] - 1;
    let mut sum = sum_header(|word| words[word]);
    for offset in words[header::FLOOR]..words[header::NEXT] {
        let at = parts.entries as u64 + (offset & mask) * ENTRY as u64;
        if let Some(entry) = bytes.get(at, ENTRY as u64)? {
            sum = sum_entry(sum, |word| u64_at(entry, word * 8));
        }
    }
    // Whoever opens it clears the word before the first change.
    let still = is_still(bytes, words)?;
    let stored = words[header::CRC];
    if still && u64::from(sum) != stored {
        let what = format!(
            "the checksum of floor, end, epoch and entries is {sum:#010x}, stored is {stored:#010x}"
        );
        wrong.push((header::CRC as u64 * 8, what));
    }
    Ok(())
}
