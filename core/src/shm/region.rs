//! A part of a mapping as words of 64 bits: bounds are checked once, and of each access only its
//! number.
//!
//! What a receive does is mostly loads and stores of such words, so each costs one comparison: a
//! load is held against how many words there are, a store against `plain`, which is 0 where there
//! is more to a store than storing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::map::Mapping;

/// A part of a mapping whose bounds were checked once: 64-bit words by number.
#[derive(Clone)]
pub struct Region {
    base: *const AtomicU64,
    words: usize,
    /// As many words as may be stored to without more ado: all; or none, in a mapping that was
    /// opened to read or whose stores somebody is told of.
    plain: usize,
    at: usize,
    map: Arc<Mapping>,
}

// SAFETY: `base` points into the mapping that `map` keeps alive, and is used for atomics alone.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `len` bytes from `at`, both multiples of 8, inside the mapping's limit; else `None`.
    pub fn new(map: &Arc<Mapping>, at: usize, len: usize) -> Option<Self> {
        if !at.is_multiple_of(8) || !len.is_multiple_of(8) {
            return None;
        }
        let base = map.check(at, len)?;
        let words = len / 8;
        let plain = map.is_writable() && !map.is_tracked();
        Some(Self {
            base: base.cast_const().cast(),
            words,
            plain: if plain { words } else { 0 },
            at,
            map: map.clone(),
        })
    }

    #[inline]
    fn word(&self, number: usize) -> &AtomicU64 {
        if number >= self.words {
            self.outside(number);
        }
        // SAFETY: `new` checked the whole region against the limit, which never falls; base and
        // `at` are 8-byte aligned; the map is kept alive by `self`.
        unsafe { &*self.base.add(number) }
    }

    /// The word for a change that nobody has to be told of; else it is to be done the long way.
    #[inline]
    fn plain_word(&self, number: usize) -> Option<&AtomicU64> {
        if number >= self.plain {
            return None;
        }
        // SAFETY: as in `word`; `plain` is never above `words`.
        Some(unsafe { &*self.base.add(number) })
    }

    /// The long way: the rare mappings, and numbers that are outside.
    #[cold]
    #[inline(never)]
    fn change_told<T>(&self, number: usize, change: impl FnOnce(&AtomicU64) -> T) -> T {
        let done = change(self.word_to_store(number));
        self.map.tell(self.at + number * 8, 8);
        done
    }

    fn word_to_store(&self, number: usize) -> &AtomicU64 {
        assert!(
            self.map.is_writable(),
            "store to word {number} of a mapping that was opened to read"
        );
        self.word(number)
    }

    #[cold]
    #[inline(never)]
    fn outside(&self, number: usize) -> ! {
        panic!("word {number} of a region of {}", self.words);
    }

    /// Loads a word.
    #[inline]
    pub fn load(&self, number: usize, order: Ordering) -> u64 {
        self.word(number).load(order)
    }

    /// Loads a word that only the lock's holder writes.
    #[inline]
    pub fn get(&self, number: usize) -> u64 {
        self.load(number, Ordering::Relaxed)
    }

    /// Loads words one after the other, from one on, that only the lock's holder writes.
    #[inline]
    pub fn get_all<const COUNT: usize>(&self, from: usize) -> [u64; COUNT] {
        if from.checked_add(COUNT).is_none_or(|end| end > self.words) {
            self.outside(from);
        }
        // SAFETY: as in `word`; all of them are below `words`.
        let word = |place| unsafe { &*self.base.add(from + place) };
        std::array::from_fn(|place| word(place).load(Ordering::Relaxed))
    }

    /// Stores a word.
    #[inline]
    pub fn store(&self, number: usize, value: u64, order: Ordering) {
        match self.plain_word(number) {
            Some(word) => word.store(value, order),
            None => self.change_told(number, |word| word.store(value, order)),
        }
    }

    /// Stores a word that only the lock's holder writes.
    #[inline]
    pub fn set(&self, number: usize, value: u64) {
        self.store(number, value, Ordering::Relaxed);
    }

    /// Stores words one after the other, from one on, that only the lock's holder writes.
    #[inline]
    pub fn set_all<const COUNT: usize>(&self, from: usize, values: [u64; COUNT]) {
        if from.checked_add(COUNT).is_none_or(|end| end > self.plain) {
            return self.set_all_told(from, values);
        }
        for (place, value) in values.into_iter().enumerate() {
            // SAFETY: as in `word`; all of them are below `plain`, which is never above `words`.
            let word = unsafe { &*self.base.add(from + place) };
            word.store(value, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn set_all_told<const COUNT: usize>(&self, from: usize, values: [u64; COUNT]) {
        let room = self.words.saturating_sub(from);
        assert!(
            COUNT <= room,
            "{COUNT} words from word {from} of a region of {}",
            self.words
        );
        for (place, value) in values.into_iter().enumerate() {
            self.set(from + place, value);
        }
    }

    /// Changes a word that only the lock's holder writes: a load and a store.
    #[inline]
    pub fn change(&self, number: usize, to: impl FnOnce(u64) -> u64) {
        let change = |word: &AtomicU64| {
            word.store(to(word.load(Ordering::Relaxed)), Ordering::Relaxed);
        };
        match self.plain_word(number) {
            Some(word) => change(word),
            None => self.change_told(number, change),
        }
    }

    /// Compare and swap; the found value on failure.
    #[inline]
    pub fn cas(&self, number: usize, old: u64, new: u64) -> std::result::Result<u64, u64> {
        let swap =
            |word: &AtomicU64| word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
        match self.plain_word(number) {
            Some(word) => swap(word),
            None => self.change_told(number, swap),
        }
    }

    /// Adds to a word that several may add to at once.
    #[inline]
    pub fn add(&self, number: usize, value: u64) {
        let add = |word: &AtomicU64| word.fetch_add(value, Ordering::Relaxed);
        match self.plain_word(number) {
            Some(word) => add(word),
            None => self.change_told(number, add),
        };
    }

    /// The first four bytes of a word, for locks and futexes. Not tracked.
    #[inline]
    pub fn word32(&self, number: usize) -> &AtomicU32 {
        let word = match self.plain_word(number) {
            Some(word) => word,
            None => self.word_to_store(number),
        };
        // SAFETY: the first four bytes of an aligned, live 64-bit word; locks and futexes use a
        // word of their own, never the 64-bit verbs on it.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    /// The mapping this is a part of.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.map
    }

    /// Where it begins in the mapping.
    pub fn at(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::super::map::Tracker;
    use super::*;

    /// What it was told of.
    #[derive(Default)]
    struct Told(Mutex<Vec<(usize, usize)>>);

    impl Tracker for Told {
        fn stored(&self, at: usize, len: usize) {
            self.0.lock().expect("told").push((at, len));
        }
    }

    fn memory() -> Mapping {
        Mapping::anonymous(4096).expect("memory")
    }

    fn panics(work: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(work)).is_err()
    }

    #[test]
    fn p18_no_word_behind_the_region_is_loaded_or_stored_to() {
        let memory = Arc::new(memory());
        let region = Region::new(&memory, 8, 64).expect("inside");
        region.set_all(0, [7; 8]);
        assert!(panics(|| region.set_all(1, [9; 8])), "ends behind it");
        assert!(panics(|| region.set_all(usize::MAX, [9; 8])));
        for number in [8, usize::MAX] {
            assert!(panics(|| region.set(number, 9)));
            assert!(panics(|| region.change(number, |word| word + 1)));
            assert!(panics(|| region.add(number, 1)));
            assert!(panics(|| _ = region.cas(number, 0, 9)));
            assert!(panics(|| _ = region.get(number)));
            assert!(panics(|| _ = region.word32(number)));
        }
        assert!(panics(|| _ = region.get_all::<8>(1)));
        assert!(panics(|| _ = region.get_all::<8>(usize::MAX)));
        assert_eq!(region.get_all(0), [7; 8]);
        let behind = Region::new(&memory, 72, 8).expect("inside");
        assert_eq!((region.get(7), behind.get(0)), (7, 0));
    }

    #[test]
    fn whoever_records_stores_is_told_of_each_word() {
        let told = Arc::new(Told::default());
        let memory = memory().another(4096, Some(told.clone()));
        let memory = Arc::new(memory.expect("anonymous"));
        let region = Region::new(&memory, 16, 32).expect("inside");
        region.set(0, 1);
        region.set_all(1, [2, 3]);
        region.change(3, |word| word + 4);
        region.add(3, 1);
        assert_eq!(region.cas(0, 1, 6), Ok(1));
        let words = [0, 1, 2, 3].map(|number| region.get(number));
        assert_eq!(words, [6, 2, 3, 5]);
        let places = [16, 24, 32, 40, 40, 16].map(|at| (at, 8));
        assert_eq!(*told.0.lock().expect("told"), places);
    }
}
