//! In the place of `core/src/shm/map.rs`: memory whose words come to be when they are first stored
//! to. Copies are relaxed accesses to words, which is what the hardware makes of them.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::shm::Times;
use crate::shm::sync::{AtomicU32, AtomicU64};
use crate::world::{Mutation, is_on};

const PAGE: usize = 128;

type Page<T> = Box<[OnceLock<T>]>;

/// A row of words that are made one by one.
struct Words<T>(Vec<OnceLock<Page<T>>>);

impl<T> Words<T> {
    fn new(len: usize) -> Self {
        Self((0..len.div_ceil(PAGE)).map(|_| OnceLock::new()).collect())
    }

    fn there(&self, number: usize) -> Option<&T> {
        self.0[number / PAGE].get()?[number % PAGE].get()
    }

    fn made(&self, number: usize, zero: impl Fn() -> T) -> &T {
        let page = || (0..PAGE).map(|_| OnceLock::new()).collect();
        self.0[number / PAGE].get_or_init(page)[number % PAGE].get_or_init(zero)
    }

    fn all(&self) -> impl Iterator<Item = (usize, &T)> {
        let pages = self.0.iter().enumerate();
        pages
            .filter_map(|(at, page)| Some((at, page.get()?)))
            .flat_map(|(at, page)| {
                let words = page.iter().enumerate();
                words.filter_map(move |(number, word)| Some((at * PAGE + number, word.get()?)))
            })
    }
}

/// Bytes that were read, which live as long as the mapping.
#[derive(Default)]
struct Reads(OnceLock<Box<(Vec<u8>, Reads)>>);

impl Reads {
    fn keep(&self, bytes: Vec<u8>) -> &[u8] {
        let mut end = self;
        while let Some(kept) = end.0.get() {
            end = &kept.1;
        }
        &end.0.get_or_init(|| Box::new((bytes, Reads::default()))).0
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        // One by one: a list that drops itself goes as deep as it is long.
        let mut next = self.0.take();
        while let Some(mut kept) = next {
            next = kept.1.0.take();
        }
    }
}

/// Memory that several processes have mapped.
pub struct Mapping {
    words: Words<AtomicU32>,
    longs: Words<AtomicU64>,
    limit: AtomicUsize,
    len: usize,
    reads: Reads,
}

/// Words from a place on.
pub struct Peek<'a, const COUNT: usize> {
    of: &'a Mapping,
    at: usize,
}

impl<const COUNT: usize> Peek<'_, COUNT> {
    pub fn load(&self, place: usize, order: Ordering) -> u32 {
        self.of.made(self.at / 4 + place).load(order)
    }
}

impl Mapping {
    pub fn of_file(_: &File, _: usize, _: usize, _: bool, path: &Path) -> Result<Self> {
        let message = format!("{}: models have no files", path.display());
        Err(Error::new(ErrorKind::Io, message))
    }

    pub fn anonymous(len: usize) -> Result<Self> {
        Ok(Self {
            words: Words::new(len / 4),
            longs: Words::new(len / 8),
            limit: AtomicUsize::new(len),
            len,
            reads: Reads::default(),
        })
    }

    pub fn is_writable(&self) -> bool {
        true
    }

