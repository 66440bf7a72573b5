//! Handles: what a C program holds is a ticket, not an address.
//!
//! A ticket names a slot of a table and how often that slot was used before. Nothing is ever read
//! through it, so NULL, a closed handle, a handle of another type and any other number are told
//! from a good one without touching memory that is not ours.
//!
//! Invariants of a `Table`:
//! - a slot's value is there exactly while its word says OPEN or counts somebody inside;
//! - nobody gets inside once OPEN is gone, so exactly one of those inside is the last to leave, and
//!   that one drops the value, raises the use and gives the slot back;
//! - no lock is taken on the way in or out, so a fork at any moment leaves no handle stuck.
//!
//! Counting who is inside costs two locked instructions for each call. Handles that only one thread
//! at a time may use, and that are used for each message, go without (`Alone`).

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};

use libqueue::{Error, ErrorKind, Result};

mod alone;

pub(crate) use alone::{Alone, Spare};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a ticket needs pointers of 64 bits");

// A slot's word: who is inside (24 bits), OPEN, and above them the use.
const INSIDE: u64 = OPEN - 1;
const OPEN: u64 = 1 << 24;
const USE: u32 = 25;
// A ticket: the type's tag (4 bits), the slot (26 bits), the use (34 bits, as many as may differ).
const TAG: u32 = 4;
const SLOT: u32 = 26;
const USES: u64 = (1 << (64 - TAG - SLOT)) - 1;

/// Not 0, so that no ticket is a small number.
const FIRST_USE: u64 = 1;
const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 20;

/// Which table a ticket is of. Never 0, so that no ticket is NULL.
#[derive(Clone, Copy)]
pub(crate) enum Tag {
    Store = 1,
    Topic,
    Consumer,
    Batch,
    Reader,
    Group,
    Names,
    DeadLetters,
    Consumers,
    Peeked,
    Producer,
    SeekPlan,
    Snapshots,
    Transaction,
}

struct Slot<T> {
    word: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

impl<T> Slot<T> {
    /// The next use, which nobody has opened yet: tickets of this one are refused from here on.
    #[inline]
    fn raise(&self, uses: u64) {
        self.word.store((uses + 1) << USE, Ordering::Release);
    }
}

/// All handles of one type, which several threads may use at once.
pub(crate) struct Table<T> {
    what: &'static str,
    tag: Tag,
    /// Chunk n has 64 << n slots; a chunk never moves and is never freed.
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    /// The first slot that was never used.
    fresh: AtomicU32,
    /// Slots that were given back.
    free: Mutex<Vec<u32>>,
}

// SAFETY: a value is written while nobody is inside and the slot is not OPEN (by its opener, or by
// the last one inside), and only read by those inside; Acquire and Release of the word order both.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

impl<T> Table<T> {
    /// A table; `what` is the C type's name, for messages.
    pub(crate) const fn new(what: &'static str, tag: Tag) -> Self {
        Self {
            what,
            tag,
            chunks: [const { OnceLock::new() }; CHUNKS],
            fresh: AtomicU32::new(0),
            free: Mutex::new(Vec::new()),
        }
    }

    /// A new handle for the value.
    pub(crate) fn open<C>(&self, value: T) -> Result<*mut C> {
        self.open_in(self.vacant()?, value)
    }

    /// As `open`, in an empty slot that is the caller's alone.
    #[inline]
    fn open_in<C>(&self, number: u32, value: T) -> Result<*mut C> {
        let slot = self.slot(number).ok_or_else(|| self.too_many())?;
        let uses = slot.word.load(Ordering::Acquire) >> USE;
        // SAFETY: the slot is ours alone, and it is not OPEN: nobody is inside, and no value is
        // there that would have to be dropped.
        unsafe { slot.value.get().write(Some(value)) };
        slot.word.store(uses << USE | OPEN, Ordering::Release);
        let ticket = (uses & USES) << (TAG + SLOT) | u64::from(number) << TAG | self.tag as u64;
        Ok(std::ptr::without_provenance_mut(ticket as usize))
    }

