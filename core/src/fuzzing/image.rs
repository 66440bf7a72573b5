//! A file in memory, of which only pages that are not zero take room and time.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const PAGE: usize = 4096;

/// What a file holds.
#[derive(Clone, Default)]
pub(super) struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Image {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.set_len(bytes.len() as u64);
        for (number, page) in bytes.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                image.write((number * PAGE) as u64, page);
            }
        }
        image
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.pages.retain(|number, _| number * (PAGE as u64) < len);
    }

    /// The bytes from a position, zeros behind the end.
    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for (number, page) in self.overlapped(at, len) {
            let start = number * PAGE as u64;
            let from = start.max(at);
            let to = (start + PAGE as u64).min(at + len as u64);
            bytes[(from - at) as usize..(to - at) as usize]
                .copy_from_slice(&page[(from - start) as usize..(to - start) as usize]);
        }
        bytes
    }

    fn overlapped(&self, at: u64, len: usize) -> impl Iterator<Item = (u64, &Arc<[u8; PAGE]>)> {
        let pages = at / PAGE as u64..(at + len as u64).div_ceil(PAGE as u64);
        self.pages
            .range(pages)
            .map(|(number, page)| (*number, page))
    }

    /// Changes bytes; what would lie behind the end is left out.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        for (place, byte) in (at..self.len).zip(bytes) {
            let page = self.pages.entry(place / PAGE as u64);
            let page = page.or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[(place % PAGE as u64) as usize] = *byte;
        }
    }

    pub(super) fn u32(&self, at: u64) -> u32 {
        crate::format::u32_at(&self.read(at, 4), 0)
    }

    pub(super) fn u64(&self, at: u64) -> u64 {
        crate::format::u64_at(&self.read(at, 8), 0)
    }

    /// Puts it on disk.
    pub(super) fn plant(&self, path: &Path) {
        let file = std::fs::File::create(path).expect("a file of the store");
        file.set_len(self.len).expect("its length");
        for (number, page) in &self.pages {
            let at = number * PAGE as u64;
            let len = (self.len - at).min(PAGE as u64) as usize;
            file.write_all_at(&page[..len], at).expect("its bytes");
        }
    }
}
