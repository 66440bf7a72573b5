//! Ledgers of what was sent under dedup ids and by producers, and their marks.
//!
//! Where they are damaged they are made anew from the log, which tells of what is in it; what
//! retention and compaction removed only they know. So damage may cost that a repeat is appended
//! again (P8), and is told of.
//!
//! What a death or a power loss leaves is none: a file that was being written, an entry of a ring
//! in the place of another one, and, where the host was started anew, any entry of a file that
//! takes some still.

use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::plan::{Listed, TopicPlan, files_of, folder_names, name_of, named};
use super::text;
use super::verify::Run;
use super::{Wrong, settled};
use crate::error::{ErrorKind, Result};
use crate::format::ledger::{ENTRY, Entry, HEADER, Slot, bytes, decode_header};
use crate::format::origin::producer_id;
use crate::format::{names, u64_at};
use crate::shm::boot_id;
use crate::store::Mark;

/// The folder of one ledger.
pub(super) struct LedgerPlan {
    /// Of a ring: the name of its producer.
    pub(super) producer: Option<String>,
    folder: PathBuf,
    pub(super) files: Vec<Listed>,
}

/// Whose ledgers they are, as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Whose {
    pub(super) topic: Option<u64>,
    pub(super) partitions: Option<u64>,
}

impl Whose {
    pub(super) fn of(topic: Option<u64>, partitions: Option<u64>) -> Self {
        Self { topic, partitions }
    }
}

