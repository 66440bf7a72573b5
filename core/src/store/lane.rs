//! The redrive lane of a group: a hidden group of the topic that its dead letters are in, made when
//! the first of them is redriven or purged. Its window over that topic says of each letter what
//! became of it (`group/letters.rs`); what was redriven is handed out to the group's consumers,
//! before what comes from the topic, and to nobody else (P13).
//!
//! All but the window is the group's own: its configuration and pause, the slots of its consumers,
//! its event word, its locks. So a lane follows whatever becomes of its group, and a batch out of
//! both is one batch to who charges a death (P10). The lane's files are the truth; a word of the
//! group's block tells consumers that there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering as Memory;

use super::Block;
use super::brake::PausedBy;
use super::delete::mark;
use super::group::GroupInner;
use super::group_meta::{GroupMeta, read_meta};
use super::in_force::InForce;
use super::inner::locked;
use super::topic::{TopicInner, unique_id};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{GONE, LANE};
use crate::format::names;
use crate::options::{DeliveryMode, GroupConfig, GroupOptions};

/// How far a lane may run ahead of the oldest letter of its group that is dead or open.
pub(super) const WINDOW: u32 = 1 << 20;

/// The group that a lane is of.
pub(super) struct LaneOf {
    pub(super) topic: String,
    pub(super) topic_id: u64,
    pub(super) group: String,
    pub(super) uid: u64,
    pub(super) folder: PathBuf,
    pub(super) block: Block,
    /// Whether it hands out at most once.
    pub(super) once: bool,
}

/// What a group knows of its lane.
#[derive(Default)]
pub(super) struct KnownLane {
    /// The words with which it was looked for: of the configuration, and of lanes.
    with: Option<(u64, u64)>,
    lane: Option<Arc<GroupInner>>,
}

impl GroupInner {
    /// The block whose words its consumers go by: a lane has none of its own.
    #[inline]
    pub(super) fn front(&self) -> &Block {
        self.lane_of.as_ref().map_or(&self.block, |of| &of.block)
    }

    /// Topic and name of the group, or of the one that this is the lane of.
    pub(super) fn source(&self) -> (&str, &str) {
        match &self.lane_of {
            Some(of) => (&of.topic, &of.group),
            None => (&self.topic.name, &self.name),
        }
    }

    /// Id of the group, or of the one that this is the lane of: what its letters are marked with.
    pub(super) fn source_id(&self) -> u64 {
        self.lane_of.as_ref().map_or(self.uid, |of| of.uid)
    }

    pub(super) fn is_lane(&self) -> bool {
        self.lane_of.is_some()
    }

    /// The lane, if there is one. One load where the group never had any.
    #[inline]
    pub(super) fn lane(&self) -> Result<Option<Arc<GroupInner>>> {
        match self.lane_word() {
            0 => Ok(None),
            word => self.known_lane(word),
        }
    }

    fn lane_word(&self) -> u64 {
        if self.is_lane() {
            return 0;
        }
        self.block.head.load(LANE, Memory::Acquire)
    }

    #[cold]
    fn known_lane(&self, word: u64) -> Result<Option<Arc<GroupInner>>> {
        let found = self.find_lane_with(word)?;
        if found.is_some() && !self.is_rebuilt(0) {
            // Windows of a batch begin a life together; what is wrong is told by who uses them.
            let _ = self.begin_life(0);
        }
        Ok(found)
    }

    /// As `lane`, also where no window was used in this life.
    pub(super) fn find_lane(&self) -> Result<Option<Arc<GroupInner>>> {
        match self.lane_word() {
            0 => Ok(None),
            word => self.find_lane_with(word),
        }
    }

    fn find_lane_with(&self, word: u64) -> Result<Option<Arc<GroupInner>>> {
        let with = (self.changed(), word);
        let mut known = locked(&self.lane);
        if known.with == Some(with) || with.0 == GONE {
            return Ok(known.lane.clone());
        }
        let same = |lane: &Arc<GroupInner>, name: &str| lane.topic.name == name;
        let lane = match (self.dead_letter_topic(), known.lane.take()) {
            (Some(name), Some(lane)) if same(&lane, &name) => Some(lane),
            (Some(name), _) => self.open_lane(&name)?,
            (None, _) => None,
        };
        known.lane.clone_from(&lane);
        known.with = Some(with);
        Ok(lane)
    }

    fn open_lane(&self, target: &str) -> Result<Option<Arc<GroupInner>>> {
        let store = &self.topic.store;
        let target = match store.topic_inner(target) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let name = names::redrive_lane(self.uid);
        if !target.has_group(&name)? {
            return Ok(None);
        }
        let of = LaneOf {
            topic: self.topic.name.clone(),
            topic_id: self.topic.uid,
            group: self.name.clone(),
            uid: self.uid,
            folder: self.folder(),
            block: self.block.clone(),
            once: self.once,
        };
        let lane = Arc::new(target.open_files(&name, Some(of))?);
        store.tend(lane.folder(), lane.tended());
        Ok(Some(lane))
    }

    /// By who opens the group: whether it has a lane, which is for its files to say.
    pub(super) fn note_lane(&self) -> Result<()> {
        if self.is_lane() || self.lane_word() != 0 {
            return Ok(());
        }
        let Some(target) = self.dead_letter_topic() else {
            return Ok(());
        };
        let store = &self.topic.store;
        let folder = names::topic_folder(&store.path, &target);
        let folder = names::group_folder(&folder, &names::redrive_lane(self.uid));
        if is_group(store.env.storage.as_ref(), &folder)? {
            self.tell_of_lane();
        }
        Ok(())
    }

