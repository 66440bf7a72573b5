//! The processes of a workload. Each language has a program that plays the same roles, so that the
//! driver and what it verifies are the same for all of them:
//!
//! ```text
//! send STORE DURABILITY SIZE COUNT BATCH PACE     BATCH a call; PACE a second, 0: at full speed
//! receive STORE GROUP SIZE COUNT BATCH HOW WAITS  and acknowledges; COUNT 0: till its input ends
//! read STORE SIZE                                 all messages, without a group (Rust)
//! empty SIZE COUNT                                calls that do nothing, as a send's (Python)
//! version                                         that of the compiler or interpreter, and ends
//! ```
//!
//! DURABILITY is `process` or `sync`; HOW is `sleep` or `spin`; WAITS is `-`, or a file that gets
//! the nanoseconds that each message was on its way, 8 bytes each. The topic is called `bench`.
//!
//! A worker prints `ready` once it has opened everything, begins when it reads a byte, and prints
//! `COUNT SUM BYTES BEGAN ENDED`: messages, the sum of the numbers that they begin with (8 bytes,
//! little endian), bytes of payloads, and the monotonic clock in nanoseconds at the first call and
//! after the last message. Where its input ends it takes what is there and no more. A message that
//! is sent at a pace has its send time behind the number.

mod bench;
mod process;
mod role;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub(crate) use bench::{Bench, fill, same};
pub(crate) use process::{Program, Said, Worker, clocked, programs, sent, together, versions};
pub(crate) use role::child;

/// What a message begins with: its number.
pub(crate) const NUMBER: usize = 8;

/// What came, or was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    pub(crate) bytes: u64,
}

impl Sum {
    /// Counts a message.
    pub(crate) fn add(&mut self, payload: &[u8]) {
        let number = payload.first_chunk::<NUMBER>();
        self.count += 1;
        self.sum = (self.sum).wrapping_add(number.map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        self.bytes += payload.len() as u64;
    }

    /// Counts what another one counted.
    pub(crate) fn join(&mut self, other: Sum) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.bytes += other.bytes;
    }
}

/// The clock that all processes share.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// So many a second, or as fast as it goes.
pub(crate) struct Pace {
    a_second: u32,
    began: Option<Instant>,
    number: u64,
}

impl Pace {
    pub(crate) fn of(a_second: u32) -> Self {
        Self {
            a_second,
            began: None,
            number: 0,
        }
    }

    /// Until the next one is due: sleeps to just before, and spins.
    pub(crate) fn wait(&mut self) {
        if self.a_second == 0 {
            return;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let due = Duration::from_secs_f64(self.number as f64 / f64::from(self.a_second));
        self.number += 1;
        while let Some(left) = due.checked_sub(began.elapsed()) {
            if left > Duration::from_micros(60) {
                std::thread::sleep(left - Duration::from_micros(55));
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Pace, Sum};

    #[test]
    fn what_came_is_counted_and_added_up() {
        let mut one = Sum::default();
        one.add(&[1, 0, 0, 0, 0, 0, 0, 0, 9, 9]);
        one.add(&[0xff; 8]);
        assert_eq!((one.count, one.sum, one.bytes), (2, 0, 18));
        let mut both = one;
        both.join(one);
        assert_eq!((both.count, both.bytes), (4, 36));
    }

    #[test]
    fn a_pace_is_never_ahead() {
        let (began, mut pace) = (Instant::now(), Pace::of(1000));
        (0..21).for_each(|_| pace.wait());
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
