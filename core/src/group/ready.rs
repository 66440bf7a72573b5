//! What may be handed out, by priority: a bitmap for each, and which of them have anything.

use std::sync::Arc;

use super::bitmap::Bitmap;
use crate::format::window::{LEVELS, Parts, header};
use crate::shm::{Mapping, Region};

/// The ready messages of a window, by index.
pub(super) struct Ready {
    head: Region,
    levels: Vec<Bitmap>,
}

impl Ready {
    /// The bitmaps in a window's file; `None` if it is too short for them.
    pub(super) fn new(head: Region, map: &Arc<Mapping>, parts: &Parts) -> Option<Self> {
        let bytes = parts.bitmap_words * 8;
        let level = |number| {
            let bits = Region::new(map, parts.bitmap + number * bytes, bytes)?;
            Some(Bitmap::new(bits, parts.most))
        };
        let levels = (0..LEVELS).map(level).collect::<Option<_>>()?;
        Some(Self { head, levels })
    }

    pub(super) fn clear_all(&self) {
        self.levels.iter().for_each(Bitmap::clear_all);
        self.head.set(header::READY_LEVELS, 0);
    }

    #[inline]
    pub(super) fn set(&self, index: u32, priority: usize) {
        let level = priority.min(LEVELS - 1);
        self.levels[level].set(index as usize);
        let filled = self.head.get(header::READY_LEVELS);
        if filled & 1 << level == 0 {
            self.head.set(header::READY_LEVELS, filled | 1 << level);
        }
    }

    #[inline]
    pub(super) fn clear(&self, index: u32, priority: usize) {
        self.levels[priority.min(LEVELS - 1)].clear(index as usize);
    }

    /// The highest priority of which anything may be ready, beside all of them.
    #[inline]
    fn highest(&self) -> Option<(u64, usize)> {
        let filled = self.head.get(header::READY_LEVELS) & ((1 << LEVELS) - 1);
        let level = filled.checked_ilog2()? as usize;
        Some((filled, level))
    }

    /// The highest priority of which anything is ready.
    pub(super) fn top(&self) -> Option<usize> {
        loop {
            let (filled, level) = self.highest()?;
            if self.levels[level].next_around(0).is_some() {
                return Some(level);
            }
            self.head.set(header::READY_LEVELS, filled & !(1 << level));
        }
    }

    /// Takes out the first one of the highest priority, counted round the ring from a place on;
    /// none of one below the least.
    #[inline]
    pub(super) fn take(&self, from: u32, least: usize) -> Option<u32> {
        loop {
            let (filled, level) = self.highest()?;
            if level < least {
                return None;
            }
            if let Some(index) = self.levels[level].next_around(from as usize) {
                self.levels[level].clear(index);
                return Some(index as u32);
            }
            self.head.set(header::READY_LEVELS, filled & !(1 << level));
        }
    }
}
