//! What can be told of a window without its lock.

use super::seen::Files;
use super::window::{Counter, Window};
use crate::format::window::header;
use crate::shm::Region;

/// The words of a window that count what is open, to be looked at without its lock.
pub struct Glance {
    pub(super) head: Region,
    pub(super) files: Files,
}

impl Window {
    /// For looks without the lock.
    #[must_use]
    pub fn glance(&self) -> Glance {
        Glance {
            head: self.head.clone(),
            files: self.files(),
        }
    }
}

impl Glance {
    /// First offset that was never looked at.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.head.get(header::NEXT)
    }

    /// Whether nothing is out, ready, waiting or dying, so that a receive would find nothing and no
    /// time is to be waited for. While somebody holds the lock, or left it behind, that cannot be
    /// told. A message that goes from one state to another during the look may be missed, as if the
    /// look had come before: whoever has made it ready wakes those who announced themselves before
    /// they looked, and a sleeper looks again with each beat.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let count = |counter: &Counter| self.head.get(header::COUNTERS + *counter as usize);
        Counter::DERIVED.iter().all(|counter| count(counter) == 0)
    }
}

#[cfg(test)]
impl Window {
    /// As a death leaves it between the word that makes a message ready and its count.
    pub fn forget_ready(&self) {
        let ready = self.counter(Counter::Ready) as i64;
        self.count(Counter::Ready, -ready);
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{open, policy};
    use super::super::{Dead, Settled};
    use crate::log::Cursor;
    use crate::storage::Twin;

    #[test]
    fn p12_p13_a_lane_is_idle_only_while_nothing_of_it_is_open() {
        let (window, policy) = (open(&Twin::new()), policy(true));
        let glance = window.glance();
        for offset in 0..3 {
            let position = offset * 8;
            assert!(window.admit_dead(Dead { offset, position }));
            window.set_cursor(Cursor::at_offset(offset + 1));
        }
        assert!(glance.is_idle(), "dead letters hang in nothing");
        assert!(window.redrive(&policy, 1, 1, None));
        assert!(!glance.is_idle(), "ready");
        let one = window.take_ready(1_000, 3, 1).expect("1");
        assert!(!glance.is_idle(), "out");
        let nack = window.nack(&policy, (1, one.attempt), Some(50), 10, 10);
        assert_eq!(nack, Settled::Done);
        assert!(!glance.is_idle(), "waits");
        assert_eq!(window.give_up(1, one.attempt, 20, 20), Settled::Dying);
        assert!(!glance.is_idle(), "on its way back");
        window.settle_dead(&policy, &[1]);
        assert!(glance.is_idle(), "all done");
    }
}
