//! Circles of dead-letter topics, which are refused: what failed for the last time would come again
//! and again, through one group after the other, and never be anywhere that somebody looks (P12).

use std::collections::{HashSet, VecDeque};

use super::group_meta::{dead_letters_of, read_meta};
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names;
use crate::options::DeadLetter;

impl TopicInner {
    /// With the lock of those who create and configure held: refuses a dead-letter topic of a group
    /// of this topic from which the groups there, and in the topics that theirs go to, lead back
    /// here. What each of them does is read anew, so of two who would close a circle together the
    /// second one is refused. One that is there already and leads elsewhere ends the walk.
    pub(super) fn check_circle(&self, group: &str, target: &DeadLetter) -> Result<()> {
        let Some(first) = dead_letters_of(&self.name, group, target) else {
            return Ok(());
        };
        let begin = format!("{}/{group}", self.name);
        // Topics still to be looked at, each with the way to it, the nearest first.
        let mut open = VecDeque::from([(first, vec![begin])]);
        let mut seen = HashSet::new();
        while let Some((topic, way)) = open.pop_front() {
            if topic == self.name {
                return Err(self.circle(group, &way));
            }
            if !seen.insert(topic.clone()) {
                continue;
            }
            for (name, next) in self.led_on(&topic)? {
                let mut way = way.clone();
                way.push(format!("{topic}/{name}"));
                open.push_back((next, way));
            }
        }
        Ok(())
    }

    /// The groups of a topic, each with the topic that its dead letters go to. A topic that is not
    /// there has none. A group whose configuration cannot be read moves nothing.
    pub(super) fn led_on(&self, topic: &str) -> Result<Vec<(String, String)>> {
        let storage = &*self.store.env.storage;
        let folder = names::topic_folder(&self.store.path, topic);
        let mut found = Vec::new();
        if !storage.exists(&folder.join(names::TOPIC_META))? {
            return Ok(found);
        }
        for name in storage.list(&folder.join(names::GROUPS))? {
            let group = names::group_folder(&folder, &name);
            if storage.exists(&group.join(names::GROUP_DELETED))? {
                continue;
            }
            let meta = match read_meta(&self.store, &group.join(names::GROUP_META)) {
                Ok(meta) => meta,
                Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                Err(_) => continue,
            };
            // What dies in a redrive lane stays in its topic.
            if meta.lane_of.is_none()
                && let Some(next) = dead_letters_of(topic, &name, &meta.config.dead_letter_topic)
            {
                found.push((name, next));
            }
        }
        Ok(found)
    }

    #[cold]
    fn circle(&self, group: &str, way: &[String]) -> Error {
        let (name, way) = (&self.name, way.join(" -> "));
        let message = format!(
            "the dead-letter topic of group {group:?} of topic {name:?} would lead back to that \
             topic, where what failed would come again: {way} -> {name}; name a topic for its dead \
             letters of which no group leads back, or none"
        );
        Error::new(ErrorKind::InvalidArgument, message)
    }
}
