//! In the place of `core/src/shm/sync.rs`: atomics that a checker drives, that a dead process does
//! not store to, and that [`Mutation`]s weaken.

use std::cell::RefCell;
use std::time::Duration;

pub use std::sync::atomic::Ordering;

use crate::world::{self, Mutation, atomic, is_on};

/// No sync here takes time by which anybody could go.
pub const WORTH_A_WAIT: Duration = Duration::MAX;

/// One: each try is one more order of steps.
pub(super) const PAUSES: [u32; 1] = [1];

/// A try tells as well, in fewer orders of steps than a look before it.
pub(super) fn looks_free(_: &AtomicU32) -> bool {
    true
}

/// The order of a store or swap.
fn order(order: Ordering) -> Ordering {
    match order {
        Ordering::Release | Ordering::AcqRel | Ordering::SeqCst if is_on(Mutation::NoRelease) => {
            Ordering::Relaxed
        }
        order => order,
    }
}

/// Words made before there was a second thread, for memory that comes to be word by word: one that
/// is made later would have to be shown to the others first, which memory of zeros has not.
pub(crate) fn lay_in() {
    SPARE_32.set((0..SPARE).map(|_| AtomicU32::new(0)).collect());
    SPARE_64.set((0..SPARE / 4).map(|_| AtomicU64::new(0)).collect());
}

pub(crate) fn throw_away() {
    SPARE_32.take();
    SPARE_64.take();
}

const SPARE: usize = 400;

thread_local! {
    static SPARE_32: RefCell<Vec<AtomicU32>> = const { RefCell::new(Vec::new()) };
    static SPARE_64: RefCell<Vec<AtomicU64>> = const { RefCell::new(Vec::new()) };
}

macro_rules! word {
    ($name:ident, $modelled:ty, $value:ty, $spare:ident) => {
        /// A word of shared memory.
        pub struct $name($modelled);

        impl $name {
            pub fn new(value: $value) -> Self {
                Self(<$modelled>::new(value))
            }

            /// A zero of those that were laid in.
            pub fn spare() -> Self {
                $spare.with_borrow_mut(Vec::pop).expect("more laid in")
            }

            pub fn load(&self, order: Ordering) -> $value {
                // A dead thread unwinds without another step.
                if world::died() { 0 } else { self.0.load(order) }
            }

            pub fn store(&self, value: $value, with: Ordering) {
                if world::step() {
                    self.0.store(value, order(with));
                }
            }

            pub fn fetch_add(&self, value: $value, with: Ordering) -> $value {
                if !world::step() {
                    return 0;
                }
                self.0.fetch_add(value, order(with))
            }

            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                with: Ordering,
                _failed: Ordering,
            ) -> Result<$value, $value> {
                if !world::step() {
                    return Err(0);
                }
                let weakened = order(with);
                if takes_over(u64::from(old), u64::from(new)) && is_on(Mutation::BlindTakeover) {
                    return Ok(self.0.swap(new, weakened));
                }
                self.0
                    .compare_exchange(old, new, weakened, Ordering::Relaxed)
            }

            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                with: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, with, failed)
            }

            /// Only compared as an address.
            pub fn as_ptr(&self) -> *mut $value {
                std::ptr::from_ref(self).cast_mut().cast()
            }
        }
    };
}

word!(AtomicU32, atomic::AtomicU32, u32, SPARE_32);
word!(AtomicU64, atomic::AtomicU64, u64, SPARE_64);

/// A swap of one owner's lock word for another's.
fn takes_over(old: u64, new: u64) -> bool {
    let owner = |word: u64| word & 0x7FFF_FFFF;
    let whole = u64::from(u32::MAX);
    old <= whole
        && new <= whole
        && owner(old) & 0x7FF != 0
        && owner(old) != owner(new)
        && owner(new) & 0x7FF != 0
        && owner(new) >> 11 == world::GENERATION
}

pub fn fence(order: Ordering) {
    if !world::died() && !is_on(Mutation::NoFence) {
        atomic::fence(order);
    }
}

pub fn spin_loop() {}

/// A time that stands still: what is waited for with a bound is bounded by the checker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        Self(Duration::ZERO)
    }

    pub fn saturating_duration_since(&self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;
    fn add(self, more: Duration) -> Self {
        Self(self.0 + more)
    }
}

pub(super) fn futex_wait(word: &AtomicU32, expected: u32, _bound: Duration) {
    if !world::died() {
        world::wait(word.as_ptr() as usize, || {
            word.load(Ordering::SeqCst) == expected
        });
    }
}

pub(super) fn futex_wake(word: &AtomicU32, most: u32) -> u32 {
    if world::died() || is_on(Mutation::NoWake) {
        return most;
    }
    world::wake(word.as_ptr() as usize, most)
}
