//! Changing a group while others are at work in it.
//!
//! One at a time. `group.meta` is replaced as a whole; `settings` says how all others follow, and
//! what a death at any step leaves.

use std::path::PathBuf;
use std::sync::Arc;

use super::group::{Group, GroupInner};
use super::group_meta::{GroupMeta, dead_letters_of, write_meta};
use super::group_open::check_max_lease;
use super::in_force::{InForce, raised};
use super::redirect;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block::{CHANGING, HOLDING, MOVER_LOCK};
use crate::format::names;
use crate::group::Counter;
use crate::options::{Brake, GroupConfig, GroupOptions, Ordering};
use crate::shm::OwnerLock;
use crate::storage::replace_file;

impl Group {
    /// Changes the stored configuration; what is `None` stays. Durable before the call returns.
    /// Every process goes by it from its next call on: leases that are out keep their time,
    /// failures that were counted stay, and with fewer `max_attempts` a message dies at its next
    /// failure. A `max_lease` holds for what consumers receive that are opened from then on; there
    /// is no taking it off, but one of 365 days bounds nothing. Another `filter` holds for messages
    /// that the group has not looked at yet: those that it has taken in stay, those that were
    /// settled do not come back.
    ///
    /// [`ErrorKind::InvalidArgument`] for a `window` other than the stored one, which the layout of
    /// the group's files depends on, for another `delivery`, and for a `start`. [`ErrorKind::Busy`]
    /// for another `ordering` than [`Ordering::None`], while messages are taken in and not settled:
    /// they wait by the order that was (P11). [`ErrorKind::InvalidArgument`] also for a
    /// `dead_letter_topic` that leads back to this topic. [`ErrorKind::Busy`] for another
    /// `on_dead_letter` or `dead_letter_topic` while any dead letter holds its key, and for another
    /// `dead_letter_topic`, or none, while the group has dead letters in the former one, which
    /// would be out of sight: redrive and settle them, or purge them, before. After another error
    /// either configuration is in force, in all processes the same.
    ///
    /// ```
    /// # use libqueue::{GroupOptions, Store, StoreOptions, TopicOptions};
    /// # use std::time::Duration;
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path(), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// let billing = orders.create_group("billing", &GroupOptions::default())?;
    /// let lease = Some(Duration::from_secs(120));
    /// billing.configure(&GroupOptions { lease, ..GroupOptions::default() })?;
    /// assert_eq!(billing.config().lease, Duration::from_secs(120));
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn configure(&self, changes: &GroupOptions) -> Result<()> {
        let group = &*self.inner;
        changes.check()?;
        if changes.start.is_some() {
            return Err(invalid("start says where a new group begins; leave it out"));
        }
        if let Some(target) = &changes.dead_letter_topic {
            group.topic.check_dead_letters(&group.name, target)?;
        }
        let env = &*group.topic.store.env;
        group.topic.store.check_send()?;
        let mover = match changes.dead_letter_topic.is_some() || changes.on_dead_letter.is_some() {
            // Letters go to one topic or the other, never to both, and hold their keys as they say
            // (P12).
            true => {
                let lock = group.block.head.word32(MOVER_LOCK);
                Some(OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?.0)
            }
            false => None,
        };
        // What takes long, before others have to wait: with the mover's lock held nothing becomes a
        // dead letter of this group until the change is done, so what was found stays so.
        let _letters = match mover {
            Some(_) => Some(group.prepare(changes)?),
            None => None,
        };
        let mut moved = false;
        let changed = group.change(|group, meta| {
            let wanted = group.wanted_config(meta, changes)?;
            if wanted.ordering != meta.config.ordering && wanted.ordering != Ordering::None {
                group.check_nothing_taken_in()?;
            }
            if wanted.on_dead_letter != meta.config.on_dead_letter {
                group.check_nothing_holds()?;
            }
            moved = meta.config.dead_letter_topic != wanted.dead_letter_topic;
            if moved {
                group.check_nothing_holds()?;
                group.check_lane_done()?;
                group.each_partition(|number| redirect::leave_topic(group, number))?;
            }
            meta.config = wanted;
            if moved {
                // Offsets of the other topic say nothing here.
                group.count_deaths_from_now(meta)?;
                // No letter that holds its key is of this group: there is none now.
                for sought in &mut meta.sought {
                    sought.dead_from = meta.brake_from;
                }
            }
            Ok(())
        });
        if moved && changed.is_ok() {
            group.each_partition(|number| redirect::enter_topic(group, number))?;
        }
        drop(mover);
        changed
    }
}

/// Topics that are to stay open.
type Opened = Vec<Arc<TopicInner>>;

impl GroupInner {
    /// With the mover's lock held, and no other one: whatever of the change takes long, and what of
    /// it is refused at once. Nothing is changed but that moves of one who died are done with.
    fn prepare(&self, changes: &GroupOptions) -> Result<Opened> {
        let meta = self.read_meta()?;
        let wanted = self.wanted_config(&meta, changes)?;
        let mut opened: Opened = self.letters_topic()?.into_iter().collect();
        let moved = meta.config.dead_letter_topic != wanted.dead_letter_topic;
        if moved || wanted.on_dead_letter != meta.config.on_dead_letter {
            self.each_partition(|number| redirect::finish_moves(self, number))?;
            self.check_nothing_holds()?;
        }
        if moved {
            self.check_lane_done()?;
            redirect::check_no_letters(self, &wanted.dead_letter_topic)?;
            let target = dead_letters_of(&self.topic.name, &self.name, &wanted.dead_letter_topic);
            match target.map(|name| self.topic.store.topic_inner(&name)) {
                Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                found => opened.extend(found.and_then(Result::ok)),
            }
        }
        Ok(opened)
    }

