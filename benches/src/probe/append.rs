//! The limit of an append: the least that any durable queue in shared memory has to do.
//!
//! Owner word taken and given back by one compare-and-swap each, a 48-byte header, CRC-32 of header
//! and payload, a copy into the mapping, a publishing store: into freshly allocated pages, as a
//! queue that only grows must.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapMut, MmapOptions};

use crate::Outcome;

const HEADER: usize = 48;

/// Time for `count` appends of `size` bytes, `batch` of them under one lock and one publish.
pub(crate) fn append(folder: &Path, size: usize, count: usize, batch: usize) -> Outcome<Duration> {
    let path = folder.join("probe");
    let record = (HEADER + size).next_multiple_of(8);
    let mut map = fresh(&path, record * (count + 1) + 4096)?;
    let payload = vec![b'x'; size];
    let owner = AtomicU32::new(0);
    let began = Instant::now();
    let mut at = 0;
    for first in (0..count).step_by(batch) {
        let start = at;
        while owner
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {}
        for number in first..(first + batch).min(count) {
            let mut header = [0_u8; HEADER];
            header[8..16].copy_from_slice(&(number as u64).to_le_bytes());
            header[44..48].copy_from_slice(&(size as u32).to_le_bytes());
            let mut sum = crc32fast::Hasher::new();
            sum.update(&payload);
            sum.update(&header[8..]);
            header[4..8].copy_from_slice(&sum.finalize().to_le_bytes());
            if at != start {
                header[..4].copy_from_slice(&(record as u32).to_le_bytes());
            }
            map[at..at + HEADER].copy_from_slice(&header);
            map[at + HEADER..at + HEADER + size].copy_from_slice(&payload);
            at += record;
        }
        publish(&mut map, start, record as u32);
        owner.store(0, Ordering::Release);
    }
    let took = began.elapsed();
    drop(map);
    std::fs::remove_file(path)?;
    Ok(took)
}

/// Time for `count` appends of `size` bytes, each followed by `fdatasync`.
pub(crate) fn synced(folder: &Path, size: usize, count: usize) -> Outcome<Duration> {
    let path = folder.join("probe");
    let record = (HEADER + size).next_multiple_of(8);
    let mut map = fresh(&path, record * (count + 1) + 4096)?;
    let file = File::options().write(true).open(&path)?;
    let payload = vec![b'x'; size];
    let began = Instant::now();
    for number in 0..count {
        let at = number * record;
        map[at + HEADER..at + HEADER + size].copy_from_slice(&payload);
        publish(&mut map, at, record as u32);
        rustix::fs::fdatasync(&file)?;
    }
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(took)
}

fn publish(map: &mut MmapMut, at: usize, length: u32) {
    let word = map[at..].as_mut_ptr().cast::<u32>();
    assert!(at.is_multiple_of(8) && at + 4 <= map.len());
    // SAFETY: in bounds and aligned by the assertion above, and the mapping is borrowed mutably.
    unsafe { AtomicU32::from_ptr(word) }.store(length, Ordering::Release);
}

fn fresh(path: &Path, bytes: usize) -> Outcome<MmapMut> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64)?;
    // SAFETY: the file was just made in a folder of this run's own; nobody truncates it.
    Ok(unsafe { MmapOptions::new().len(bytes).map_mut(&file)? })
}
