//! Handles that one thread at a time uses, as their contract in C says. Nobody is counted inside.
//!
//! A call checks its ticket against the slot's word by plain loads, and so refuses NULL, a closed
//! handle, one of another type and any other number as `Table` does, without touching memory that
//! is not ours. What it does not see is a thread that closes the handle in the middle of another
//! thread's call: that breaks the contract.

use super::{OPEN, Result, Slot, Table, Tag, USE, USES};

/// All handles of one type that is used by one thread at a time.
pub(crate) struct Alone<T> {
    table: Table<T>,
}

// SAFETY: a value is only reached by the calls of its handle, of which there is one at a time (see
// `get` and `close`); whoever passes a handle to another thread orders what both do with it. A
// value may so move to another thread, but never is in two at once.
unsafe impl<T: Send> Sync for Alone<T> {}

impl<T> Alone<T> {
    /// A table; `what` is the C type's name, for messages.
    pub(crate) const fn new(what: &'static str, tag: Tag) -> Self {
        Self {
            table: Table::new(what, tag),
        }
    }

    /// A new handle for the value, which stays where it is until the handle is closed.
    #[inline]
    pub(crate) fn open<C>(&self, value: T) -> Result<*mut C> {
        self.table.open(value)
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
    pub(crate) unsafe fn close<C>(&self, handle: *const C) -> Result<()> {
        if handle.is_null() {
            return Ok(());
        }
        let (slot, number, uses) = self.find(handle)?;
        // Before the drop: a panic in that leaves a closed slot that nobody is given again.
        slot.raise(uses);
        // SAFETY: the slot was OPEN and no other call uses it; from here on the ticket is refused,
        // and nobody is given the slot before `give_back`.
        unsafe { *slot.value.get() = None };
        self.table.give_back(number);
        Ok(())
    }

    /// The slot that an open handle names, its number and its use.
    #[inline]
    fn find<C>(&self, handle: *const C) -> Result<(&Slot<T>, u32, u64)> {
        let ticket = handle.addr() as u64;
        let (slot, number, uses) = self.table.named(ticket)?;
        // Acquire: pairs with the Release of `open`, which wrote the value.
        let word = slot.word.load(std::sync::atomic::Ordering::Acquire);
        if (word >> USE) & USES != uses || word & OPEN == 0 {
            return Err(self.table.no_handle(ticket));
        }
        Ok((slot, number, word >> USE))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::handle::Error;

    fn refused<T>(table: &Alone<T>, handle: *mut u8) -> String {
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
        let table = Alone::new("lq_number", Tag::Batch);
        let handle: *mut u8 = table.open(Cell::new(7)).expect("open");
        // SAFETY: nothing else uses the table.
        assert_eq!(unsafe { table.get(handle) }.expect("open").get(), 7);
        let others = Alone::<u64>::new("lq_other", Tag::Topic);
        assert!(refused(&others, handle).contains("lq_other"));
        let counted = Table::<u64>::new("lq_counted", Tag::Topic);
        assert!(counted.enter(handle).is_err());
        let other: *mut u8 = counted.open(1).expect("open");
        assert!(refused(&table, other).contains("lq_number"));
        assert!(refused(&table, std::ptr::null_mut()).contains("NULL"));
        for wild in [
            1usize,
            0x14,
            usize::MAX,
            handle.addr() ^ 0x10,
            handle.addr() ^ 0x4000,
            handle.addr() ^ (1 << 40),
        ] {
            refused(&table, std::ptr::without_provenance_mut(wild));
        }
        // SAFETY: nothing else uses the table.
        unsafe { table.close(handle) }.expect("close");
        assert!(refused(&table, handle).contains("closed"));
        let next: *mut u8 = table.open(Cell::new(8)).expect("open");
        assert_ne!(next, handle);
        refused(&table, handle);
        // SAFETY: nothing else uses the table.
        assert_eq!(unsafe { table.get(next) }.expect("open").get(), 8);
        // SAFETY: NULL is no handle.
        unsafe { table.close::<u8>(std::ptr::null_mut()) }.expect("nothing to close");
    }

    #[test]
    fn a_value_is_dropped_once_and_where_it_is_closed() {
        let table = Alone::new("lq_thing", Tag::Batch);
        let value = Rc::new(());
        let handle: *mut u8 = table.open(value.clone()).expect("open");
        assert_eq!(Rc::strong_count(&value), 2);
        // SAFETY: nothing else uses the table.
        unsafe { table.close(handle) }.expect("close");
        assert_eq!(Rc::strong_count(&value), 1);
        refused(&table, handle);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_drop_that_panics_closes_its_handle_and_no_other() {
        struct Bad(bool);
        impl Drop for Bad {
            fn drop(&mut self) {
                assert!(!self.0, "bad");
            }
        }
        let table = Alone::new("lq_thing", Tag::Batch);
        let bad: *mut u8 = table.open(Bad(true)).expect("open");
        // SAFETY: nothing else uses the table.
        let close = || unsafe { table.close(bad) };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(close)).is_err());
        refused(&table, bad);
        let good: *mut u8 = table.open(Bad(false)).expect("open");
        // SAFETY: nothing else uses the table.
        unsafe { table.close(good) }.expect("close");
        refused(&table, bad);
    }
}
