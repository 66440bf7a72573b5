//! Topics: their configuration, or what stands in its place, and their messages.

use std::path::Path;

use super::{Copied, Copy};
use crate::error::Result;
use crate::format::names;
use crate::format::record::{HAS_KEY, HEADER, Header};
use crate::inspect::bytes::Bytes;
use crate::inspect::log::Log;
use crate::inspect::partition;
use crate::inspect::plan::{PartitionPlan, TopicPlan, folder_names};
use crate::options::{PARTITIONS_MAX, TopicConfig, TopicOptions};
use crate::store::{Parts, Topic};

impl Copy<'_> {
    /// Copies a topic without its groups. One whose creator died is none.
    pub(super) fn topic<'p>(&mut self, plan: &'p TopicPlan) -> Result<Option<Copied<'p>>> {
        let meta = self.run.topic_meta(plan)?;
        let path = plan.folder.join(names::TOPIC_META);
        if names::check("topic", &plan.name).is_err() || !plan.is_one() {
            if plan.is_one() {
                let what = format!("{:?} can be no topic's name; it is not copied", plan.name);
                self.lost(&plan.folder, what);
            }
            self.run.skip_topic(plan)?;
            return Ok(None);
        }
        let mut id = meta.as_ref().map(|(id, _)| *id).or(plan.id);
        let had = id;
        let config = match meta {
            Some((_, config)) => config,
            None => {
                let config = default_config(plan);
                let what = format!(
                    "the topic's configuration is lost; it has {} partitions, as there are \
                     folders, and the defaults",
                    config.partitions
                );
                self.lost(&path, what);
                config
            }
        };
        if id.is_some_and(|id| self.ids.contains(&id)) {
            let what = "another topic has this id; a new one is drawn".to_owned();
            self.lost(&path, what);
            id = None;
        }
        let topic = self.restorer.topic(&plan.name, id, &config)?;
        self.ids.insert(topic.id());
        self.done.topics += 1;
        let listed = |name: &str| folder_names(&plan.folder.join(name));
        let producers = listed(names::PRODUCERS)?.unwrap_or_default();
        topic.restore_sent(listed(names::DEDUP)?.is_some(), &producers)?;
        let mut logs = Vec::new();
        for number in 0..config.partitions {
            let known = plan.partitions.iter().find(|one| one.number == number);
            logs.push(match known {
                Some(known) => self.partition(plan, known, &topic)?,
                None => {
                    let folder = names::partition_folder(&plan.folder, number);
                    let empty = PartitionPlan::empty(number, folder);
                    let log = self.partition(plan, &empty, &topic)?;
                    let what = format!(
                        "the partition's folder is missing, and all its messages; offsets go on at \
                         {}",
                        log.end
                    );
                    self.lost(&empty.folder, what);
                    log
                }
            });
        }
        for beyond in &plan.partitions {
            if beyond.number >= config.partitions {
                self.run.skip_partition(beyond)?;
            }
        }
        self.sent(plan, (had, config.dedup_window), &logs)?;
        Ok(Some(Copied {
            plan,
            id: had,
            topic,
            logs,
        }))
    }

    fn partition(&mut self, of: &TopicPlan, plan: &PartitionPlan, topic: &Topic) -> Result<Log> {
        let number = plan.number;
        let mut copied = 0;
        let mut take = |_: &Path, bytes: &mut Bytes, position: u64, header: &Header| {
            let body = bytes.get(position + HEADER as u64, header.body_len())?;
            copied += 1;
            let message = parts(header, body.unwrap_or_default());
            topic.restore_message(number, header.offset, header.timestamp_ns, message)
        };
        let log = partition::look(&mut self.run, of, plan, &mut take)?;
        self.done.messages += copied;
        topic.pass_over(number, log.end)?;
        if let Some((file, at)) = &log.torn {
            let behind = match self.run.beyond {
                true => format!(
                    "{} messages behind it are copied, though they were never on disk for sure: \
                     others are missing before them, and batches may be there in part",
                    log.beyond
                ),
                false => "what is behind was never on disk for sure and is not copied, as the \
                          next open would have cut it"
                    .to_owned(),
            };
            self.done.notes.push(format!(
                "{} at byte {at}: a power loss tore the log here; {behind}",
                file.display()
            ));
        }
        if let Some(first) = log.readable.first().filter(|first| first.start > 0) {
            self.done.notes.push(format!(
                "partition {number} of topic {:?} begins with offset {}",
                of.name, first.start
            ));
        }
        Ok(log)
    }
}

/// Extension, key, headers block and payload of a record's body.
fn parts<'a>(header: &Header, body: &'a [u8]) -> Parts<'a> {
    let cut = |rest: &'a [u8], len: u32| rest.split_at_checked(len as usize).unwrap_or_default();
    let (extension, rest) = cut(body, header.extension_len.into());
    let (key, rest) = cut(rest, header.key_len);
    let (headers, payload) = cut(rest, header.headers_len);
    (
        extension,
        (header.flags & HAS_KEY != 0).then_some(key),
        headers,
        payload,
    )
}

/// The configuration of a topic of which only the folders tell.
fn default_config(plan: &TopicPlan) -> TopicConfig {
    let most = plan
        .partitions
        .iter()
        .map(|one| one.number.saturating_add(1))
        .max();
    let partitions = most.unwrap_or(1).min(PARTITIONS_MAX);
    TopicConfig::from_options(&TopicOptions {
        partitions: Some(partitions),
        ..TopicOptions::default()
    })
}
