//! What consumers leave behind that closed or died: their leases come back, and a death is charged
//! (P10).
//!
//! A consumer that closed is charged for nothing; a dead one for what it had started, or for all of
//! a batch of which it had started none. A batch may come from several partitions. So what was
//! merely fetched comes back first, in all of them, and then what is charged: whoever has to go on
//! after one that died between any two steps, or does the same at the same time, still finds what
//! says that something of the batch was started, or nothing of it that could be charged wrongly.
//! What a receive call had only gathered is of no batch, and is never charged (`group/gather.rs`).

use std::collections::HashSet;

use super::cause::Cause;
use super::gather::GATHERED;
use super::policy::Policy;
use super::rebuild::Life;
use super::take::Returned;
use super::window::{Counter, Window};
use crate::format::window::state;

/// Batches, each by its consumer and its number.
pub type Batches = HashSet<(u16, u16)>;

impl Window {
    /// The batches of which these consumers have messages here that they have not started.
    pub fn fetched_batches(&self, of: impl Fn(u16) -> bool) -> Batches {
        self.leases(|index| !self.entries.started(index) && of(self.entries.consumer(index)))
            .into_iter()
            .map(|index| self.batch_of(index))
            .filter(|(_, batch)| *batch != GATHERED)
            .collect()
    }

    /// Those of these batches of which something was started here, what was settled since
    /// included, as far as the window still remembers it.
    pub fn started_among(&self, batches: &Batches) -> Batches {
        let mut found = Batches::new();
        if batches.is_empty() {
            return found;
        }
        let remembered = (self.mask + 1).saturating_sub(self.end() - self.floor());
        for offset in self.floor().saturating_sub(remembered)..self.end() {
            let index = self.index(offset);
            if self.entries.is_of(index, offset)
                && self.entries.started(index)
                && batches.contains(&self.batch_of(index))
            {
                found.insert(self.batch_of(index));
                if found.len() == batches.len() {
                    break;
                }
            }
        }
        found
    }

    /// What these consumers had merely fetched of batches that they had begun with comes back,
    /// uncounted; how many there were.
    pub fn return_fetched(&self, of: impl Fn(u16) -> bool, started: &Batches) -> u32 {
        let fetched = self.leases(|index| {
            of(self.entries.consumer(index))
                && !self.entries.started(index)
                && started.contains(&self.batch_of(index))
        });
        for index in &fetched {
            self.unhook(*index);
            self.make_ready(*index);
        }
        fetched.len() as u32
    }

    /// All leases of these consumers come back, those of the dead after the backoff. Of theirs what
    /// they had merely fetched came back before (`return_fetched`).
    pub fn return_leases(
        &self,
        policy: &Policy,
        of: impl Fn(u16) -> bool,
        died: bool,
        times: (u64, u64),
    ) -> Returned {
        self.return_charged(policy, of, died.then_some(Cause::Died), times)
    }

    /// As `return_leases`, where what is charged failed for this cause.
    fn return_charged(
        &self,
        policy: &Policy,
        of: impl Fn(u16) -> bool,
        died: Option<Cause>,
        times: (u64, u64),
    ) -> Returned {
        // A living call settles what it gave, or takes it back.
        let left = |index| died.is_none() && self.is_given(index);
        let leases = self.leases(|index| of(self.entries.consumer(index)) && !left(index));
        let mut dying = Vec::new();
        for index in &leases {
            // Nobody was told of what was only gathered.
            let charged = died.filter(|_| self.entries.batch(*index) != GATHERED);
            self.unhook(*index);
            if self.once {
                self.end_without_consumer(*index);
                continue;
            }
            let Some(cause) = charged else {
                self.make_ready(*index);
                continue;
            };
            if self.fail(policy, *index, None, times, cause) {
                dying.push((self.offset_at(*index), self.entries.consumer(*index)));
            }
        }
        Returned {
            count: leases.len() as u32,
            dying,
            marked: false,
        }
    }

    /// In a new life: all leases come back, as those of the dead. The slots in them are those of
    /// consumers that are gone with their life, and others may have them by now.
    pub fn return_void_leases(&mut self, policy: &Policy, life: Life, times: (u64, u64)) {
        let table = self.tally.detach();
        let cause = match life {
            Life::NewBoot => Cause::HostRestarted,
            Life::New | Life::Same => Cause::AllEnded,
        };
        self.return_charged(policy, |_| true, Some(cause), times);
        self.tally.attach(table);
    }

