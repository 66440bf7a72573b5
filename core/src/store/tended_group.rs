//! What housekeeping does for a group: the ballast, and the windows' clean close.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ballast::Ballast;
use super::group::GroupInner;
use super::housekeeping::{Pace, Tended};
use crate::error::Result;
use crate::format::control::block::{CHANGED, GONE};
use crate::format::names;
use crate::group::Window;
use crate::log::Env;
use crate::shm::Region;

struct TendedGroup {
    env: Arc<Env>,
    ballast: Ballast,
    folder: PathBuf,
    uid: u64,
    head: Region,
    limit: u32,
    partitions: u32,
}

impl GroupInner {
    /// Housekeeping's part of the group; it knows where the files are and holds nothing else.
    pub(super) fn tended(&self) -> Arc<dyn Tended> {
        let store = &self.topic.store;
        Arc::new(TendedGroup {
            env: store.env.clone(),
            ballast: Ballast::of(
                &store.path,
                store.control.header().clone(),
                store.env.me,
                store.env.live.clone(),
                store.env.mode,
            ),
            folder: self.folder(),
            uid: self.uid,
            head: self.front().head.clone(),
            limit: self.limit,
            partitions: self.windows.len() as u32,
        })
    }
}

impl Tended for TendedGroup {
    fn tend(&self) -> Result<Pace> {
        self.ballast.lay_in(&*self.env.storage)?;
        Ok(Pace::Idle)
    }

    fn close_clean(&self) -> Result<()> {
        if self.head.load(CHANGED, Ordering::Acquire) == GONE {
            // It was deleted, and the files may be those of another one.
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
