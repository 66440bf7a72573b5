//! Priorities over several partitions: the most urgent of what is ready in the whole group comes
//! first, whatever partition it is in.
//!
//! What nobody has seen is taken in first, in all partitions, since its priority is not known
//! before that. Then they are gone through by what is ready in them: from the one with the most
//! urgent messages those are taken that are no less urgent than any in the others, and so on. Each
//! is looked into under its own window's lock, so what becomes ready meanwhile has its turn in the
//! next round.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::consumer::Consumer;
use super::receive::Pass;
use super::receiving::{Gathered, Wanted};

impl Consumer {
    /// One round over the partitions, of those that are equal beginning with this one; when the
    /// next lease or delay ends.
    pub(super) fn take_by_urgency(
        &self,
        first: usize,
        wanted: &Wanted,
        gathered: &mut Gathered,
    ) -> Option<u64> {
        let partitions = &self.group.topic.partitions;
        let mut due = None;
        let mut look = |turn: usize, pass, gathered: &mut Gathered| {
            let partition = &partitions[(first + turn) % partitions.len()];
            gathered.urgency = None;
            match self.take_from(&self.group, partition, pass, (wanted, gathered)) {
                Ok(ends) => due = [due, ends].into_iter().flatten().min(),
                // Messages of other partitions are leased already, or are there to be: what is
                // wrong with one is told when they are out.
                Err(error) => self.keep_pending(error),
            }
            gathered.urgency
        };
        let mut next = BinaryHeap::new();
        for turn in 0..partitions.len() {
            next.extend(look(turn, Pass::Look, gathered).map(|most| (most, Reverse(turn))));
        }
        while let Some((most, Reverse(turn))) = next.pop() {
            let least = next.peek().map_or(0, |(least, _)| *least);
            let left = look(turn, Pass::Ready(least), gathered);
            if gathered.is_full(wanted) {
                break;
            }
            // What became ready meanwhile waits for the next round.
            next.extend(
                left.filter(|left| *left < most)
                    .map(|left| (left, Reverse(turn))),
            );
        }
        due
    }
}
