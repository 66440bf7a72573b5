//! What housekeeping does for a group: the ballast, and the windows' clean close.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::StoreInner;
use super::ballast::Ballast;
use super::group::GroupInner;
use super::group_meta::GroupMeta;
use super::housekeeping::{Pace, Tended};
use super::topic::TopicInner;
use crate::error::Result;
use crate::format::control::block::{CHANGED, GONE};
use crate::format::names;
use crate::group::Window;
use crate::log::Env;
use crate::shm::Region;

struct TendedGroup {
    env: Arc<Env>,
    folder: PathBuf,
    uid: u64,
    head: Region,
    limit: u32,
    partitions: u32,
}

/// The ballast, once for all groups.
struct TendedBallast {
    env: Arc<Env>,
    ballast: Ballast,
}

impl Tended for TendedBallast {
    fn tend(&self) -> Result<Pace> {
        self.ballast.lay_in(&*self.env.storage)?;
        Ok(Pace::Idle)
    }
}

impl StoreInner {
    /// Has housekeeping lay the ballast in, from the first group on.
    fn tend_ballast(&self) {
        let path = self.path.join(names::BALLAST);
        let ballast = Ballast::of(
            &self.path,
            self.control.header().clone(),
            self.env.me,
            self.env.live.clone(),
            self.env.mode,
        );
        let env = self.env.clone();
        self.tend(path, Arc::new(TendedBallast { env, ballast }));
    }
}

impl GroupInner {
    /// Housekeeping's part of the group; it knows where the files are and holds nothing else.
    pub(super) fn tended(&self) -> Arc<dyn Tended> {
        let partitions = self.windows.len() as u32;
        let ids = (self.uid, self.limit, partitions);
        Arc::new(tended(
            &self.topic.store,
            self.folder(),
            &self.front().head,
            ids,
        ))
    }
}

impl TopicInner {
    /// Has housekeeping close a redrive lane that was written anew and that nobody has open.
    pub(super) fn tend_restored(&self, name: &str, meta: &GroupMeta) {
        let folder = names::group_folder(&self.folder, name);
        let ids = (meta.id, meta.config.window, 1);
        let part = tended(&self.store, folder.clone(), &self.block.head, ids);
        self.store.tend(folder, Arc::new(part));
    }
}

fn tended(
    store: &StoreInner,
    folder: PathBuf,
    head: &Region,
    (uid, limit, partitions): (u64, u32, u32),
) -> TendedGroup {
    store.tend_ballast();
    TendedGroup {
        env: store.env.clone(),
        folder,
        uid,
        head: head.clone(),
        limit,
        partitions,
    }
}

impl Tended for TendedGroup {
    fn is_gone(&self) -> bool {
        self.head.load(CHANGED, Ordering::Acquire) == GONE
    }

    fn is_urgent(&self) -> bool {
        false
    }

    /// There is nothing to do for it before the store is closed.
    fn tend(&self) -> Result<Pace> {
        Ok(Pace::Idle)
    }

    fn close_clean(&self) -> Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        let storage = &*self.env.storage;
        for number in 0..self.partitions {
            let path = self.folder.join(names::window(number));
            if let Some(window) = Window::open(storage, &path, (self.uid, number), self.limit)? {
                window.close_clean()?;
            }
        }
        Ok(())
    }
}
