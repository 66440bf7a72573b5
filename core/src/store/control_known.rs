//! Where the blocks of `control` are, as a process knows it.
//!
//! Blocks are only ever linked in before the first one and never moved, so what was seen once need
//! not be walked again: with thousands of topics in use, opening one more, or waking those who wait
//! for one, costs the blocks that were linked since.

use std::collections::HashMap;

use super::control::{GROUP, circle};
use super::control_block::HEAD_BYTES;
use crate::error::Result;
use crate::format::control::MAPPED;

/// Blocks by their ids.
#[derive(Default)]
pub(super) struct Known {
    /// The newest block that is known; 0 is none.
    first: u64,
    at: HashMap<(u64, u64), u64>,
    groups: HashMap<u64, Vec<u64>>,
}

impl Known {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Where the block of this kind and id is.
    pub(super) fn place_of(&self, kind: u64, id: u64) -> Option<u64> {
        self.at.get(&(kind, id)).copied()
    }

    /// Where the blocks of a topic's groups are.
    pub(super) fn groups_of(&self, topic: u64) -> &[u64] {
        self.groups.get(&topic).map_or(&[], Vec::as_slice)
    }

    /// Takes in the blocks from `first` to the newest that is known. `read` gives kind, id, topic
    /// and the next block of one, which may be any words (P18).
    pub(super) fn follow(
        &mut self,
        first: u64,
        mut read: impl FnMut(u64) -> Result<[u64; 4]>,
    ) -> Result<()> {
        let (mut at, mut linked) = (first, Vec::new());
        while at != 0 && at != self.first {
            if linked.len() > MAPPED / HEAD_BYTES {
                return Err(circle());
            }
            let [kind, id, topic, next] = read(at)?;
            linked.push((at, kind, id, topic));
            at = next;
        }
        if at == 0 {
            // The list does not reach what was known: it was written over. All is taken anew.
            *self = Self::default();
        }
        // The oldest first, so that the newest of an id is found, as by a walk.
        for (at, kind, id, topic) in linked.into_iter().rev() {
            self.at.insert((kind, id), at);
            if kind == GROUP {
                self.groups.entry(topic).or_default().push(at);
            }
        }
        self.first = first;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks by their place: kind, id, topic, next.
    fn list(blocks: &[(u64, [u64; 4])]) -> impl Fn(u64) -> Result<[u64; 4]> + '_ {
        |at| {
            let found = blocks.iter().find(|(place, _)| *place == at);
            found.map(|(_, words)| *words).ok_or_else(circle)
        }
    }

    #[test]
    fn p19_only_what_was_linked_since_is_walked() {
        let blocks = [
            (64, [1, 7, 0, 0]),
            (128, [GROUP, 8, 7, 64]),
            (192, [GROUP, 9, 7, 128]),
        ];
        let mut known = Known::default();
        known.follow(128, list(&blocks)).expect("two blocks");
        assert_eq!(known.groups_of(7), [128]);
        let mut walked = 0;
        let mut count = |at| {
            walked += 1;
            list(&blocks)(at)
        };
        known.follow(192, &mut count).expect("one more");
        assert_eq!(walked, 1);
        assert_eq!(known.groups_of(7), [128, 192]);
        assert_eq!(known.place_of(1, 7), Some(64));
        assert_eq!(known.place_of(1, 8), None, "a group's id");
    }

    #[test]
    fn p18_a_list_that_goes_in_a_circle_is_an_error_and_not_a_hang() {
        let blocks = [(64, [1, 7, 0, 128]), (128, [1, 8, 0, 64])];
        let mut known = Known::default();
        known.follow(64, list(&blocks)).expect_err("a circle");
        assert_eq!(known.first(), 0, "nothing of it is believed");
    }
}
