//! The lock in shared memory: a futex word that holds its owner.
//!
//! ```text
//!  31        30..11             10..0
//! | waiters | generation (20)  | slot + 1 (11) |      0 = free
//! ```
//!
//! Taking it is one compare-and-swap from 0, so there is no instant in which it is held by nobody
//! known. A waiter sleeps 2 ms at most, 6 where others sleep already, then asks the kernel whether
//! the owner lives: a live one, stopped or slow, is waited for up to the timeout; the word of a
//! dead one is swapped for the waiter's own, which must then repair what the lock guards (P17). A
//! repairer that dies leaves its own word behind, and the next one repairs again.

use std::time::Duration;

use super::sync::{
    AtomicU32, Instant, Ordering, PAUSES, futex_wait, futex_wake, looks_free, spin_loop,
};
use crate::error::{Error, ErrorKind, Result};

const WAITERS: u32 = 1 << 31;
const SLOT_BITS: u32 = 11;
const GENERATION_MASK: u32 = (1 << 20) - 1;
const NAP: Duration = Duration::from_millis(2);
/// The nap of those who find somebody else asleep: with many waiters the processor would have more
/// to do with their naps than with what they wait for.
const LONG_NAP: Duration = Duration::from_millis(6);

/// A member of the store: its slot and the slot's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The member's slot, 0 to 2045.
    pub slot: u16,
    /// How often the slot was taken; the low 20 bits go into lock words.
    pub generation: u32,
}

/// An owner that is always found dead: no table of members has its slot.
const NOBODY: Owner = Owner {
    slot: 2046,
    generation: GENERATION_MASK,
};

impl Owner {
    #[inline]
    fn word(self) -> u32 {
        (self.generation & GENERATION_MASK) << SLOT_BITS | (u32::from(self.slot) + 1)
    }

    fn of_word(word: u32) -> Option<Self> {
        let slot = (word & ((1 << SLOT_BITS) - 1)).checked_sub(1)?;
        let generation = (word & !WAITERS) >> SLOT_BITS;
        Some(Self {
            slot: slot as u16,
            generation,
        })
    }
}

/// Tells the living from the dead.
pub trait Liveness: Send + Sync {
    /// Whether the kernel still knows the owner as alive. A stopped process is alive.
    fn is_alive(&self, owner: Owner) -> bool;
    /// The owner for an error message: its process.
    fn describe(&self, owner: Owner) -> String;
}

/// How a lock was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// From nobody: what it guards is whole.
    Clean,
    /// From a dead owner: what it guards must be repaired first.
    Inherited(Owner),
}

#[inline]
fn swap(word: &AtomicU32, old: u32, new: u32) -> bool {
    // Acquire for what the last holder wrote; the total order for those who take a lock and then
    // look whether their member leaves.
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed)
        .is_ok()
}

/// A held lock; dropping it gives the lock back.
pub struct Held<'a> {
    word: &'a AtomicU32,
    me: Owner,
}

impl Held<'_> {
    /// Which word is held, as an address to compare.
    #[inline]
    pub(super) fn address(&self) -> usize {
        self.word.as_ptr() as usize
    }

    /// Leaves the lock as a dead owner would: what it guards could not be repaired, or was left in
    /// the middle, and the next one inherits it and repairs (P17).
    #[cold]
    pub fn abandon(self) {
        OwnerLock::pass_on(self.word, self.me);
        std::mem::forget(self);
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            OwnerLock::pass_on(self.word, self.me);
        } else {
            OwnerLock::release(self.word, self.me);
        }
    }
}

/// The verbs on a lock word.
pub struct OwnerLock;

impl OwnerLock {
    /// Takes the lock if it is free.
    #[inline]
    pub fn try_acquire(word: &AtomicU32, me: Owner) -> bool {
        // Acquire pairs with the release in `release`: what the last holder wrote is seen.
        swap(word, 0, me.word())
    }

    /// Takes the lock, waiting for a live owner up to `timeout`, inheriting from a dead one.
    /// Errors with [`ErrorKind::Stuck`], naming the owner, when the time is over.
    #[inline]
    pub fn acquire(
        word: &AtomicU32,
        me: Owner,
        live: &dyn Liveness,
        timeout: Duration,
    ) -> Result<Acquired> {
        if Self::try_acquire(word, me) {
            return Ok(Acquired::Clean);
        }
        Self::wait(word, me, live, timeout, &|_| {})
    }

    #[cold]
    fn wait(
        word: &AtomicU32,
        me: Owner,
        live: &dyn Liveness,
        timeout: Duration,
        slept: &dyn Fn(Duration),
    ) -> Result<Acquired> {
        // Whoever holds it is left alone with its cache lines for a while, and may take the lock a
        // few times more: two that take turns at each message pay for every line every time.
        for pauses in PAUSES {
            for _ in 0..pauses {
                spin_loop();
            }
            if looks_free(word) && Self::try_acquire(word, me) {
                return Ok(Acquired::Clean);
            }
        }
        let began = Instant::now();
        let how = Self::sleep(word, me, live, timeout);
        slept(Instant::now().saturating_duration_since(began));
        how
    }