    /// Has all consumers look for the lane.
    fn tell_of_lane(&self) {
        let word = self.block.head.get(LANE).wrapping_add(1).max(1);
        self.block.head.store(LANE, word, Memory::Release);
    }

    /// The lane in this topic, made if there is none. Who dies before `group.meta` is there leaves
    /// no lane; who dies before the others are told of it leaves a window in which no letter was
    /// redriven.
    pub(super) fn make_lane(&self, target: &Arc<TopicInner>) -> Result<Arc<GroupInner>> {
        let held = self.topic.store.hold_create_lock()?;
        self.read_meta()?;
        target.check_there()?;
        if self.dead_letter_topic().as_deref() != Some(&target.name) {
            return Err(self.letters_moved(target));
        }
        let name = names::redrive_lane(self.uid);
        let left = target.finish_deleting(&names::group_folder(&target.folder, &name))?;
        if !target.has_group(&name)? {
            let log = &target.partitions[0];
            let config = GroupConfig::from_options(&GroupOptions {
                window: Some(WINDOW),
                delivery: self.once.then_some(DeliveryMode::AtMostOnce),
                ..GroupOptions::default()
            });
            let meta = GroupMeta {
                id: unique_id(),
                config,
                starts: vec![log.earliest_offset()?],
                paused_by: PausedBy::Nobody,
                paused_at_ns: 0,
                brake_from: 0,
                lane_of: Some((self.topic.name.clone(), self.name.clone())),
                sought: Vec::new(),
            };
            // No letter that is there is of a message that was redriven.
            let dead_from = log.next_offset();
            let windows = |folder: &Path| target.make_windows(folder, &meta, dead_from);
            target.make_group(&name, &meta, windows)?;
        }
        // Also where it was there: who made it may have died before he told.
        self.tell_of_lane();
        drop(held);
        if left {
            // What fails is done by the next one.
            let _ = target.store.clear_away();
        }
        let lost = || Error::new(ErrorKind::Internal, format!("the group {name:?} is gone"));
        self.lane()?.ok_or_else(lost)
    }

    #[cold]
    pub(super) fn letters_moved(&self, target: &TopicInner) -> Error {
        let message = format!(
            "the dead letters of group {:?} of topic {:?} went to {:?} when this call began, and \
             go to another topic now; call again",
            self.name, self.topic.name, target.name
        );
        Error::new(ErrorKind::Busy, message)
    }

    /// While the group is being changed, with the mover's lock held: nothing that was redriven is
    /// in the topic that its letters went to so far, or nobody would be handed it any more.
    pub(super) fn check_lane_done(&self) -> Result<()> {
        let Some(lane) = self.lane()? else {
            return Ok(());
        };
        let open = lane.with_window(0, |window| window.unsettled().len())?;
        if open == 0 {
            return Ok(());
        }
        let message = format!(
            "group {:?} of topic {:?} has {open} messages that were redriven from topic {:?} and \
             are not settled; let its consumers settle them, and set dead_letter_topic then",
            self.name, self.topic.name, lane.topic.name
        );
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// After the group was deleted, with the lock of those who create held. Who dies before leaves
    /// a lane of no group, which goes when its topic is opened next.
    pub(super) fn delete_lane(&self, letters: Option<String>) -> Result<()> {
        let Some(target) = letters else {
            return Ok(());
        };
        let store = &self.topic.store;
        let name = names::redrive_lane(self.uid);
        let folder = names::topic_folder(&store.path, &target);
        if !is_group(
            store.env.storage.as_ref(),
            &names::group_folder(&folder, &name),
        )? {
            return Ok(());
        }
        store.topic_inner(&target)?.put_lane_away(&name)
    }
}

impl TopicInner {
    fn put_lane_away(&self, name: &str) -> Result<()> {
        let (env, folder) = (&*self.store.env, names::group_folder(&self.folder, name));
        mark(&*env.storage, &folder, names::GROUP_DELETED, env.mode)?;
        self.store.untend(&folder);
        self.store.put_away(&folder)
    }

    /// With the lock of those who create held: a lane whose group is gone goes, as
    /// `finish_deleting` has a group go.
    pub(super) fn put_orphan_away(&self, name: &str) -> Result<bool> {
        let orphan = self.is_orphan(name)?;
        if orphan {
            self.put_lane_away(name)?;
        }
        Ok(orphan)
    }

    /// Whether this is the lane of a group that was deleted. Of what cannot be read nobody knows.
    pub(super) fn is_orphan(&self, name: &str) -> Result<bool> {
        let Some(group) = names::parse_redrive_lane(name) else {
            return Ok(false);
        };
        let folder = names::group_folder(&self.folder, name);
        let Ok(meta) = read_meta(&self.store, &folder.join(names::GROUP_META)) else {
            return Ok(false);
        };
        let Some((topic, of)) = meta.lane_of else {
            return Ok(false);
        };
        let folder = names::group_folder(&names::topic_folder(&self.store.path, &topic), &of);
        if !is_group(self.store.env.storage.as_ref(), &folder)? {
            return Ok(true);
        }
        let meta = read_meta(&self.store, &folder.join(names::GROUP_META));
        Ok(meta.is_ok_and(|meta| meta.id != group))
    }
}

fn is_group(storage: &dyn crate::storage::Storage, folder: &Path) -> Result<bool> {
    let there = |name| storage.exists(&folder.join(name));
    Ok(there(names::GROUP_META)? && !there(names::GROUP_DELETED)?)
}
