//! What memory and disk give: copies, syncs, reading in order.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags};

use crate::Outcome;

/// More than the caches hold.
const RING: usize = 256 << 20;
/// What is read at once, and how much of it the kernel is told of before: large enough that more is
/// no faster.
const BLOCK: usize = 1 << 20;
const AHEAD: u64 = 8 << 20;

/// Time for `count` copies of `size` bytes into memory that was written before.
pub(crate) fn copy(size: usize, count: usize) -> Duration {
    let ring_size = RING.min((size * count).max(size));
    let mut ring = vec![1_u8; ring_size];
    let payload = vec![b'x'; size];
    let began = Instant::now();
    let mut at = 0;
    for _ in 0..count {
        if at + size > ring_size {
            at = 0;
        }
        ring[at..at + size].copy_from_slice(black_box(&payload));
        at += size;
    }
    black_box(&ring);
    began.elapsed()
}

/// Time for `count` writes of `size` bytes one behind the other, each with `fdatasync`, into a file
/// that was written before.
pub(crate) fn fdatasync(folder: &Path, size: usize, count: usize) -> Outcome<Duration> {
    let path = folder.join("probe");
    let file = File::create(&path)?;
    let payload = vec![b'x'; size];
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, (size * count) as u64)?;
    for number in 0..count {
        file.write_all_at(&payload, (number * size) as u64)?;
    }
    file.sync_all()?;
    let began = Instant::now();
    for number in 0..count {
        file.write_all_at(&payload, (number * size) as u64)?;
        rustix::fs::fdatasync(&file)?;
    }
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(took)
}

/// Has the kernel forget what it holds of the files in a folder: the next read is the disk's. What
/// is dirty or mapped stays, so they are to be on disk and nobody's.
pub(crate) fn drop_cached(folder: &Path) -> Outcome<()> {
    for path in files(folder)? {
        rustix::fs::fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Reads the files of a folder one after the other, until about so many bytes: what lies beyond is
/// allocated and was never written, which is no work for a disk. How many, and how long that took.
pub(crate) fn read(folder: &Path, most: usize) -> Outcome<(usize, Duration)> {
    let mut block = vec![0; BLOCK];
    let (began, mut bytes) = (Instant::now(), 0);
    for path in files(folder)? {
        let (mut file, mut at) = (File::open(path)?, 0);
        rustix::fs::fadvise(&file, 0, None, Advice::Sequential)?;
        while bytes < most {
            // The disk is to have work while what came is copied.
            let ahead = NonZeroU64::new(AHEAD);
            rustix::fs::fadvise(&file, at, ahead, Advice::WillNeed)?;
            match file.read(&mut block)? {
                0 => break,
                some => (bytes, at) = (bytes + some, at + some as u64),
            }
        }
    }
    Ok((bytes, began.elapsed()))
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<PathBuf>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{copy, drop_cached, fdatasync, read};

    #[test]
    fn the_probes_do_what_they_are_timed_for() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(copy(10, 100).as_nanos() > 0);
        let took = fdatasync(folder.path(), 100, 3).expect("synced");
        assert!(took.as_nanos() > 0);
        std::fs::write(folder.path().join("a"), vec![1; 3_000_000]).expect("written");
        std::fs::write(folder.path().join("b"), [1; 10]).expect("written");
        std::fs::create_dir(folder.path().join("c")).expect("a folder");
        drop_cached(folder.path()).expect("dropped");
        assert_eq!(read(folder.path(), usize::MAX).expect("read").0, 3_000_010);
        assert_eq!(read(folder.path(), 1).expect("read").0, 1 << 20);
    }
}
