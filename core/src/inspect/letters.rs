//! Dead letters against the windows that their messages came from: a message is in its group or in
//! the dead letters, never in both (P12). That it is dying is on disk before its letter is, so that
//! a letter whose message is open and not dying is damage. Looked at in windows that were closed
//! cleanly: of others it is not known what the last sync held. In the same way a letter that was
//! redriven, and whose message is dead again in a later one, is done in its group's redrive lane.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::bytes::Bytes;
use super::log::Log;
use super::plan::{GroupPlan, TopicPlan};
use super::verify::Run;
use super::{Damage, ranges, window};
use crate::error::{ErrorKind, Result};
use crate::format::extension;
use crate::format::headers::Headers;
use crate::format::record::{HEADER, Header};
use crate::format::window::{CLOSED, ENTRY, entry as at, header, state, tag};
use crate::format::{names, u64_at};
use crate::store::{GroupMeta, dead_letters_of};

/// More than the key and the headers of a dead letter have.
const MOST: u64 = 16 << 20;

/// Topic, group and id of that: a later group of the name has another one.
type Named = (String, String, u64);

/// Where a dead letter is. There may be millions.
struct Letter {
    /// Which of the files it is in.
    file: u32,
    position: u64,
    /// The offset that its message had.
    offset: u64,
    /// Its own.
    own: u64,
}

/// A group whose dead letters are looked for, or the redrive lane of one.
struct Buried<'a> {
    /// Topic, group and the group's id, as the letters name them.
    from: Named,
    lane: bool,
    group: &'a GroupPlan,
    /// The topic of its dead letters.
    target: String,
    /// For each partition where the topic of the letters ended when the group was sought: what died
    /// before may be open again.
    sought: Vec<u64>,
    /// What was found of the topic's logs: a message that is gone nobody gets twice.
    logs: Rc<HashMap<u32, Log>>,
}

