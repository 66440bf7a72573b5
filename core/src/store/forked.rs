//! Handles that work on in the child of a fork.

use std::sync::OnceLock;

use crate::error::Result;
use crate::shm::fork_generation;

/// A value of the process that made it. In a child of a fork `get` builds the child's own and keeps
/// it; the parent's is not touched again, since its locks may be held by threads that the child
/// does not have, and its membership is the parent's (P17). A grandchild's is chained on.
pub(crate) struct Forkable<T> {
    value: T,
    born: u64,
    next: OnceLock<Box<Forkable<T>>>,
}

impl<T> Forkable<T> {
    /// A value of this process.
    pub(crate) fn new(value: T) -> Self {
        Self {
            value,
            born: fork_generation(),
            next: OnceLock::new(),
        }
    }

    /// This process's value; in a child of a fork built by `rebuild`, from the nearest ancestor's,
    /// on first use.
    #[inline]
    pub(crate) fn get(&self, rebuild: impl FnOnce(&T) -> Result<T>) -> Result<&T> {
        if self.born == fork_generation() {
            Ok(&self.value)
        } else {
            self.get_in_child(rebuild)
        }
    }

    /// Built outside of the cell: a rebuild takes long, and a fork in the middle of it would leave
    /// the grandchild a cell that is being filled for ever. Of two threads the slower one's value
    /// is dropped.
    #[cold]
    fn get_in_child(&self, rebuild: impl FnOnce(&T) -> Result<T>) -> Result<&T> {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        if last.born != fork_generation() {
            let made = Box::new(Self::new(rebuild(&last.value)?));
            last = last.next.get_or_init(|| made);
        }
        Ok(&last.value)
    }

    /// This process's value if it has one already.
    pub(crate) fn peek(&self) -> Option<&T> {
        let mut at = self;
        while at.born != fork_generation() {
            at = at.next.get()?;
        }
        Some(&at.value)
    }
}