impl LedgerPlan {
    /// Those of a topic.
    pub(super) fn all_of(topic: &Path) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        let mut add = |producer: Option<String>, folder: PathBuf| -> Result<()> {
            if let Some(names) = folder_names(&folder)? {
                found.push(Self {
                    producer,
                    files: files_of(&folder, &names)?,
                    folder,
                });
            }
            Ok(())
        };
        add(None, topic.join(names::DEDUP))?;
        let all = topic.join(names::PRODUCERS);
        for name in folder_names(&all)?.unwrap_or_default() {
            let folder = all.join(&name);
            add(Some(name), folder)?;
        }
        Ok(found)
    }

    fn mark_name(&self) -> (&'static str, &'static str) {
        match self.producer {
            None => ("dedup", names::DEDUP_MARK),
            Some(_) => ("producer", names::PRODUCER_META),
        }
    }

    /// What a file with entries has to say of itself; `None` for one that has none.
    fn owner_of(&self, file: &str, topic: Option<u64>) -> Option<Option<u64>> {
        match &self.producer {
            None => names::parse_table(file).map(Some),
            Some(name) if file == names::RING => {
                Some(topic.map(|topic| producer_id(topic, name)[0]))
            }
            Some(_) => None,
        }
    }

    /// Calls `each` with all entries that are whole, of files that are this topic's.
    pub(super) fn entries(&self, whose: Whose, mut each: impl FnMut(&Entry)) -> Result<()> {
        for listed in &self.files {
            let Some(owner) = self.owner_of(&name_of(&listed.path), whose.topic) else {
                continue;
            };
            match Ledger::read(&listed.path, (whose.topic, owner), &mut each) {
                // What cannot be read is told of as damage.
                Err(error) if !is_unreadable(error.kind()) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_unreadable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Io | ErrorKind::PermissionDenied
    )
}

/// What was read of a file with entries.
#[derive(Default)]
struct Ledger {
    taken: u64,
    /// Where entries are that are not whole.
    bad: Vec<u64>,
}

impl Ledger {
    fn read(
        path: &Path,
        (topic, owner): (Option<u64>, Option<u64>),
        mut each: impl FnMut(&Entry),
    ) -> Result<(Self, Vec<Wrong>)> {
        let (mut found, mut file) = (Self::default(), Bytes::open(path)?);
        let head = file.head(HEADER as u64)?;
        let wrong = |what: &str| vec![(0, what.to_owned())];
        if head.len() < HEADER {
            return Ok((found, wrong("it is shorter than a header")));
        }
        let words = [0, 1, 2, 3, 4, 5].map(|word| u64_at(&head, word * 8));
        let Some((of, by, capacity)) = decode_header(&words) else {
            return Ok((found, wrong("its header is not what was written")));
        };
        if topic.is_some_and(|topic| topic != of) || owner.is_some_and(|owner| owner != by) {
            return Ok((found, wrong("it is another one's")));
        }
        if file.len() < bytes(capacity) {
            let what = format!("it has {} bytes, expected {}", file.len(), bytes(capacity));
            return Ok((found, wrong(&what)));
        }
        for place in 0..capacity {
            let at = HEADER as u64 + place * ENTRY as u64;
            let Some(words) = file.get(at, ENTRY as u64)? else {
                return Ok((found, vec![(at, "the file ends here".to_owned())]));
            };
            match Slot::decode([0, 1, 2, 3, 4].map(|word| u64_at(words, word * 8))) {
                Slot::Empty => {}
                Slot::Taken(entry) => {
                    found.taken += 1;
                    each(&entry);
                }
                Slot::Bad => found.bad.push(at),
            }
        }
        Ok((found, Vec::new()))
    }
}

/// What a mark says of the files beside it.
enum Known {
    Mark(Mark),
    /// There is none, or it is damaged.
    Nothing,
}

impl Known {
    /// How many entries of a file may be what a death or a power loss left.
    fn torn_at_most(&self, number: Option<u64>) -> usize {
        let Self::Mark(mark) = self else {
            return usize::MAX;
        };
        let here = boot_id();
        let here: String = here.iter().map(|byte| format!("{byte:02x}")).collect();
        let same_boot = mark.boot == here;
        match number {
            Some(number) if mark.sealed.contains(&number) => 0,
            _ if mark.clean => 0,
            // The first word of an entry in an empty place is stored last; in a ring it is the
            // place of another one.
            Some(_) if same_boot => 0,
            None if same_boot => 1,
            _ => usize::MAX,
        }
    }
}

const MADE_ANEW: &str = "it is made anew from the log when it is next used, without the ids and \
                         sequences of messages that retention or compaction removed";

impl Run<'_> {
    /// All ledgers of a topic.
    pub(super) fn ledgers(&mut self, topic: &TopicPlan, whose: Whose) -> Result<()> {
        topic
            .ledgers
            .iter()
            .try_for_each(|ledger| self.ledger(ledger, whose))
    }

    fn ledger(&mut self, plan: &LedgerPlan, whose: Whose) -> Result<()> {
        let (kind, mark_name) = plan.mark_name();
        let path = plan.folder.join(mark_name);
        let mut known = Known::Nothing;
        if let Some(listed) = named(&plan.files, mark_name) {
            let count = whose.partitions;
            let parse = |fields: &text::Fields| {
                // Where it is not known how many there are, as many as it speaks of.
                let speaks = fields.get("ends").map_or(0, |ends| ends.split(' ').count());
                let count = count.and_then(|count| usize::try_from(count).ok());
                Mark::parse(fields, count.unwrap_or(speaks))
            };
            if let Some(mark) = self.meta(kind, listed, parse)? {
                known = Known::Mark(mark);
            }
        }
        let mut taken = 0;
        for listed in &plan.files {
            let name = name_of(&listed.path);
            let Some(owner) = plan.owner_of(&name, whose.topic) else {
                if name != mark_name {
                    self.pass(listed)?;
                }
                continue;
            };
            let number = names::parse_table(&name);
            let most = known.torn_at_most(number);
            self.look_at(listed, |path| {
                let (found, mut wrong) = settled(|| {
                    let (found, mut wrong) = Ledger::read(path, (whose.topic, owner), |_| {})?;
                    if found.bad.len() > most {
                        let what = "this entry is not whole";
                        wrong.extend(found.bad.iter().map(|at| (*at, what.to_owned())));
                    }
                    Ok::<_, crate::Error>((found, wrong))
                })?;
                taken += found.taken;
                if let Some((_, what)) = wrong.first_mut() {
                    what.push_str("; ");
                    what.push_str(MADE_ANEW);
                }
                Ok(wrong)
            })?;
        }
        self.missing(plan, &path, (&known, taken))
    }

    /// Files that have to be there, and are not.
    fn missing(&mut self, plan: &LedgerPlan, path: &Path, known: (&Known, u64)) -> Result<()> {
        let gone = |files: &[Listed]| files.iter().any(|one| !one.path.exists());
        if gone(&plan.files) {
            // Others are at work on it.
            return Ok(());
        }
        let tables = || {
            let names = plan.files.iter().map(|listed| name_of(&listed.path));
            names.filter_map(|name| names::parse_table(&name))
        };
        let mut lacking: Vec<PathBuf> = Vec::new();
        match (known, &plan.producer) {
            ((Known::Mark(mark), _), None) => {
                let sealed = mark.sealed.iter();
                let gone = sealed.filter(|number| !tables().any(|one| one == **number));
                lacking.extend(gone.map(|number| plan.folder.join(names::table(*number))));
                let last = mark.sealed.iter().max();
                if !tables().any(|one| last.is_none_or(|last| one > *last)) {
                    let next = last.map_or(0, |last| last + 1);
                    lacking.push(plan.folder.join(names::table(next)));
                }
            }
            ((Known::Mark(_), _), Some(_)) if named(&plan.files, names::RING).is_none() => {
                lacking.push(plan.folder.join(names::RING));
            }
            // Its first user, who died before he wrote it, left one file, and nothing in it that he
            // had not from the log.
            ((Known::Nothing, _), None) if tables().any(|one| one > 0) => {
                lacking.push(path.to_owned());
            }
            ((Known::Nothing, taken), Some(_)) if taken > 0 => lacking.push(path.to_owned()),
            _ => {}
        }
        // One that is there is damaged, and told of. Who has the store in use may just make it.
        lacking.retain(|path| !path.exists());
        for path in lacking {
            let what = format!("it is missing; {MADE_ANEW}");
            self.report.damaged(&path, 0, what);
        }
        Ok(())
    }
}
