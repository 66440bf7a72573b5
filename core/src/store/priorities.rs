//! Whether a topic may have messages with a priority. Where it may, a group looks at all that its
//! window has room for before it hands anything out; elsewhere it does not pay for that.

use std::sync::atomic::Ordering;

use super::topic::TopicInner;
use crate::error::Result;
use crate::format::control::block as words;
use crate::format::names;
use crate::storage::Access;

impl TopicInner {
    /// Whether there may be any.
    #[inline]
    pub(super) fn has_priorities(&self) -> bool {
        self.block.head.load(words::PRIORITIES, Ordering::Acquire) != 0
    }

    /// Before the first message with a priority is sent: on disk before the message is, so that no
    /// power loss leaves the message alone. A death in between leaves a topic that may have some.
    #[cold]
    pub(super) fn note_priorities(&self) -> Result<()> {
        if self.has_priorities() {
            return Ok(());
        }
        let env = &*self.store.env;
        let path = self.folder.join(names::PRIORITIES);
        env.storage.open(&path, Access::Create, env.mode)?;
        env.storage.sync_dir(&self.folder)?;
        self.block
            .head
            .store(words::PRIORITIES, 1, Ordering::Release);
        Ok(())
    }
}
