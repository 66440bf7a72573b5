//! Handles that one thread at a time uses, as their contract in C says. Nobody is counted inside.
//!
//! A call checks its ticket against the slot's word by plain loads, and so refuses NULL, a closed
//! handle, one of another type and any other number as `Table` does, without touching memory that
//! is not ours. What it does not see is a thread that closes the handle in the middle of another
//! thread's call: that breaks the contract.
//!
//! A slot that is given back is kept for the thread's next handle, so that a loop of opening and
//! closing takes no lock. The spare slot is the thread's alone: neither OPEN nor among the table's
//! free ones. At the thread's end it goes to those. A child of a fork has the spare of the thread
//! that forked, in its own copy of the table; those of other threads are lost to it, a slot each.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::thread::LocalKey;

use super::{OPEN, Result, Slot, Table, Tag, USE, USES};

/// A thread's spare slot, and the table that it is of; declared with `thread_local!`.
pub(crate) struct Spare<T: 'static>(Cell<Option<(&'static Table<T>, u32)>>);

impl<T> Spare<T> {
    pub(crate) const fn none() -> Self {
        Self(Cell::new(None))
    }
}

impl<T> Drop for Spare<T> {
    fn drop(&mut self) {
        if let Some((table, number)) = self.0.take() {
            table.give_back(number);
        }
    }
}

/// All handles of one type that is used by one thread at a time.
pub(crate) struct Alone<T: 'static> {
    table: Table<T>,
    spare: &'static LocalKey<Spare<T>>,
}

// SAFETY: the table itself is made for several threads. A value is only reached by the calls of its
// handle, of which there is one at a time (see `get` and `close`); whoever passes a handle to
// another thread orders what both do with it. A value may so move to another thread, but never is
// in two at once.
unsafe impl<T: Send> Sync for Alone<T> {}

impl<T> Alone<T> {
    /// A table; `what` is the C type's name, for messages. `spare` is of this table alone.
    pub(crate) const fn new(
        what: &'static str,
        tag: Tag,
        spare: &'static LocalKey<Spare<T>>,
    ) -> Self {
        Self {
            table: Table::new(what, tag),
            spare,
        }
    }

    /// A new handle for the value, which stays where it is until the handle is closed.
    #[inline]
    pub(crate) fn open<C>(&'static self, value: T) -> Result<*mut C> {
        // At a thread's end its spare slot may be gone before the last call.
        let spare = self.spare.try_with(|spare| spare.0.take()).ok().flatten();
        let number = match spare {
            Some((table, number)) if std::ptr::eq(table, &self.table) => number,
            _ => self.table.vacant()?,
        };
        self.table.open_in(number, value)
    }

    /// What an open handle of this table holds; `InvalidArgument` for any other number.
    ///
    /// # Safety
    /// The handle, if it is open, is closed neither while the value is in use nor by another thread
    /// during this call.
    #[inline]
    pub(crate) unsafe fn get<C>(&self, handle: *const C) -> Result<&T> {
        let (slot, _, _) = self.find(handle)?;
        // SAFETY: the slot is OPEN with the ticket's use, so its value is there, and stays there:
        // only `close` writes it, which the caller keeps away.
        let value = unsafe { &*slot.value.get() };
        match value {
            Some(value) => Ok(value),
            None => unreachable!("an open handle has a value"),
        }
    }

    /// Closes the handle and drops its value. NULL is no handle and needs no closing.
    ///
    /// # Safety
    /// No other call is using the handle.
    #[inline]
    pub(crate) unsafe fn close<C>(&'static self, handle: *const C) -> Result<()> {
        if handle.is_null() {
            return Ok(());
        }
        let (slot, number, uses) = self.find(handle)?;
        // Before the drop: a panic in that leaves a closed slot that nobody is given again.
        slot.raise(uses);
        // SAFETY: the slot was OPEN and no other call uses it; from here on the ticket is refused,
        // and nobody is given the slot before it is given back.
        unsafe { *slot.value.get() = None };
        self.keep(number);
        Ok(())
    }

    /// Keeps an empty slot for the thread's next handle, if it has none yet.
    #[inline]
    fn keep(&'static self, number: u32) {
        let kept = self.spare.try_with(|spare| {
            let mine = spare.0.get().is_none();
            if mine {
                spare.0.set(Some((&self.table, number)));
            }
            mine
        });
        if kept != Ok(true) {
            self.table.give_back(number);
        }
    }