    fn sleep(
        word: &AtomicU32,
        me: Owner,
        live: &dyn Liveness,
        timeout: Duration,
    ) -> Result<Acquired> {
        let deadline = Instant::now() + timeout;
        loop {
            let found = word.load(Ordering::Relaxed);
            if found & !WAITERS == 0 {
                // The bit is kept set: others may sleep still, and a needless wake is harmless.
                if swap(word, found, me.word() | WAITERS) {
                    return Ok(Acquired::Clean);
                }
                continue;
            }
            let marked = found | WAITERS;
            if found != marked && !swap(word, found, marked) {
                continue;
            }
            let nap = if found == marked { LONG_NAP } else { NAP };
            futex_wait(word, marked, nap);
            // A word that names no slot was written by somebody else: nobody lives in it.
            let owner = Owner::of_word(marked).unwrap_or(NOBODY);
            // Only an owner that sat through the whole nap is worth a question to the kernel. This
            // member's own threads are never asked about: the kernel does not report a member's
            // locks to itself, so it would seem dead.
            let same = word.load(Ordering::Relaxed) == marked;
            if same && owner.word() != me.word() && !live.is_alive(owner) {
                // The exact word: if anyone else took it over meanwhile, this fails.
                if swap(word, marked, me.word() | WAITERS) {
                    return Ok(Acquired::Inherited(owner));
                }
            } else if Instant::now() >= deadline {
                return Err(stuck(owner, live, timeout));
            }
        }
    }

    /// Gives the lock back and wakes a sleeper if there is one. False if the word names another
    /// owner: this member was taken for dead and replaced, and must not free its successor's lock.
    #[inline]
    pub fn release(word: &AtomicU32, me: Owner) -> bool {
        // Release pairs with the acquire of the next holder.
        let free = word.compare_exchange(me.word(), 0, Ordering::Release, Ordering::Relaxed);
        free.is_ok() || Self::release_and_wake(word, me)
    }

    #[cold]
    fn release_and_wake(word: &AtomicU32, me: Owner) -> bool {
        // Waiters only ever set their bit, so while this member owns the word there is one value
        // left to find.
        let mine = me.word() | WAITERS;
        if word
            .compare_exchange(mine, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        // A stop before this wake costs the sleeper the rest of its nap.
        futex_wake(word, 1);
        true
    }

    /// Puts an owner that never lived in the place of this one.
    #[cold]
    fn pass_on(word: &AtomicU32, me: Owner) {
        for bits in [0, WAITERS] {
            // Fails where this member was taken for dead and replaced.
            let _ = word.compare_exchange(
                me.word() | bits,
                NOBODY.word() | bits,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
    }

    /// Whether a try to take the lock now would succeed. A waiters' bit alone, which only somebody
    /// who wrote into `control` leaves, is for those who wait: who tried again and again for the
    /// sake of this answer would do so for ever (P18).
    pub fn is_free(word: &AtomicU32) -> bool {
        word.load(Ordering::SeqCst) == 0
    }

    /// Whether it was left by one who died: the next one to take it repairs.
    pub fn is_left_behind(word: &AtomicU32, me: Owner, live: &dyn Liveness) -> bool {
        let found = word.load(Ordering::SeqCst) & !WAITERS;
        let owner = Owner::of_word(found).unwrap_or(NOBODY);
        found != 0 && found != me.word() && !live.is_alive(owner)
    }

    /// Whether this member holds the lock.
    pub fn is_held_by(word: &AtomicU32, me: Owner) -> bool {
        word.load(Ordering::SeqCst) & !WAITERS == me.word()
    }

    /// Takes the lock and gives a guard with how it was had.
    #[inline]
    pub fn hold<'a>(
        word: &'a AtomicU32,
        me: Owner,
        live: &dyn Liveness,
        timeout: Duration,
    ) -> Result<(Held<'a>, Acquired)> {
        let how = Self::acquire(word, me, live, timeout)?;
        Ok((Held { word, me }, how))
    }

    /// As `hold`; whoever sleeps for it tells for how long, once the lock or the error is there.
    #[inline]
    pub fn hold_told<'a>(
        word: &'a AtomicU32,
        me: Owner,
        live: &dyn Liveness,
        timeout: Duration,
        slept: &dyn Fn(Duration),
    ) -> Result<(Held<'a>, Acquired)> {
        let how = match Self::try_acquire(word, me) {
            true => Acquired::Clean,
            false => Self::wait(word, me, live, timeout, slept)?,
        };
        Ok((Held { word, me }, how))
    }

    /// Takes the lock if it is free, with a guard.
    #[inline]
    pub fn try_hold(word: &AtomicU32, me: Owner) -> Option<Held<'_>> {
        // Made only where it was taken: a guard that is dropped gives the lock back, also one that
        // another thread of this member has.
        Self::try_acquire(word, me).then(|| Held { word, me })
    }
}