/// What was met of dead letters, and whose they may be.
#[derive(Default)]
pub(super) struct Letters<'a> {
    /// By the group that they came from, and by partition.
    found: HashMap<Named, BTreeMap<u32, Vec<Letter>>>,
    /// Those of redriven messages, with the offsets of the letters that they were redriven from.
    again: HashMap<Named, BTreeMap<u32, Vec<Letter>>>,
    /// Segments in which there are any, each with its topic.
    files: Vec<(String, PathBuf)>,
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
        let length = u64::from(header.extension_len);
        if headers == 0 || length == 0 || key + headers > MOST {
            return Ok(());
        }
        // One that was sent is none, whatever its headers say.
        let from = position + HEADER as u64;
        let Some(id) = (bytes.get(from, length)?).and_then(extension::letter_group) else {
            return Ok(());
        };
        let from = from + length + key;
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
        // Dead exactly while its message holds its key: no state of that contradicts it.
        if told("lq-held").is_some() {
            return Ok(());
        }
        let number = |name| told(name)?.parse::<u64>().ok();
        let place = number("lq-source-partition").zip(number("lq-source-offset"));
        let Some((partition, offset)) = place else {
            return Ok(());
        };
        let redriven_from = number("lq-redriven-from");
        let from = (of.to_owned(), group.to_owned(), id);
        // Segments are walked one after the other.
        if self.files.last().is_none_or(|(_, last)| last != file) {
            self.files.push((topic.to_owned(), file.to_owned()));
        }
        let partition = u32::try_from(partition).unwrap_or(u32::MAX);
        let letter = |offset| Letter {
            file: self.files.len() as u32 - 1,
            position,
            offset,
            own: header.offset,
        };
        if let Some(before) = redriven_from {
            let of_lane = self.again.entry(from.clone()).or_default();
            of_lane.entry(0).or_default().push(letter(before));
        }
        let of_group = self.found.entry(from).or_default();
        of_group.entry(partition).or_default().push(letter(offset));
        Ok(())
    }

    /// A group of which the configuration is known.
    pub(super) fn group(
        &mut self,
        topic: &'a TopicPlan,
        group: &'a GroupPlan,
        meta: &GroupMeta,
        logs: &Rc<HashMap<u32, Log>>,
    ) {
        let from = match &meta.lane_of {
            Some((topic, of)) => {
                let id = names::parse_redrive_lane(&group.name).unwrap_or(0);
                (topic.clone(), of.clone(), id)
            }
            None => (topic.name.clone(), group.name.clone(), meta.id),
        };
        let wanted = &meta.config.dead_letter_topic;
        let target = match &meta.lane_of {
            Some(_) => Some(topic.name.clone()),
            None => dead_letters_of(&topic.name, &group.name, wanted),
        };
        let Some(target) = target else { return };
        self.groups.push(Buried {
            from,
            lane: meta.lane_of.is_some(),
            group,
            target,
            sought: meta.sought.iter().map(|sought| sought.dead_from).collect(),
            logs: logs.clone(),
        });
    }

    /// Once all topics were looked at: reports those whose messages are open.
    pub(super) fn check(&self, run: &mut Run<'_>) -> Result<()> {
        for buried in &self.groups {
            let all = match buried.lane {
                true => &self.again,
                false => &self.found,
            };
            for (number, letters) in all.get(&buried.from).into_iter().flatten() {
                let Some(log) = buried.logs.get(number) else {
                    continue;
                };
                let path = buried.group.folder.join(names::window(*number));
                if run.report.damage.iter().any(|one| one.file == path) {
                    continue;
                }
                let since = buried.sought.get(*number as usize).copied().unwrap_or(0);
                let there = |one: &&Letter| {
                    one.own >= since
                        && self.files[one.file as usize].0 == buried.target
                        && ranges::contains(&log.readable, one.offset)
                };
                let letters = letters.iter().filter(there);
                for (letter, place, what) in open(&path, letters)? {
                    let what = format!(
                        "offset {} {what}, and is a dead letter at byte {} of {}",
                        letter.offset,
                        letter.position,
                        self.files[letter.file as usize].1.display()
                    );
                    run.report.damage.push(Damage {
                        file: path.clone(),
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

/// Dead letters whose messages are still to be delivered, as a window says: each with where that is
/// said, and how.
fn open<'l>(
    path: &Path,
    letters: impl Iterator<Item = &'l Letter>,
) -> Result<Vec<(&'l Letter, u64, &'static str)>> {
    let mut found = Vec::new();
    let mut bytes = match Bytes::open(path) {
        Ok(bytes) => bytes,
        // Told of, or gone, since the window was looked at.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Io) => return Ok(found),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(found),
        Err(e) => return Err(e),
    };
    let Some(words) = window::words(&mut bytes)? else {
        return Ok(found);
    };
    let capacity = words[header::CAPACITY];
    let inside = words[header::FLOOR]..words[header::NEXT];
    let parts = window::parts(&words).filter(|_| capacity.is_power_of_two());
    let Some(parts) = parts.filter(|_| words[header::CLEAN] == CLOSED) else {
        return Ok(found);
    };
    for letter in letters {
        let offset = letter.offset;
        if offset >= inside.end {
            found.push((letter, header::NEXT as u64 * 8, "was never looked at"));
        }
        if !inside.contains(&offset) {
            continue;
        }
        let place = parts.entries as u64 + (offset & (capacity - 1)) * ENTRY as u64;
        let word = bytes
            .get(place, ENTRY as u64)?
            .map(|entry| u64_at(entry, at::STATE * 8));
        let open = word.is_some_and(|word| {
            let state = word & 0xFF;
            let open = state < state::DYING || [state::DEAD, state::COMMITTING].contains(&state);
            word >> 32 == tag(words[header::EPOCH], offset) && open
        });
        if open {
            found.push((letter, place, "is not settled"));
        }
    }
    // Somebody may have opened it meanwhile.
    if !window::is_still(&mut bytes, &words)? {
        found.clear();
    }
    Ok(found)
}
