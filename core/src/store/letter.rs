//! A dead letter: what it says, which is the message's own headers and where it came from, and
//! appending it.

use super::aside::Failures;
use super::dying::locked_reasons;
use super::group::GroupInner;
use super::source::{CYCLES, HELD, OWN, REDRIVEN_FROM, SENT, Source, letter_of};
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::body_crc;
use crate::format::{extension, headers, murmur2};
use crate::group::Dying;
use crate::log::{Draft, Record, Room};
use crate::options::OnDeadLetter;

/// Says how many of the message's own headers were left out.
const DROPPED: &str = "lq-headers-dropped";
/// Bytes of an error text that are kept.
const ERROR_BYTES: usize = 64 << 10;

/// The headers block of a dead letter, which any message can have (P12): of its own headers the
/// last ones are left out where there would be more than a message can have. A letter may be
/// larger than the limit of its topic, by what stands here. A redriven message names where it came
/// from first, and the letter that it was redriven from.
fn headers_of(
    group: &GroupInner,
    partition: u32,
    dead: &Dying,
    record: &Record,
) -> Result<Vec<u8>> {
    let known = locked_reasons(group)
        .get(&(partition, dead.offset))
        .cloned();
    let (mut error, consumer) = known.unwrap_or_else(|| group.reason_of(dead));
    let short = (0..=ERROR_BYTES)
        .rev()
        .find(|at| error.is_char_boundary(*at));
    error.truncate(short.unwrap_or(0));
    let now = group.topic.store.env.clock.wall_ns();
    // A damaged entry may name any time (P18).
    let first_failed = dead.first_failed_ms.saturating_mul(1_000_000);
    let before = group.is_lane().then(|| letter_of(group, record)).flatten();
    let (topic, name) = group.source();
    let source = before.unwrap_or(Source {
        topic,
        group: name,
        group_id: group.source_id(),
        partition,
        offset: dead.offset,
        timestamp_ns: Some(record.timestamp_ns),
        cycles: dead.cycles,
        redriven_from: None,
    });
    let cycles = source.cycles.saturating_add(u32::from(before.is_some()));
    let held = OnDeadLetter::HoldKey;
    let holds =
        dead.may_hold && !group.is_lane() && group.settings()?.config.on_dead_letter == held;
    let mut own: Vec<(&str, String)> = vec![
        ("lq-source-topic", source.topic.to_owned()),
        ("lq-source-partition", source.partition.to_string()),
        ("lq-source-offset", source.offset.to_string()),
        ("lq-group", source.group.to_owned()),
        ("lq-attempts", dead.attempts.to_string()),
        ("lq-failures", dead.failures.to_string()),
        ("lq-error", error),
        ("lq-consumer", consumer),
        ("lq-first-failed", first_failed.to_string()),
        ("lq-last-failed", now.to_string()),
        (CYCLES, cycles.to_string()),
    ];
    own.extend(source.timestamp_ns.map(|at| (SENT, at.to_string())));
    if group.is_lane() {
        own.push((REDRIVEN_FROM, dead.offset.to_string()));
    }
    if holds {
        own.push((HELD, "1".to_owned()));
    }
    let mut dropped = 0;
    // A dead letter that dies again tells of its last death.
    let mut all: Vec<(&str, &[u8])> = Vec::new();
    for (name, value) in record.headers() {
        if name == DROPPED {
            let before = std::str::from_utf8(value).ok();
            dropped = before.and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        } else if !OWN.contains(&name) {
            all.push((name, value));
        }
    }
    let most = usize::from(u16::MAX) - own.len();
    if all.len() + usize::from(dropped > 0) > most {
        dropped = dropped.saturating_add((all.len() - (most - 1)) as u64);
        all.truncate(most - 1);
    }
    let dropped = (dropped > 0).then(|| dropped.to_string());
    all.extend(own.iter().map(|(name, value)| (*name, value.as_bytes())));
    all.extend(dropped.iter().map(|count| (DROPPED, count.as_bytes())));
    let mut block = Vec::new();
    headers::encode(&all, &mut block)?;
    Ok(block)
}

/// What an append came to.
#[derive(Default)]
pub(super) struct Appended {
    pub(super) done: Vec<u64>,
    pub(super) damage: Vec<(u64, Error)>,
    /// Why none of the others can be appended.
    pub(super) stopped: Option<Error>,
}

/// Appends the dead letters. One that cannot be is set aside, and keeps none behind it (P12).
pub(super) fn append(
    group: &GroupInner,
    partition: u32,
    target: &TopicInner,
    dying: &[Dying],
    failures: &mut Failures,
) -> Appended {
    let log = &group.topic.partitions[partition as usize];
    let mut appended = Appended::default();
    for dead in dying {
        let record = match log.record(dead.offset, dead.position) {
            Ok(record) => record,
            Err(error) if error.kind() == ErrorKind::Damaged => {
                appended.damage.push((dead.offset, error));
                continue;
            }
            Err(error) => {
                failures.add(group, partition, (dead.offset, 0), error);
                continue;
            }
        };
        // Which is more than the letter has by what all of them have.
        let bytes = record.length() as usize;
        if failures.has_no_room(bytes) {
            failures.skip(group, partition, dead.offset);
            continue;
        }
        match append_one(group, partition, target, dead, &record) {
            Ok(()) => appended.done.push(dead.offset),
            Err(error) if is_of_one(&error) => {
                failures.add(group, partition, (dead.offset, bytes), error);
            }
            Err(error) => {
                appended.stopped = Some(error);
                break;
            }
        }
    }
    appended
}

/// Whether the error says nothing of the next letter.
fn is_of_one(error: &Error) -> bool {
    let kinds = [
        ErrorKind::DiskFull,
        ErrorKind::TooLarge,
        ErrorKind::InvalidArgument,
        ErrorKind::Io,
    ];
    kinds.contains(&error.kind())
}

/// Whatever the largest message of the dead-letter topic is: a letter is not refused (P12).
fn append_one(
    group: &GroupInner,
    partition: u32,
    target: &TopicInner,
    dead: &Dying,
    record: &Record,
) -> Result<()> {
    let block = headers_of(group, partition, dead, record)?;
    let (key, payload) = (record.key(), record.payload());
    let extension = extension::of_letter(group.source_id());
    let draft = Draft {
        extension: &extension,
        key,
        headers: &block,
        payload,
        timestamp_ns: None,
        body_crc: body_crc([&extension, key.unwrap_or_default(), &block, payload]),
        key_hash: key.map_or(0, murmur2::key_hash),
    };
    let store = &group.topic.store;
    store.with_ballast(|| target.append_unlimited(0, &[draft], Room::Kept))?;
    Ok(())
}