    /// Steps inside; `InvalidArgument` unless the handle is open and of this table.
    #[inline]
    pub(crate) fn enter<C>(&self, handle: *const C) -> Result<Inside<'_, T>> {
        let ticket = handle.addr() as u64;
        let (slot, number, uses) = self.named(ticket)?;
        let mut word = slot.word.load(Ordering::Relaxed);
        loop {
            // One bit below OPEN is kept free: the count can never reach it.
            if (word >> USE) & USES != uses || word & OPEN == 0 || word & INSIDE > INSIDE / 2 {
                return Err(self.no_handle(ticket));
            }
            // Acquire: pairs with the Release of `open`, which wrote the value.
            let entered = slot.word.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match entered {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        Ok(Inside {
            table: self,
            slot,
            number,
        })
    }

    /// Closes the handle; the value is dropped when the last call that is inside has left. NULL is
    /// no handle and needs no closing. `before` may refuse.
    pub(crate) fn close<C>(
        &self,
        handle: *const C,
        before: impl FnOnce(&T) -> Closing,
    ) -> Result<()> {
        if handle.is_null() {
            return Ok(());
        }
        let inside = self.enter(handle)?;
        match before(&inside) {
            Closing::Refused(error) => Err(error),
            Closing::Done(result) => {
                if inside.slot.word.fetch_and(!OPEN, Ordering::Relaxed) & OPEN == 0 {
                    return Err(self.no_handle(handle.addr() as u64));
                }
                result
            }
        }
    }

    /// The slot that a ticket of this table names, its number, and the use that the ticket is of.
    #[inline]
    fn named(&self, ticket: u64) -> Result<(&Slot<T>, u32, u64)> {
        let number = (ticket >> TAG) as u32 & ((1 << SLOT) - 1);
        if ticket & ((1 << TAG) - 1) != self.tag as u64 {
            return Err(self.no_handle(ticket));
        }
        let slot = self.slot(number).ok_or_else(|| self.no_handle(ticket))?;
        Ok((slot, number, ticket >> (TAG + SLOT)))
    }

    #[inline]
    fn slot(&self, number: u32) -> Option<&Slot<T>> {
        // Chunk n begins at 64 * (2^n - 1), so number / 64 + 1 has its highest bit at n.
        let chunk = (number / FIRST_CHUNK + 1).ilog2();
        let begins = FIRST_CHUNK * ((1 << chunk) - 1);
        let slots = self.chunks.get(chunk as usize)?.get()?;
        slots.get((number - begins) as usize)
    }

    /// A slot for the caller alone.
    fn vacant(&self) -> Result<u32> {
        if let Some(number) = self.with_free(Vec::pop).flatten() {
            return Ok(number);
        }
        let number = self.fresh.fetch_add(1, Ordering::Relaxed);
        let chunk = (number / FIRST_CHUNK + 1).ilog2();
        let Some(place) = self
            .chunks
            .get(chunk as usize)
            .filter(|_| number < 1 << SLOT)
        else {
            self.fresh.fetch_sub(1, Ordering::Relaxed);
            return Err(self.too_many());
        };
        let empty = || Slot {
            word: AtomicU64::new(FIRST_USE << USE),
            value: UnsafeCell::new(None),
        };
        place.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| empty()).collect());
        Ok(number)
    }

    /// Gives an empty slot that is not OPEN to whoever opens next.
    fn give_back(&self, number: u32) {
        self.with_free(|free| free.push(number));
    }