    /// The configuration as it is to be, unless that may not be.
    fn wanted_config(&self, meta: &GroupMeta, changes: &GroupOptions) -> Result<GroupConfig> {
        let wanted = merged(&meta.config, changes);
        check_window(meta, &wanted)?;
        check_delivery(meta, changes)?;
        check_max_lease(&wanted)?;
        wanted.check()?;
        if let Some(target) = &changes.dead_letter_topic {
            self.topic.check_circle(&self.name, target)?;
        }
        Ok(wanted)
    }

    /// Changes `group.meta`, durably, and has all go by it.
    pub(super) fn change(
        &self,
        edit: impl FnOnce(&GroupInner, &mut GroupMeta) -> Result<()>,
    ) -> Result<()> {
        self.topic.store.check_send()?;
        let held = self.topic.store.hold_create_lock()?;
        let word = self.word_to_change()?;
        let before = self.read_meta()?;
        let mut meta = before.clone();
        self.set_changed(word | CHANGING);
        let done = edit(self, &mut meta).and_then(|()| {
            if meta == before {
                return Ok(());
            }
            let (env, path) = (&*self.topic.store.env, self.meta_path());
            replace_file(&*env.storage, &path, write_meta(&meta).as_bytes(), env.mode)
        });
        let held_back = self.changed() & HOLDING != 0;
        // Also after an error: the file may have the new name, and only its folder not be synced.
        // Where it says that the group was sought, the next one puts it on disk first, as after a
        // death here.
        let sought = done.is_err() && meta.sought != before.sought;
        if !sought
            || self
                .read_meta()
                .is_ok_and(|now| now.sought == before.sought)
        {
            self.set_changed(raised(word));
        }
        drop(held);
        if held_back {
            self.wake(u32::MAX);
        }
        done?;
        // Whoever was inside a window goes by it from here on.
        self.each_partition(|number| self.with_window(number, |_| ()))?;
        match self.lane()? {
            Some(lane) => lane.with_window(0, |_| ()),
            None => Ok(()),
        }
    }

    fn meta_path(&self) -> PathBuf {
        self.folder().join(names::GROUP_META)
    }

    fn each_partition(&self, each: impl FnMut(u32) -> Result<()>) -> Result<()> {
        let count = self.windows.len() as u32;
        (0..count).try_for_each(each)
    }

    /// With the mover's lock held, while it is being changed: no message holds its key.
    fn check_nothing_holds(&self) -> Result<()> {
        let mut holding = 0;
        self.each_partition(|number| {
            holding += self.with_window(number, |window| window.counter(Counter::Holding))?;
            Ok(())
        })?;
        if holding == 0 {
            return Ok(());
        }
        let message = format!(
            "group {:?} of topic {:?} has {holding} dead letters that hold their keys; redrive or \
             purge them before on_dead_letter or dead_letter_topic is changed",
            self.name, self.topic.name
        );
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// While it is being changed: from here on nothing is handed out, and nothing waits in a window
    /// by another order than the new one (P11).
    fn check_nothing_taken_in(&self) -> Result<()> {
        self.set_changed(self.changed() | HOLDING);
        let mut open = 0;
        self.each_partition(|number| {
            open += self.with_window(number, |window| window.unsettled().len())?;
            Ok(())
        })?;
        if let Some(lane) = self.lane()? {
            open += lane.with_window(0, |window| window.unsettled().len())?;
        }
        if open == 0 {
            return Ok(());
        }
        let message = format!(
            "group {:?} of topic {:?} has {open} messages that were taken in by the order that \
             was and are not settled; let its consumers settle them, or settle them by id, and set \
             ordering then, before more are received",
            self.name, self.topic.name
        );
        Err(Error::new(ErrorKind::Busy, message))
    }
}

fn merged(stored: &GroupConfig, changes: &GroupOptions) -> GroupConfig {
    let target = changes.dead_letter_topic.clone();
    GroupConfig {
        ordering: changes.ordering.unwrap_or(stored.ordering),
        lease: changes.lease.unwrap_or(stored.lease),
        max_lease: changes.max_lease.or(stored.max_lease),
        max_attempts: changes.max_attempts.unwrap_or(stored.max_attempts),
        backoff: changes.backoff.unwrap_or(stored.backoff),
        dead_letter_topic: target.unwrap_or_else(|| stored.dead_letter_topic.clone()),
        on_expired: changes.on_expired.unwrap_or(stored.on_expired),
        window: changes.window.unwrap_or(stored.window),
        filter: match &changes.filter {
            None => stored.filter.clone(),
            Some(filter) => Some(filter.clone()).filter(|filter| !filter.is_empty()),
        },
        delivery: stored.delivery,
        brake: changes.brake.map_or(stored.brake, Brake::stored),
        on_dead_letter: changes.on_dead_letter.unwrap_or(stored.on_dead_letter),
    }
}

/// What was handed out by one mode cannot be told by the other (P7).
fn check_delivery(meta: &GroupMeta, changes: &GroupOptions) -> Result<()> {
    let stored = meta.config.delivery;
    match changes.delivery {
        Some(wanted) if wanted != stored => Err(invalid(format!(
            "delivery is {}, the group was made with {}, and what is handed out goes by that; \
             expected {1}: make another group with the delivery you want",
            wanted.name(),
            stored.name()
        ))),
        _ => meta.config.check_leases(changes),
    }
}

fn check_window(meta: &GroupMeta, wanted: &GroupConfig) -> Result<()> {
    let stored = meta.config.window;
    if stored == wanted.window {
        return Ok(());
    }
    Err(invalid(format!(
        "window is {}, the group was made with {stored}, and its files are laid out for that; \
         expected {stored}: make another group with the window you want",
        wanted.window
    )))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