    /// Of a file, which models have none of.
    pub fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.fetch_max(limit.min(self.len), Ordering::Relaxed);
    }

    /// As a new file, before it is allocated.
    pub fn emptied(self) -> Self {
        self.limit.store(0, Ordering::Relaxed);
        self
    }

    fn check(&self, at: usize, len: usize) -> Option<()> {
        (at.checked_add(len)? <= self.limit()).then_some(())
    }

    /// A hint to a processor, which models have none of.
    pub fn soon(&self, _: usize, _: usize) {}

    pub fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.check(at, len)?;
        let mut bytes = vec![0; len];
        for number in at / 4..(at + len).div_ceil(4) {
            if let Some(word) = self.words.there(number) {
                let value = word.load(Ordering::Relaxed).to_le_bytes();
                for (place, byte) in (number * 4..).zip(value) {
                    if (at..at + len).contains(&place) {
                        bytes[place - at] = byte;
                    }
                }
            }
        }
        Some(self.reads.keep(bytes))
    }

    pub fn word32(&self, at: usize) -> Option<&AtomicU32> {
        self.check(at, 4)?;
        at.is_multiple_of(4).then(|| self.made(at / 4))
    }

    fn made(&self, number: usize) -> &AtomicU32 {
        self.words.made(number, AtomicU32::spare)
    }

    pub fn peek_all<const COUNT: usize>(&self, at: usize) -> Option<Peek<'_, COUNT>> {
        self.check(at, COUNT * 4)?;
        at.is_multiple_of(4).then_some(Peek { of: self, at })
    }

    pub fn load_u32(&self, at: usize, order: Ordering) -> Option<u32> {
        let word = self.word32(at)?;
        Some(match order {
            // Only by the holder of the append lock, just before it stores: as a swap, since loom
            // would take this load for the word's last one and not try others' around the store.
            Ordering::Relaxed => word.fetch_add(0, order),
            order => word.load(order),
        })
    }

    pub fn store_u32(&self, at: usize, value: u32, order: Ordering) -> Option<()> {
        if value == 0 && is_on(Mutation::NoZero) {
            return Some(());
        }
        self.word32(at)?.store(value, order);
        Some(())
    }

    pub fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        self.check(at, bytes.len())?;
        let end = at + bytes.len();
        for number in at / 4..end.div_ceil(4) {
            let places = number * 4..number * 4 + 4;
            let new = places.clone().filter(|place| (at..end).contains(place));
            // Zeros where nothing but zeros ever was are no news, and a megabyte of them too many.
            if new.clone().all(|place| bytes[place - at] == 0) && self.words.there(number).is_none()
            {
                continue;
            }
            let word = self.made(number);
            let mut value = if new.clone().count() == 4 {
                [0; 4]
            } else {
                word.load(Ordering::Relaxed).to_le_bytes()
            };
            for place in new {
                value[place - places.start] = bytes[place - at];
            }
            word.store(u32::from_le_bytes(value), Ordering::Relaxed);
        }
        Some(())
    }

    pub fn zero(&self, at: usize, len: usize) -> Option<()> {
        self.copy_in(at, &vec![0; len])
    }

    pub fn dirty(&self, _at: usize, _len: usize) {}

    pub fn populate(&self, _at: usize, _len: usize) {}

    /// All words that were ever stored to, as they are now.
    pub fn snapshot(&self) -> Vec<(usize, u32)> {
        let words = self.words.all();
        words
            .map(|(number, word)| (number * 4, word.load(Ordering::Relaxed)))
            .collect()
    }
}

/// A part of a mapping as words of 64 bits.
#[derive(Clone)]
pub struct Region {
    map: Arc<Mapping>,
    at: usize,
    words: usize,
}

impl Region {
    pub fn new(map: &Arc<Mapping>, at: usize, len: usize) -> Option<Self> {
        map.check(at, len)?;
        Some(Self {
            map: map.clone(),
            at,
            words: len / 8,
        })
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < self.words, "word {number} of {}", self.words);
        self.map.longs.made(self.at / 8 + number, AtomicU64::spare)
    }

    pub fn load(&self, number: usize, order: Ordering) -> u64 {
        self.word(number).load(order)
    }

    pub fn get(&self, number: usize) -> u64 {
        self.load(number, Ordering::Relaxed)
    }

    pub fn store(&self, number: usize, value: u64, order: Ordering) {
        self.word(number).store(value, order);
    }

    pub fn set(&self, number: usize, value: u64) {
        self.store(number, value, Ordering::Relaxed);
    }

    pub fn cas(&self, number: usize, old: u64, new: u64) -> std::result::Result<u64, u64> {
        let word = self.word(number);
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    pub fn add(&self, number: usize, value: u64) {
        self.word(number).fetch_add(value, Ordering::Relaxed);
    }

    pub fn times(&self, _at: usize) -> Times {
        Times
    }

    pub fn count_wait(&self, _at: usize, _slept: Duration) {}

    pub fn count_sync(&self, _at: usize, _took: Duration) {}

    pub fn word32(&self, number: usize) -> &AtomicU32 {
        self.map.made(self.at / 4 + number * 2)
    }
}