    /// The list of free slots, unless another thread has it now: in the child of a fork that thread
    /// may not exist, and a slot more or less does not matter.
    fn with_free<R>(&self, act: impl FnOnce(&mut Vec<u32>) -> R) -> Option<R> {
        match self.free.try_lock() {
            Ok(mut free) => Some(act(&mut free)),
            Err(TryLockError::Poisoned(free)) => Some(act(&mut free.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn no_handle(&self, ticket: u64) -> Error {
        let what = self.what;
        let message = match ticket {
            0 => format!("the {what} is NULL; expected an open one"),
            _ => format!(
                "{ticket:#x} is not an open {what}: it was closed, or is something else; expected \
                 one that was opened and not closed since"
            ),
        };
        Error::new(ErrorKind::InvalidArgument, message)
    }

    #[cold]
    fn too_many(&self) -> Error {
        let message = format!(
            "{} handles of type {} are open; close some of them",
            1 << SLOT,
            self.what
        );
        Error::new(ErrorKind::TooMany, message)
    }
}

/// What happens to a handle that is being closed.
pub(crate) enum Closing {
    /// It stays open.
    Refused(Error),
    /// It is closed; how that went.
    Done(Result<()>),
}

/// A call that is using a handle.
pub(crate) struct Inside<'a, T> {
    table: &'a Table<T>,
    slot: &'a Slot<T>,
    number: u32,
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: we are counted inside, so the value is there and nobody writes it.
        let value = unsafe { &*self.slot.value.get() };
        match value {
            Some(value) => value,
            None => unreachable!("an open handle has a value"),
        }
    }
}

impl<T> Drop for Inside<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // AcqRel: what all others did inside comes before the drop by the last one.
        let word = self.slot.word.fetch_sub(1, Ordering::AcqRel) - 1;
        if word & (OPEN | INSIDE) == 0 {
            // SAFETY: closed, and we were the last one inside: nobody else reaches the value until
            // the slot is given back below.
            let value = unsafe { (*self.slot.value.get()).take() };
            drop(value);
            self.slot.raise(word >> USE);
            self.table.give_back(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    static NUMBERS: Table<u64> = Table::new("lq_number", Tag::Store);

    fn refused<T>(table: &Table<T>, handle: *mut u8) -> String {
        let error = table.enter(handle).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.message().to_owned()
    }

    #[test]
    fn only_an_open_handle_of_the_type_is_entered() {
        let handle: *mut u8 = NUMBERS.open(7).expect("open");
        assert_eq!(*NUMBERS.enter(handle).expect("open"), 7);
        let others = Table::<u64>::new("lq_other", Tag::Topic);
        assert!(refused(&others, handle).contains("lq_other"));
        assert!(refused(&NUMBERS, std::ptr::null_mut()).contains("NULL"));
        for wild in [
            1usize,
            0x11,
            usize::MAX,
            handle.addr() ^ 0x10,
            handle.addr() ^ (1 << 40),
        ] {
            refused(&NUMBERS, std::ptr::without_provenance_mut(wild));
        }
        let done = |_: &u64| Closing::Done(Ok(()));
        NUMBERS.close(handle, done).expect("close");
        assert!(refused(&NUMBERS, handle).contains("closed"));
        assert!(NUMBERS.close(handle, done).is_err());
        let next: *mut u8 = NUMBERS.open(8).expect("open");
        assert_ne!(next, handle);
        refused(&NUMBERS, handle);
    }

    #[test]
    fn a_refused_close_leaves_the_handle_open() {
        let table = Table::<u64>::new("lq_number", Tag::Group);
        let handle: *mut u8 = table.open(1).expect("open");
        let busy = Error::new(ErrorKind::Busy, "in use");
        let refused = table.close(handle, |_| Closing::Refused(busy));
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Busy);
        assert_eq!(*table.enter(handle).expect("still open"), 1);
    }

    #[test]
    fn a_closed_value_lives_until_the_last_call_has_left() {
        let table = Table::<Arc<()>>::new("lq_thing", Tag::Batch);
        let value = Arc::new(());
        let handle: *mut u8 = table.open(value.clone()).expect("open");
        let inside = table.enter(handle).expect("open");
        table
            .close(handle, |_| Closing::Done(Ok(())))
            .expect("close");
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(table.enter(handle).is_err());
        drop(inside);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn many_threads_open_use_and_close_and_every_value_is_dropped_once() {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = AtomicUsize::new(0);
        let table = Table::new("lq_thing", Tag::Names);
        let shared: *mut u8 = table.open(Counted(&dropped)).expect("open");
        let shared = shared.addr();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..1000 {
                        let mine: *mut u8 = table.open(Counted(&dropped)).expect("open");
                        drop(table.enter(mine).expect("mine is open"));
                        let shared: *mut u8 = std::ptr::without_provenance_mut(shared);
                        if round == 500 {
                            // Four try it, one succeeds.
                            let _ = table.close(shared, |_| Closing::Done(Ok(())));
                        }
                        let _ = table.enter(shared);
                        table.close(mine, |_| Closing::Done(Ok(()))).expect("close");
                    }
                });
            }
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 4001);
    }
}