    /// For each message that is handed out now the slot of its consumer.
    pub fn lease_holders(&self) -> impl Iterator<Item = u16> {
        let leases = self.leases(|_| true);
        leases.into_iter().map(|index| self.entries.consumer(index))
    }

    fn batch_of(&self, index: u32) -> (u16, u16) {
        (self.entries.consumer(index), self.entries.batch(index))
    }

    /// As many as the counter says are looked for, so that a window without any is not walked.
    pub(super) fn leases(&self, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        let all = usize::try_from(self.counter(Counter::Leased)).unwrap_or(usize::MAX);
        (self.floor()..self.end())
            .map(|offset| (offset, self.index(offset)))
            .filter(|(offset, index)| {
                self.entries.is_of(*index, *offset) && self.entries.state(*index) == state::LEASED
            })
            .take(all)
            .map(|(_, index)| index)
            .filter(|index| wanted(*index))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{at, policy};
    use super::super::power_tests::{admit, begin};
    use super::*;
    use crate::storage::Twin;

    const DEAD: u16 = 7;
    const COUNT: u32 = 3;

    fn is_dead(of: u16) -> bool {
        of == DEAD
    }

    /// What the leases of the dead in two windows, one batch, come to: failures by window and
    /// offset. The first who returns them dies after so many steps, then all that is ready is
    /// handed out anew, and another one returns what is left.
    fn failures(starts_one: bool, steps: usize) -> Vec<u32> {
        let policy = policy(false);
        let twins = [Twin::new(), Twin::new()];
        let mut windows = twins.each_ref().map(|twin| begin(twin, &policy));
        for window in &mut windows {
            admit(window, &policy, u64::from(COUNT));
            while window.take_ready(1_000, DEAD, 1).is_some() {}
        }
        if starts_one {
            windows[0].start(0, 1);
        }
        let goes_back = |most: usize| {
            let mut fetched = Batches::new();
            let mut started = Batches::new();
            for window in &windows {
                fetched.extend(window.fetched_batches(is_dead));
            }
            for window in &windows {
                started.extend(window.started_among(&fetched));
            }
            for (step, window) in windows.iter().chain(&windows).enumerate().take(most) {
                if step < windows.len() {
                    window.return_fetched(is_dead, &started);
                } else {
                    window.return_leases(&policy, is_dead, true, (10, 10));
                }
            }
        };
        goes_back(steps);
        for window in &windows {
            window.expire(&policy, at(500));
            while window.take_ready(1_000, DEAD + 1, 2).is_some() {}
        }
        goes_back(usize::MAX);
        let all = windows.iter().flat_map(|window| {
            assert_eq!(window.fetched_batches(is_dead).len(), 0);
            (0..COUNT).map(|index| window.entries.failures(index))
        });
        all.collect()
    }

    #[test]
    fn p10_a_death_is_charged_once_wherever_the_one_who_returns_its_leases_dies() {
        for steps in 0..=4 {
            assert_eq!(failures(true, steps), [1, 0, 0, 0, 0, 0], "{steps} steps");
            assert_eq!(failures(false, steps), [1; 6], "{steps} steps");
        }
    }

    #[test]
    fn p10_what_was_only_gathered_is_never_charged() {
        let policy = policy(false);
        let twin = Twin::new();
        let mut window = begin(&twin, &policy);
        admit(&mut window, &policy, 2);
        // Of the two the one was handed on; a gathered one counts for no batch, started or not.
        window.take_ready(1_000, DEAD, GATHERED);
        window.take_ready(1_000, DEAD, 1);
        window.start(0, 1);
        let fetched = window.fetched_batches(is_dead);
        assert_eq!(fetched, Batches::from([(DEAD, 1)]));
        assert_eq!(window.started_among(&fetched), Batches::new());
        let returned = window.return_leases(&policy, is_dead, true, (10, 10));
        assert_eq!(returned.count, 2);
        assert_eq!([0, 1].map(|index| window.entries.failures(index)), [0, 1]);
    }

    #[test]
    fn p9_a_lease_that_ends_before_its_message_is_handed_on_is_no_failure() {
        let policy = policy(false);
        let twin = Twin::new();
        let mut window = begin(&twin, &policy);
        admit(&mut window, &policy, 2);
        window.take_ready(1_000, DEAD, GATHERED);
        window.take_ready(1_000, DEAD, 1);
        window.expire(&policy, at(2_000));
        assert_eq!([0, 1].map(|index| window.entries.failures(index)), [0, 1]);
        let found = window.take_ready(4_000, DEAD + 1, 1);
        assert_eq!(found.map(|one| (one.offset, one.attempt)), Some((0, 2)));
    }
}
