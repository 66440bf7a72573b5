//! Reading topics out of an export.
//!
//! Nothing that it says is believed before its block's checksum was looked at, nor where it cannot
//! be (P18). All of it is written into a store of its own first, by the same calls as any other,
//! and checked up to the end mark; then whole topics get their names, or nothing does.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use super::append::append;
use super::backup::Progress;
use super::groups::Being;
use super::publish::{Known, Wanted, check, publish};
use super::staging::Staging;
use super::stream::{Reader, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::format::export::{
    END, Exported, GROUP, LOG_END, MESSAGES, OPEN, PART, SNAPSHOT, STANDING, TOPIC, read_named,
};
use crate::format::extension::{Attributes, letter_group, of_letter, without_origin};
use crate::format::headers::Headers;
use crate::format::record::OFFSET_MAX;
use crate::format::{meta, names, u32_at, u64_at};
use crate::group::Now;
use crate::options::TopicConfig;
use crate::store::restore::Restorer;
use crate::store::topic_meta;
use crate::store::{Store, StoreInner, Topic};

/// No offset of an export is above this, so that a store goes on behind it for ever.
pub(super) const LAST: u64 = OFFSET_MAX - (1 << 32);

/// How [`Store::import`] goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Send the messages of a topic that exists to it, with new offsets; its groups stay as they
    /// are, and those of the export are left out. Default: false, which refuses such a topic.
    pub append: bool,
    /// Bytes of the export, for `progress`; `None` where nobody knows.
    pub bytes: Option<u64>,
}

/// What [`Store::import`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportStats {
    /// Topics that were made.
    pub topics: u64,
    /// Groups that were made.
    pub groups: u64,
    /// Messages of the topics that were made.
    pub messages: u64,
    /// Messages that were sent to topics that existed.
    pub appended: u64,
}

