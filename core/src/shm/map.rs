//! A shared mapping of a file, reached only through checked, atomic or copying verbs.
//!
//! A mapping may reach past the end of its file, so that the file can grow without being mapped
//! anew; `limit` says how many bytes were verified to exist, and nothing behind it is touched,
//! since touching it would end the process with SIGBUS (P18).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{Error, ErrorKind, Result};

/// Bytes that a processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Told of each store to a mapping, after it was done: a test twin of the disk records versions.
pub trait Tracker: Send + Sync {
    /// `len` bytes from `at` were stored.
    fn stored(&self, at: usize, len: usize);
}

enum Memory {
    File(MmapRaw),
    /// Memory of this process alone, shared by all that open one file of a twin.
    #[cfg_attr(not(test), expect(dead_code, reason = "as above"))]
    Anonymous(Arc<MmapRaw>),
}

/// A mapping of a file, or of anonymous memory in tests.
pub struct Mapping {
    base: *mut u8,
    limit: AtomicUsize,
    len: usize,
    /// A store to a mapping that was opened to read would end the process with SIGSEGV.
    writable: bool,
    tracker: Option<Arc<dyn Tracker>>,
    memory: Memory,
}

// SAFETY: the memory lives as long as the mapping, and all access to it is by atomics or by copies
// of bytes that the protocols of the log and the window publish before they are read.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Words of a mapping that can only be loaded.
pub struct Peek<'a, const COUNT: usize>(&'a [AtomicU32; COUNT]);

impl<const COUNT: usize> Peek<'_, COUNT> {
    /// Loads one of them.
    #[inline]
    pub fn load(&self, place: usize, order: Ordering) -> u32 {
        self.0[place].load(order)
    }
}

impl Mapping {
    /// Maps `len` bytes of the file, of which the first `limit` exist now.
    pub fn of_file(
        file: &File,
        len: usize,
        limit: usize,
        write: bool,
        path: &Path,
    ) -> Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len.max(1));
        let map = if write {
            options.map_raw(file)
        } else {
            options.map_raw_read_only(file)
        };
        let map = map.map_err(|e| Error::io("map", path, e))?;
        let base = map.as_mut_ptr();
        let limit = AtomicUsize::new(limit.min(len));
        let memory = Memory::File(map);
        Ok(Self {
            base,
            limit,
            len,
            writable: write,
            tracker: None,
            memory,
        })
    }

    /// Fresh anonymous memory of zeros, all of it accessible.
    pub fn anonymous(len: usize) -> Result<Self> {
        let map = MmapOptions::new().len(len.max(1)).map_anon().map_err(|e| {
            Error::new(
                ErrorKind::Io,
                format!("cannot map {len} bytes of memory: {e}"),
            )
        })?;
        let map = Arc::new(MmapRaw::from(map));
        Ok(Self::share(map, len, None))
    }

    fn share(map: Arc<MmapRaw>, limit: usize, tracker: Option<Arc<dyn Tracker>>) -> Self {
        let (base, len) = (map.as_mut_ptr(), map.len());
        let limit = AtomicUsize::new(limit);
        Self {
            base,
            limit,
            len,
            writable: true,
            tracker,
            memory: Memory::Anonymous(map),
        }
    }

    /// Whether it may be stored to.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// How many bytes from the start may be touched.
    #[inline]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Raises the limit after the file's length was verified; it never falls.
    pub fn set_limit(&self, limit: usize) {
        self.limit.fetch_max(limit.min(self.len), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn check(&self, at: usize, len: usize) -> Option<*mut u8> {
        let end = at.checked_add(len)?;
        if end > self.limit() {
            return None;
        }
        // SAFETY: `end` is within the limit, which is within the mapping.
        Some(unsafe { self.base.add(at) })
    }

    #[inline]
    fn check_write(&self, at: usize, len: usize) -> Option<*mut u8> {
        if self.writable {
            self.check(at, len)
        } else {
            None
        }
    }

    /// Tells the processor, where that can be told, that these bytes are soon looked at. A hint:
    /// nothing is loaded, and bytes that are not there do no harm.
    #[inline]
    pub fn soon(&self, at: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(from) = self.check(at, len) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in (0..len).step_by(LINE) {
                // SAFETY: within the bytes that were checked, and none of them is touched.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.add(line).cast_const().cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (at, len);
    }

    /// Published bytes: the caller knows by the protocol that nobody writes them any more.
    #[inline]
    pub fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        let from = self.check(at, len)?;
        // SAFETY: in bounds, and published records are not written again (the log's protocol) but
        // to be made padding, which whoever looks at them sees by kind, lengths and checksum.
        Some(unsafe { std::slice::from_raw_parts(from, len) })
    }

    /// A 32-bit word of volatile shared memory (locks, futexes), 4-byte aligned. The tracker does
    /// not see what is stored through it.
    #[inline]
    pub fn word32(&self, at: usize) -> Option<&AtomicU32> {
        self.check_write(at, 4)?;
        self.peek32(at)
    }

    #[inline]
    fn peek32(&self, at: usize) -> Option<&AtomicU32> {
        if !at.is_multiple_of(4) {
            return None;
        }
        let word = self.check(at, 4)?;
        // SAFETY: in bounds and aligned: the base is a page's, `at` was checked. In a mapping that
        // was opened to read the word is only loaded, which aligned words of this size allow.
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    /// Words of 32 bits one after the other: as `load_u32`, with one check for all.
    #[inline]
    pub fn peek_all<const COUNT: usize>(&self, at: usize) -> Option<Peek<'_, COUNT>> {
        if !at.is_multiple_of(4) {
            return None;
        }
        let words = self.check(at, COUNT * 4)?;
        // SAFETY: in bounds and aligned, as in `peek32`, and only loaded; an array of atomics has
        // the layout of their values.
        Some(Peek(unsafe { &*words.cast_const().cast() }))
    }

    /// Loads a 32-bit word.
    #[inline]
    pub fn load_u32(&self, at: usize, order: Ordering) -> Option<u32> {
        Some(self.peek32(at)?.load(order))
    }

    /// Stores a 32-bit word.
    #[inline]
    pub fn store_u32(&self, at: usize, value: u32, order: Ordering) -> Option<()> {
        self.word32(at)?.store(value, order);
        self.tell(at, 4);
        Some(())
    }

    /// Copies bytes in that nobody reads yet.
    #[inline]
    pub fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        let to = self.check_write(at, bytes.len())?;
        // SAFETY: in bounds and writable; `bytes` may be a part of this same mapping, which this
        // copy allows.
        unsafe { std::ptr::copy(bytes.as_ptr(), to, bytes.len()) };
        self.tell(at, bytes.len());
        Some(())
    }

    /// Zeroes bytes that nobody reads yet.
    pub fn zero(&self, at: usize, len: usize) -> Option<()> {
        let to = self.check_write(at, len)?;
        // SAFETY: in bounds and writable.
        unsafe { std::ptr::write_bytes(to, 0, len) };
        self.tell(at, len);
        Some(())
    }

    /// Makes the kernel take these pages for written, though no byte changes: after a failed sync
    /// it believes that the disk has them. Others may store into them meanwhile.
    pub fn dirty(&self, at: usize, len: usize) {
        let mut word = at / 4 * 4;
        while word < at.saturating_add(len) {
            if let Some(word) = self.word32(word) {
                // A swap of a value for itself: a load and a store would lose what came in between.
                let seen = word.load(Ordering::Relaxed);
                let _ = word.compare_exchange(seen, seen, Ordering::Relaxed, Ordering::Relaxed);
            }
            self.tell(word, 4);
            word = (word / 4096 + 1) * 4096;
        }
    }

    /// Makes the kernel allocate and map these pages for writing now, where it can.
    pub fn populate(&self, at: usize, len: usize) {
        let page = 4096;
        let from = at / page * page;
        let to = at.saturating_add(len).min(self.limit()) / page * page;
        if self.writable && matches!(self.memory, Memory::File(_)) && to > from {
            // SAFETY: the range is page aligned and inside the mapping; populating changes no
            // byte. A kernel that does not know the advice answers EINVAL, which costs speed only.
            unsafe {
                libc::madvise(
                    self.base.add(from).cast(),
                    to - from,
                    libc::MADV_POPULATE_WRITE,
                );
            }
        }
    }

    /// Puts on disk what was stored into the file, through whatever mapping, as `fdatasync` does:
    /// the kernel asks the same of the file system, and tells of the same errors. Nothing to do for
    /// memory that is no file's.
    pub fn sync(&self) -> std::io::Result<()> {
        match &self.memory {
            Memory::File(map) => map.flush(),
            Memory::Anonymous(_) => Ok(()),
        }
    }

    /// Whether somebody is told of each store.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracker.is_some()
    }

    /// Only tests have a tracker: nothing is asked for one in what others build.
    #[inline]
    pub(super) fn tell(&self, at: usize, len: usize) {
        if cfg!(test)
            && let Some(tracker) = &self.tracker
        {
            tracker.stored(at, len);
        }
    }
}