    /// The slot that an open handle names, its number and its use.
    #[inline]
    fn find<C>(&self, handle: *const C) -> Result<(&Slot<T>, u32, u64)> {
        let ticket = handle.addr() as u64;
        let (slot, number, uses) = self.table.named(ticket)?;
        // Acquire: pairs with the Release of `open`, which wrote the value.
        let word = slot.word.load(Ordering::Acquire);
        if (word >> USE) & USES != uses || word & OPEN == 0 {
            return Err(self.table.no_handle(ticket));
        }
        Ok((slot, number, word >> USE))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::handle::Error;

    /// A table called NAME, of values of a type, with its spare slot.
    macro_rules! table {
        ($name:ident: $type:ty, $what:literal, $tag:ident) => {
            thread_local! {
                static SPARE: Spare<$type> = const { Spare::none() };
            }
            static $name: Alone<$type> = Alone::new($what, Tag::$tag, &SPARE);
        };
    }

    fn close<T>(table: &'static Alone<T>, handle: *mut u8) {
        // SAFETY: nothing else uses the handle.
        unsafe { table.close(handle) }.expect("close");
    }

    fn refused<T>(table: &'static Alone<T>, handle: *mut u8) -> String {
        // SAFETY: nothing else uses the table.
        let (got, closed) = unsafe { (table.get(handle).err(), table.close(handle).err()) };
        let error = got.expect("refused");
        if !handle.is_null() {
            assert_eq!(closed.as_ref().map(Error::message), Some(error.message()));
        }
        assert_eq!(error.kind(), libqueue::ErrorKind::InvalidArgument);
        error.message().to_owned()
    }

    #[test]
    fn only_an_open_handle_of_the_type_is_used_and_closed() {
        table!(NUMBERS: Cell<u64>, "lq_number", Batch);
        mod other {
            use super::*;
            table!(OTHERS: u64, "lq_other", Topic);
            pub(super) fn refuses(handle: *mut u8) -> String {
                refused(&OTHERS, handle)
            }
        }
        let handle: *mut u8 = NUMBERS.open(Cell::new(7)).expect("open");
        // SAFETY: nothing else uses the table.
        assert_eq!(unsafe { NUMBERS.get(handle) }.expect("open").get(), 7);
        assert!(other::refuses(handle).contains("lq_other"));
        let counted = Table::<u64>::new("lq_counted", Tag::Topic);
        assert!(counted.enter(handle).is_err());
        let another: *mut u8 = counted.open(1).expect("open");
        assert!(refused(&NUMBERS, another).contains("lq_number"));
        assert!(refused(&NUMBERS, std::ptr::null_mut()).contains("NULL"));
        for wild in [
            1usize,
            0x14,
            usize::MAX,
            handle.addr() ^ 0x10,
            handle.addr() ^ 0x4000,
            handle.addr() ^ (1 << 40),
        ] {
            refused(&NUMBERS, std::ptr::without_provenance_mut(wild));
        }
        close(&NUMBERS, handle);
        assert!(refused(&NUMBERS, handle).contains("closed"));
        close(&NUMBERS, std::ptr::null_mut());
    }

    #[test]
    fn a_freed_handle_is_refused_also_when_its_spare_slot_is_used_again() {
        table!(NUMBERS: u64, "lq_number", Batch);
        let mut freed = Vec::new();
        for round in 0..100 {
            let handle: *mut u8 = NUMBERS.open(round).expect("open");
            freed.iter().for_each(|old| drop(refused(&NUMBERS, *old)));
            // SAFETY: nothing else uses the table.
            assert_eq!(unsafe { NUMBERS.get(handle) }.expect("open"), &round);
            close(&NUMBERS, handle);
            freed.push(handle);
        }
        assert_eq!(NUMBERS.table.fresh.load(Ordering::Relaxed), 1);
        // Two at once: one slot is kept, the other one is the table's again.
        for _ in 0..2 {
            let two: [*mut u8; 2] = [1, 2].map(|value| NUMBERS.open(value).expect("open"));
            assert!(two[0] != two[1] && !freed.contains(&two[0]) && !freed.contains(&two[1]));
            two.iter().for_each(|handle| close(&NUMBERS, *handle));
            freed.extend(two);
        }
        freed.iter().for_each(|old| drop(refused(&NUMBERS, *old)));
        assert_eq!(NUMBERS.table.fresh.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_threads_end_gives_its_spare_slot_back() {
        table!(NUMBERS: u64, "lq_number", Batch);
        for _ in 0..10 {
            let thread = std::thread::spawn(|| {
                let handle: *mut u8 = NUMBERS.open(1).expect("open");
                close(&NUMBERS, handle);
                assert!(NUMBERS.table.free.lock().expect("free slots").is_empty());
            });
            // Waits for the end of what the thread has, too.
            thread.join().expect("the thread is well");
            assert_eq!(*NUMBERS.table.free.lock().expect("free slots"), [0]);
        }
        assert_eq!(NUMBERS.table.fresh.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_handle_is_closed_at_a_threads_end_after_its_spare_slot_went() {
        table!(NUMBERS: u64, "lq_number", Batch);
        struct Late(usize);
        impl Drop for Late {
            fn drop(&mut self) {
                close(&NUMBERS, std::ptr::without_provenance_mut(self.0));
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let thread = std::thread::spawn(|| {
            // Whichever of the two goes first: what is made first often goes last.
            LATE.set(None);
            let handles: [*mut u8; 2] = [1, 2].map(|value| NUMBERS.open(value).expect("open"));
            LATE.set(Some(Late(handles[0].addr())));
            close(&NUMBERS, handles[1]);
        });
        thread.join().expect("the thread is well");
        assert_eq!(NUMBERS.table.free.lock().expect("free slots").len(), 2);
    }

    #[test]
    fn a_value_is_dropped_once_and_where_it_is_closed() {
        table!(THINGS: Arc<()>, "lq_thing", Batch);
        let value = Arc::new(());
        let handle: *mut u8 = THINGS.open(value.clone()).expect("open");
        assert_eq!(Arc::strong_count(&value), 2);
        let address = handle.addr();
        let elsewhere = move || close(&THINGS, std::ptr::without_provenance_mut(address));
        std::thread::spawn(elsewhere)
            .join()
            .expect("closed by another thread");
        assert_eq!(Arc::strong_count(&value), 1);
        refused(&THINGS, handle);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_drop_that_panics_closes_its_handle_and_no_other() {
        struct Bad(bool);
        impl Drop for Bad {
            fn drop(&mut self) {
                assert!(!self.0, "bad");
            }
        }
        table!(THINGS: Bad, "lq_thing", Batch);
        let bad: *mut u8 = THINGS.open(Bad(true)).expect("open");
        assert!(std::panic::catch_unwind(|| close(&THINGS, bad)).is_err());
        refused(&THINGS, bad);
        let good: *mut u8 = THINGS.open(Bad(false)).expect("open");
        close(&THINGS, good);
        refused(&THINGS, bad);
    }
}