impl Store {
    /// Makes the topics of an export, in the native format, with offsets, timestamps, groups,
    /// positions, snapshots and dead letters as they were. Ids are kept where they are free.
    ///
    /// All of it is read and checked before anything is seen of it; then each topic is there as a
    /// whole. After an error or a death none is there in part. (With [`ImportOptions::append`] the
    /// messages that are sent to a topic that exists are sent one batch after the other; an error
    /// says how many.) `progress` is called now and then with the bytes that were read of those
    /// that [`ImportOptions::bytes`] says, else 0; an error that it returns ends the import.
    ///
    /// [`ErrorKind::Damaged`] with the place where the export is not what was written, or ends too
    /// early; [`ErrorKind::Incompatible`] for another format; [`ErrorKind::AlreadyExists`] for a
    /// topic that exists; [`ErrorKind::InvalidArgument`] where dead letters would lead back.
    ///
    /// See [`Store::export`] for an example.
    pub fn import(
        &self,
        from: &mut dyn Read,
        options: &ImportOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ImportStats> {
        let inner = self.inner()?;
        inner.check_send()?;
        // Before anything is made: most of what is no export is seen here.
        let reader = Reader::begin(from)?;
        self.import_through(options, progress, |_, _| Ok(reader))
    }

    /// As `import`, of blocks that come from anywhere, and may be put aside in the folder that is
    /// removed in the end.
    pub(super) fn import_through<S: Source>(
        &self,
        options: &ImportOptions,
        progress: &mut Progress<'_>,
        begin: impl FnOnce(&Staging, &mut Progress<'_>) -> Result<S>,
    ) -> Result<ImportStats> {
        let inner = self.inner()?;
        let (staging, restorer) = Staging::begin(inner)?;
        // What it has open of the other store is closed before that is removed.
        let done = begin(&staging, progress)
            .and_then(|mut source| self.restore(&restorer, &mut source, options, progress));
        let finished = done.and_then(|(stats, wanted)| {
            let named = restorer.close();
            let named = named.and_then(|()| publish(inner, &staging.inside(), &wanted));
            named.map_err(|error| told_of(error, stats.appended))?;
            Ok(stats)
        });
        match finished {
            Ok(stats) => {
                // What stays in there is nobody's; the next import removes it.
                let _ = staging.end();
                Ok(stats)
            }
            Err(error) => Err(staging.give_up(error)),
        }
    }

    /// Writes all that comes into the other store, and appends what is to be; what is to get its
    /// name then.
    fn restore(
        &self,
        restorer: &Restorer,
        reader: &mut dyn Source,
        options: &ImportOptions,
        progress: &mut Progress<'_>,
    ) -> Result<(ImportStats, Wanted)> {
        let inner = self.inner()?;
        let mut import = Import {
            store: inner,
            options: *options,
            restorer,
            reader,
            now: Now::by(&*inner.env.clock),
            boot: inner.env.storage.boot_id(),
            topics: Vec::new(),
            group: None,
            snapshot: None,
            leads: Vec::new(),
            ids: HashMap::new(),
            taken: Known::of(inner)?,
            used: HashSet::new(),
            counts: [0; 3],
        };
        let mut stats = import.run(progress)?;
        let new = import.topics.iter().filter(|topic| !topic.appended);
        let wanted = Wanted {
            topics: new.map(|one| (one.name.clone(), one.topic.id())).collect(),
            leads: std::mem::take(&mut import.leads),
            groups: std::mem::take(&mut import.ids),
        };
        // Before anything is sent: it would be there twice when all is imported again.
        check(inner, &wanted)?;
        for topic in import.topics.iter().filter(|topic| topic.appended) {
            let sent = append(self, &topic.topic);
            stats.appended += sent.map_err(|error| told_of(error, stats.appended))?;
        }
        Ok((stats, wanted))
    }
}

/// Topic and name of a group.
pub(super) type GroupName = (String, String);

/// A topic that is being read.
pub(super) struct Staged {
    pub(super) name: String,
    pub(super) topic: Topic,
    pub(super) config: TopicConfig,
    /// Whether it is there already, so that its messages are sent to it.
    pub(super) appended: bool,
    /// Where its partitions end, as far as they were read.
    pub(super) ends: Vec<u64>,
}

pub(super) struct Import<'a> {
    pub(super) store: &'a Arc<StoreInner>,
    pub(super) options: ImportOptions,
    pub(super) restorer: &'a Restorer,
    pub(super) reader: &'a mut dyn Source,
    pub(super) now: Now,
    pub(super) boot: [u8; 16],
    pub(super) topics: Vec<Staged>,
    pub(super) group: Option<Being>,
    /// Name, bytes so far and bytes of a snapshot that is being read.
    pub(super) snapshot: Option<(String, Vec<u8>, u64)>,
    /// A topic, and one that dead letters of a group of it go to.
    pub(super) leads: Vec<(String, String)>,
    /// The id of each group, in the export and here.
    pub(super) ids: HashMap<GroupName, (u64, u64)>,
    pub(super) taken: Known,
    /// Ids of groups and lanes so far.
    pub(super) used: HashSet<u64>,
    /// Topics, groups and messages so far.
    pub(super) counts: [u64; 3],
}

impl Import<'_> {
    fn run(&mut self, progress: &mut Progress<'_>) -> Result<ImportStats> {
        let (total, mut stats) = (self.options.bytes.unwrap_or(0), ImportStats::default());
        loop {
            progress(self.reader.bytes(), total)?;
            let (kind, body) = self.reader.block()?;
            if self.snapshot.is_some() && kind != PART {
                return Err(self.reader.damaged("the rest of a snapshot is missing"));
            }
            match kind {
                TOPIC => self.begin_topic(&body, &mut stats)?,
                MESSAGES => self.messages(&body, &mut stats)?,
                LOG_END => self.end_log(&body)?,
                GROUP => self.begin_group(&body, &mut stats)?,
                STANDING => self.standing(&body)?,
                OPEN => self.open(&body)?,
                SNAPSHOT => self.begin_snapshot(&body)?,
                PART => self.part(&body)?,
                END => break self.end(&body)?,
                _ => return Err(self.cannot_be()),
            }
        }
        Ok(stats)
    }

    #[cold]
    pub(super) fn cannot_be(&self) -> Error {
        self.reader
            .damaged("the block that begins here cannot be one, or not here")
    }

