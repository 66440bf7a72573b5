//! Dead letters against the windows that their messages came from: a message is in its group or in
//! the dead letters, never in both (P12). That it is dying is on disk before its letter is, so that
//! a letter whose message is open and not dying is damage. Looked at in windows that were closed
//! cleanly: of others it is not known what the last sync held.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::log::Log;
use super::plan::{GroupPlan, TopicPlan};
use super::verify::Run;
use super::{Damage, ranges, window};
use crate::error::{ErrorKind, Result};
use crate::format::headers::Headers;
use crate::format::record::{HEADER, Header};
use crate::format::window::{CLOSED, ENTRY, entry as at, header, state};
use crate::format::{names, u64_at};
use crate::options::DeadLetter;
use crate::store::GroupMeta;

/// More than the key and the headers of a dead letter have.
const MOST: u64 = 16 << 20;

/// Where a dead letter is.
struct Letter {
    /// The topic that it is in.
    topic: String,
    file: PathBuf,
    position: u64,
    /// Partition and offset that it had.
    partition: u32,
    offset: u64,
}

/// A group whose dead letters are looked for.
struct Buried<'a> {
    topic: &'a TopicPlan,
    group: &'a GroupPlan,
    /// The topic of its dead letters.
    target: String,
    /// Offsets of whole messages, by partition: of one that is gone nobody gets it twice.
    readable: HashMap<u32, Vec<Range<u64>>>,
}

/// What was met of dead letters, and whose they may be.
#[derive(Default)]
pub(super) struct Letters<'a> {
    /// By topic and group that they came from.
    found: HashMap<(String, String), Vec<Letter>>,
    groups: Vec<Buried<'a>>,
}

impl<'a> Letters<'a> {
    /// A whole message, of which the headers say whether it is a dead letter.
    pub(super) fn meet(
        &mut self,
        topic: &str,
        file: &Path,
        bytes: &mut Bytes,
        position: u64,
        header: &Header,
    ) -> Result<()> {
        let (key, headers) = (u64::from(header.key_len), u64::from(header.headers_len));
        if headers == 0 || key + headers > MOST {
            return Ok(());
        }
        let from = position + HEADER as u64 + u64::from(header.extension_len) + key;
        let Some(block) = bytes.get(from, headers)? else {
            return Ok(());
        };
        let told = |name: &str| {
            let found = Headers::new(block).find(|(known, _)| *known == name);
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        let Some((of, group)) = told("lq-source-topic").zip(told("lq-group")) else {
            return Ok(());
        };
        let number = |name| told(name)?.parse::<u64>().ok();
        let place = number("lq-source-partition").zip(number("lq-source-offset"));
        let Some((partition, offset)) = place else {
            return Ok(());
        };
        let letter = Letter {
            topic: topic.to_owned(),
            file: file.to_owned(),
            position,
            partition: u32::try_from(partition).unwrap_or(u32::MAX),
            offset,
        };
        let from = (of.to_owned(), group.to_owned());
        self.found.entry(from).or_default().push(letter);
        Ok(())
    }

    /// A group of which the configuration is known.
    pub(super) fn group(
        &mut self,
        topic: &'a TopicPlan,
        group: &'a GroupPlan,
        meta: &GroupMeta,
        logs: &HashMap<u32, Log>,
    ) {
        let target = match &meta.config.dead_letter_topic {
            DeadLetter::Default => names::dead_letter_topic(&topic.name, &group.name),
            DeadLetter::Topic(target) => target.clone(),
            DeadLetter::Drop => return,
        };
        self.groups.push(Buried {
            topic,
            group,
            target,
            readable: logs
                .iter()
                .map(|(number, log)| (*number, log.readable.clone()))
                .collect(),
        });
    }

    /// Once all topics were looked at: reports those whose messages are open.
    pub(super) fn check(&self, run: &mut Run<'_>) -> Result<()> {
        for buried in &self.groups {
            let from = (buried.topic.name.clone(), buried.group.name.clone());
            let letters = self.found.get(&from).map_or(&[][..], Vec::as_slice);
            let there = |one: &&Letter| {
                let readable = buried.readable.get(&one.partition);
                one.topic == buried.target
                    && readable.is_some_and(|of| ranges::contains(of, one.offset))
            };
            for letter in letters.iter().filter(there) {
                let path = buried.group.folder.join(names::window(letter.partition));
                let known = run.report.damage.iter().any(|one| one.file == path);
                if let (false, Some((place, what))) = (known, open(&path, letter)?) {
                    let what = format!(
                        "offset {} {what}, and is a dead letter at byte {} of {}",
                        letter.offset,
                        letter.position,
                        letter.file.display()
                    );
                    run.report.damage.push(Damage {
                        file: path,
                        position: place,
                        what,
                        lost: None,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether the message of a dead letter is still to be delivered: where that is said.
fn open(path: &Path, letter: &Letter) -> Result<Option<(u64, &'static str)>> {
    let mut bytes = match Bytes::open(path) {
        Ok(bytes) => bytes,
        // Told of, or gone, since the window was looked at.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Io) => return Ok(None),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(words) = window::words(&mut bytes)? else {
        return Ok(None);
    };
    let (capacity, offset) = (words[header::CAPACITY], letter.offset);
    let inside = words[header::FLOOR]..words[header::NEXT];
    let parts = window::parts(&words).filter(|_| capacity.is_power_of_two());
    let Some(parts) = parts.filter(|_| words[header::CLEAN] == CLOSED) else {
        return Ok(None);
    };
    if !inside.contains(&offset) {
        let next = header::NEXT as u64 * 8;
        return Ok((offset >= inside.end).then_some((next, "was never looked at")));
    }
    let place = parts.entries as u64 + (offset & (capacity - 1)) * ENTRY as u64;
    let word = bytes
        .get(place, ENTRY as u64)?
        .map(|entry| u64_at(entry, at::STATE * 8));
    let open = word.is_some_and(|word| {
        let state = word & 0xFF;
        word >> 32 == offset & 0xFFFF_FFFF && state < state::DYING
    });
    // Somebody may have opened it meanwhile.
    bytes.forget();
    let still = window::words(&mut bytes)?.is_some_and(|now| now == words);
    Ok((open && still).then_some((place, "is not settled")))
}
