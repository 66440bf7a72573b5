//! Writing topics, with their groups and settings, as one stream.

use std::io::Write;

use super::backup::Progress;
use super::entries::exported;
use super::shot::{GroupShot, Shot, TopicShot};
use super::stream::{Sink, Writer};
use crate::error::Result;
use crate::format::export::{
    END, Exported, GROUP, LOG_END, MESSAGES, OPEN, PART, SNAPSHOT, STANDING, Standing, TOPIC, named,
};
use crate::format::extension::without_origin;
use crate::format::names;
use crate::group::Now;
use crate::store::Store;
use crate::store::group_meta::write_meta;
use crate::store::topic_meta;

/// A block of messages is not made longer, unless by one message alone.
pub(super) const BLOCK: usize = 256 * 1024;
/// Open messages of a block.
pub(super) const OPENS: usize = 4096;

/// What [`Store::export`] wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportStats {
    /// Topics in it.
    pub topics: u64,
    /// Groups in it.
    pub groups: u64,
    /// Messages in it.
    pub messages: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Store {
    /// Writes these topics, or all where none is named, as one stream in the native format, with
    /// their groups, settings, positions, snapshots and dead letters, and the topics that the dead
    /// letters are in. Taken at one moment, as a [backup](Store::backup) is, while the store is in
    /// use. [`Store::import`] reads it, here or elsewhere.
    ///
    /// `progress` is called now and then with the bytes that are done of those of the logs; an
    /// error that it returns ends the export and is returned. What was written by then has no end
    /// mark, and is refused by an import.
    ///
    /// [`crate::ErrorKind::NotFound`] where there is no topic of a name;
    /// [`crate::ErrorKind::Damaged`] with file and position where a message is: `inspect::recover`
    /// copies the others.
    ///
    /// ```
    /// # use libqueue::{ImportOptions, Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path().join("a"), StoreOptions::default())?;
    /// # let other = Store::open(folder.path().join("b"), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// orders.send(&Message::new(b"paid"))?;
    /// let mut bytes = Vec::new();
    /// store.export(&["orders"], &mut bytes, &mut |_done, _total| Ok(()))?;
    /// let options = ImportOptions::default();
    /// let done = other.import(&mut &bytes[..], &options, &mut |_done, _total| Ok(()))?;
    /// assert_eq!((done.topics, done.messages), (1, 1));
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn export(
        &self,
        topics: &[&str],
        to: &mut dyn Write,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ExportStats> {
        let shot = self.shot_of(topics)?;
        let mut writer = Writer::begin(to)?;
        self.export_to(&shot, &mut writer, progress)
    }

    /// These topics, or all where none is named, as they are now.
    pub(super) fn shot_of(&self, topics: &[&str]) -> Result<Shot> {
        let inner = self.inner()?;
        inner.check_writable("export from a store whose groups nobody looks after")?;
        for name in topics {
            names::check("topic", name)?;
        }
        let wanted: Vec<String> = topics.iter().map(|name| (*name).to_owned()).collect();
        Shot::take(inner, Some(&wanted[..]).filter(|wanted| !wanted.is_empty()))
    }

    /// Hands on the blocks of an export.
    pub(super) fn export_to<'a>(
        &self,
        shot: &Shot,
        writer: &'a mut dyn Sink,
        progress: &'a mut Progress<'a>,
    ) -> Result<ExportStats> {
        let inner = self.inner()?;
        let mut export = Export {
            writer,
            now: Now::by(&*inner.env.clock),
            messages: 0,
            done: 0,
            total: shot.bytes(),
            progress,
        };
        for topic in &shot.topics {
            export.topic(topic)?;
        }
        let stats = ExportStats {
            topics: shot.topics.len() as u64,
            groups: shot.groups(),
            messages: export.messages,
            bytes: 0,
        };
        let mut body = Vec::new();
        for count in [stats.topics, stats.groups, stats.messages] {
            body.extend_from_slice(&count.to_le_bytes());
        }
        export.writer.block(END, &body)?;
        (export.progress)(export.total, export.total)?;
        let bytes = export.writer.finish()?;
        Ok(ExportStats { bytes, ..stats })
    }
}

struct Export<'a> {
    writer: &'a mut dyn Sink,
    now: Now,
    messages: u64,
    done: u64,
    total: u64,
    progress: &'a mut Progress<'a>,
}

impl Export<'_> {
    fn topic(&mut self, topic: &TopicShot) -> Result<()> {
        let inner = &*topic.inner;
        let text = topic_meta::write(inner.uid, &topic.config);
        self.writer
            .block(TOPIC, &named(&inner.name, text.as_bytes()))?;
        for (number, log) in (0_u32..).zip(&topic.logs) {
            let (mut body, mut count) = (Vec::new(), 0);
            inner.partitions[number as usize].each_pinned(log, &mut |record| {
                if body.len() as u64 + record.length() > BLOCK as u64 {
                    self.messages_block(number, &mut body, &mut count)?;
                }
                let one = Exported {
                    offset: record.offset,
                    timestamp_ns: record.timestamp_ns,
                    extension: &without_origin(record.extension()),
                    key: record.key(),
                    headers: record.headers_block(),
                    payload: record.payload(),
                };
                one.encode(&mut body);
                count += 1;
                Ok(())
            })?;
            self.messages_block(number, &mut body, &mut count)?;
            let mut end = number.to_le_bytes().to_vec();
            end.extend_from_slice(&[0; 4]);
            end.extend_from_slice(&log.end.to_le_bytes());
            self.writer.block(LOG_END, &end)?;
        }
        for group in &topic.groups {
            self.group(topic, group)?;
        }
        Ok(())
    }

    fn messages_block(
        &mut self,
        partition: u32,
        body: &mut Vec<u8>,
        count: &mut u32,
    ) -> Result<()> {
        if *count == 0 {
            return Ok(());
        }
        let mut block = partition.to_le_bytes().to_vec();
        block.extend_from_slice(&count.to_le_bytes());
        block.append(body);
        self.writer.block(MESSAGES, &block)?;
        self.messages += u64::from(std::mem::take(count));
        self.done += block.len() as u64;
        (self.progress)(self.done.min(self.total), self.total)
    }

    fn group(&mut self, topic: &TopicShot, group: &GroupShot) -> Result<()> {
        let text = write_meta(&group.meta);
        self.writer
            .block(GROUP, &named(&group.name, text.as_bytes()))?;
        let lane = group.meta.lane_of.is_some();
        for (number, window) in (0..).zip(&group.windows) {
            let open = exported(window, lane, self.now);
            let standing = Standing {
                partition: number,
                epoch: window.epoch,
                floor: window.floor,
                next: window.next,
                dead_from: window.dead_from,
                open: open.len() as u64,
                counters: window.counters.clone(),
            };
            self.writer.block(STANDING, &standing.encode())?;
            for some in open.chunks(OPENS) {
                let mut body = Vec::new();
                some.iter().for_each(|one| one.encode(&mut body));
                self.writer.block(OPEN, &body)?;
            }
        }
        let storage = topic.inner.store.env.storage.clone();
        group.each_snapshot(&*storage, &topic.logs, |name, bytes| {
            let length = (bytes.len() as u64).to_le_bytes();
            self.writer.block(SNAPSHOT, &named(name, &length))?;
            bytes
                .chunks(BLOCK)
                .try_for_each(|part| self.writer.block(PART, part))
        })
    }
}