    fn begin_topic(&mut self, body: &[u8], stats: &mut ImportStats) -> Result<()> {
        self.end_topic()?;
        let (name, text) = read_named(body).ok_or_else(|| self.cannot_be())?;
        names::check("topic", name)?;
        let read = meta::decode("topic", text).map_err(|bad| format!("{bad:?}"));
        let read = read.and_then(|fields| topic_meta::parse(&fields));
        let (id, config) = read.map_err(|what| self.reader.damaged(&what))?;
        if self.topics.iter().any(|one| one.name == name) {
            return Err(self.reader.damaged("a topic is there twice"));
        }
        let folder = names::topic_folder(&self.store.path, name);
        let appended = self.store.has_topic(&folder)?;
        if appended && !self.options.append {
            return Err(exists(name));
        }
        if appended && self.leads.iter().any(|(_, to)| to == name) {
            let message = format!(
                "topic {name:?} exists, and is to hold the dead letters of a group that would be \
                 made; export and import that group's topic without append, into a store without \
                 either"
            );
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let taken = |id| self.topics.iter().any(|one| one.topic.id() == id);
        let free = !appended && id != 0 && !taken(id) && self.taken.is_free(self.store, id)?;
        let topic = self.restorer.topic(name, free.then_some(id), &config)?;
        self.topics.push(Staged {
            name: name.to_owned(),
            topic,
            config,
            appended,
            ends: Vec::new(),
        });
        self.counts[0] += 1;
        stats.topics += u64::from(!appended);
        Ok(())
    }

    /// The topic that is being read, in whose partition this is.
    fn of(&self, partition: u32) -> Result<&Staged> {
        let topic = self.topics.last().filter(|topic| {
            self.group.is_none()
                && topic.ends.len() == partition as usize
                && partition < topic.config.partitions
        });
        topic.ok_or_else(|| self.cannot_be())
    }

    fn messages(&mut self, body: &[u8], stats: &mut ImportStats) -> Result<()> {
        let (head, mut rest) = body.split_at_checked(8).ok_or_else(|| self.cannot_be())?;
        let (partition, count) = (u32_at(head, 0), u32_at(head, 4));
        let (topic, appended) = {
            let of = self.of(partition)?;
            (of.topic.clone(), of.appended)
        };
        for _ in 0..count {
            let one = Exported::decode(&mut rest)
                .filter(can_be_sent)
                .ok_or_else(|| self.reader.damaged("a message in this block cannot be one"))?;
            if one.offset < topic.next_offset_of(partition)? {
                return Err(self
                    .reader
                    .damaged("the offsets of its messages do not rise"));
            }
            let letter = self.letter(one.extension);
            let plain = without_origin(one.extension);
            let extension = letter.as_deref().unwrap_or(&plain);
            let parts = (extension, one.key, one.headers, one.payload);
            topic.restore_message(partition, one.offset, one.timestamp_ns, parts)?;
        }
        if !rest.is_empty() {
            return Err(self.cannot_be());
        }
        self.counts[2] += u64::from(count);
        stats.messages += if appended { 0 } else { u64::from(count) };
        Ok(())
    }

    /// The extension of a letter whose group has another id here, which it goes by (P12).
    fn letter(&self, extension: &[u8]) -> Option<Vec<u8>> {
        let of = letter_group(extension)?;
        let mut ids = self.ids.values().filter(|(old, new)| old != new);
        ids.find(|(old, _)| *old == of)
            .map(|(_, new)| of_letter(*new))
    }

    fn end_log(&mut self, body: &[u8]) -> Result<()> {
        if body.len() != 16 {
            return Err(self.cannot_be());
        }
        let (partition, end) = (u32_at(body, 0), u64_at(body, 8));
        let topic = self.of(partition)?.topic.clone();
        if end > LAST || end < topic.next_offset_of(partition)? {
            return Err(self.reader.damaged("a partition cannot end there"));
        }
        topic.pass_over(partition, end)?;
        if let Some(of) = self.topics.last_mut() {
            of.ends.push(end);
        }
        Ok(())
    }

    fn end_topic(&mut self) -> Result<()> {
        self.end_group()?;
        let whole = |topic: &Staged| topic.ends.len() == topic.config.partitions as usize;
        if self.topics.last().is_none_or(whole) {
            return Ok(());
        }
        Err(self
            .reader
            .damaged("a topic ends before all of its partitions were there"))
    }

    fn end(&mut self, body: &[u8]) -> Result<()> {
        self.end_topic()?;
        let told = [0, 8, 16].map(|at| u64_at(body, at));
        if body.len() != 24 || told != self.counts {
            let [topics, groups, messages] = self.counts;
            let what = format!(
                "its end mark says {} topics, {} groups and {} messages; {topics}, {groups} and \
                 {messages} were found",
                told[0], told[1], told[2]
            );
            return Err(self.reader.damaged(&what));
        }
        match self.reader.is_over()? {
            true => Ok(()),
            false => Err(self.reader.damaged("something follows its end mark")),
        }
    }
}

/// Whether it is what can be sent, or written by a move to the dead letters (P18).
fn can_be_sent(one: &Exported<'_>) -> bool {
    one.offset < LAST
        && Attributes::decode(one.extension).is_some()
        && Headers::is_whole(one.headers)
}

/// The error of an import that had sent so many messages to topics that exist.
#[cold]
fn told_of(error: Error, appended: u64) -> Error {
    match appended {
        0 => error,
        _ => error.context(format!(
            "{appended} messages were appended to topics that existed, and no topic was made; \
             import the others alone"
        )),
    }
}

#[cold]
pub(super) fn exists(topic: &str) -> Error {
    let message = format!(
        "topic {topic:?} exists already, and nothing was imported; import into another store, \
         delete the topic first, or have its messages appended"
    );
    Error::new(ErrorKind::AlreadyExists, message)
}