#[cfg(test)]
impl Mapping {
    /// Another mapping of the same anonymous memory; `None` for a mapping of a file.
    pub fn another(&self, limit: usize, tracker: Option<Arc<dyn Tracker>>) -> Option<Self> {
        match &self.memory {
            Memory::Anonymous(map) => Some(Self::share(map.clone(), limit, tracker)),
            Memory::File(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Region;
    use super::*;

    #[test]
    fn p18_nothing_behind_the_limit_is_touched() {
        let map = Mapping::anonymous(4096).expect("memory");
        assert!(map.bytes(4090, 7).is_none());
        assert!(map.bytes(usize::MAX, 2).is_none());
        assert!(map.load_u32(3, Ordering::Relaxed).is_none(), "unaligned");
        assert!(map.copy_in(4095, b"xy").is_none());
        let small = map.another(64, None).expect("anonymous");
        assert!(small.load_u32(64, Ordering::Relaxed).is_none());
        assert!(Region::new(&Arc::new(small), 0, 72).is_none());
    }

    #[test]
    fn p18_a_mapping_that_was_opened_to_read_takes_no_store() {
        let file = tempfile::tempfile().expect("file");
        file.set_len(4096).expect("length");
        let map = Mapping::of_file(&file, 4096, 4096, false, Path::new("f")).expect("map");
        assert_eq!(map.load_u32(0, Ordering::Acquire), Some(0));
        assert_eq!(map.load_u32(4092, Ordering::Acquire), Some(0));
        assert!(map.store_u32(0, 1, Ordering::Release).is_none());
        assert!(map.store_u32(0, 1, Ordering::Release).is_none());
        assert!(map.copy_in(0, b"x").is_none() && map.zero(0, 8).is_none());
        assert!(map.word32(0).is_none());
        let region = Region::new(&Arc::new(map), 0, 64).expect("inside");
        assert_eq!(region.get(7), 0);
        let store = std::panic::AssertUnwindSafe(|| region.set(0, 1));
        assert!(std::panic::catch_unwind(store).is_err(), "not a SIGSEGV");
    }

    #[test]
    fn two_mappings_of_one_memory_see_each_other() {
        let map = Mapping::anonymous(4096).expect("memory");
        let other = map.another(4096, None).expect("anonymous");
        map.copy_in(8, b"hello").expect("in bounds");
        assert_eq!(other.bytes(8, 5), Some(&b"hello"[..]));
    }
}