#[cold]
fn stuck(owner: Owner, live: &dyn Liveness, timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Stuck,
        format!(
            "could not get a lock of the store within {timeout:?}: {} holds it, alive but stopped \
             or very slow; let it continue or end it, then try again",
            live.describe(owner)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    struct World(AtomicBool);

    impl Liveness for World {
        fn is_alive(&self, _: Owner) -> bool {
            self.0.load(Ordering::SeqCst)
        }
        fn describe(&self, owner: Owner) -> String {
            format!("process in slot {}", owner.slot)
        }
    }

    const DEAD: Owner = Owner {
        slot: 3,
        generation: 9,
    };
    const HEIR: Owner = Owner {
        slot: 4,
        generation: 1,
    };
    const ME: Owner = Owner {
        slot: 2045,
        generation: GENERATION_MASK,
    };

    #[test]
    fn p17_one_that_does_not_get_the_lock_leaves_it_to_the_thread_that_has_it() {
        let word = AtomicU32::new(0);
        let held = OwnerLock::try_hold(&word, ME).expect("free");
        // As another thread of the same member does.
        assert!(OwnerLock::try_hold(&word, ME).is_none());
        assert!(OwnerLock::is_held_by(&word, ME), "its lock was given back");
        drop(held);
        assert!(OwnerLock::try_hold(&word, ME).is_some());
    }

    #[test]
    fn p17_a_dead_owners_lock_is_inherited_and_a_live_ones_never() {
        let word = AtomicU32::new(0);
        let world = World(AtomicBool::new(true));
        assert!(OwnerLock::try_acquire(&word, DEAD));
        let error = OwnerLock::acquire(&word, ME, &world, Duration::from_millis(20))
            .expect_err("held by the living");
        assert_eq!(error.kind(), ErrorKind::Stuck);
        assert!(error.message().contains("slot 3"), "{error}");
        let held = word.load(Ordering::SeqCst) & !WAITERS;
        assert_eq!(held, DEAD.word(), "the living is not robbed");
        world.0.store(false, Ordering::SeqCst);
        let got = OwnerLock::acquire(&word, ME, &world, Duration::from_secs(5)).expect("inherited");
        assert_eq!(got, Acquired::Inherited(DEAD));
        OwnerLock::release(&word, ME);
        assert_eq!(word.load(Ordering::SeqCst), 0);
    }

    /// Another heir takes the dead owner's lock between the question and the takeover.
    struct Faster<'a>(&'a AtomicU32);

    impl Liveness for Faster<'_> {
        fn is_alive(&self, owner: Owner) -> bool {
            if owner == DEAD {
                self.0.store(HEIR.word() | WAITERS, Ordering::SeqCst);
            }
            owner == HEIR
        }
        fn describe(&self, owner: Owner) -> String {
            format!("process in slot {}", owner.slot)
        }
    }

    #[test]
    fn p17_a_dead_owners_lock_has_one_heir() {
        let word = AtomicU32::new(DEAD.word());
        let error = OwnerLock::acquire(&word, ME, &Faster(&word), Duration::from_millis(20))
            .expect_err("the heir has it");
        assert_eq!(error.kind(), ErrorKind::Stuck);
        assert!(OwnerLock::is_held_by(&word, HEIR), "robbed");
    }

    #[test]
    fn p17_what_a_panic_left_in_the_middle_is_inherited() {
        let word = AtomicU32::new(0);
        let panics = || {
            let _held = OwnerLock::try_hold(&word, DEAD);
            panic!("in the middle");
        };
        std::thread::scope(|scope| scope.spawn(panics).join().expect_err("panics"));
        let world = World(AtomicBool::new(false));
        let got = OwnerLock::acquire(&word, ME, &world, Duration::from_secs(5));
        assert_eq!(got.expect("inherited"), Acquired::Inherited(NOBODY));
    }

    #[test]
    fn p17_p18_a_word_that_names_nobody_is_inherited() {
        // A generation without a slot, with and without the waiters' bit.
        for found in [1 << SLOT_BITS, WAITERS | 1 << SLOT_BITS] {
            let word = AtomicU32::new(found);
            let world = World(AtomicBool::new(false));
            let got = OwnerLock::acquire(&word, ME, &world, Duration::from_secs(5));
            assert_eq!(got.expect("inherited"), Acquired::Inherited(NOBODY));
        }
    }

    #[test]
    fn p18_a_lock_is_free_only_where_a_try_succeeds() {
        for found in [0, WAITERS, ME.word(), ME.word() | WAITERS] {
            let word = AtomicU32::new(found);
            let free = OwnerLock::is_free(&word);
            assert_eq!(OwnerLock::try_acquire(&word, ME), free, "{found:#x}");
        }
    }

    #[test]
    fn threads_of_one_process_exclude_each_other() {
        let word = AtomicU32::new(0);
        let world = World(AtomicBool::new(true));
        let counter = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        OwnerLock::acquire(&word, ME, &world, Duration::from_secs(20))
                            .expect("lock");
                        let seen = counter.load(Ordering::Relaxed);
                        counter.store(seen + 1, Ordering::Relaxed);
                        OwnerLock::release(&word, ME);
                    }
                });
            }
        });
        assert_eq!(counter.load(Ordering::Relaxed), 80_000);
    }
}
