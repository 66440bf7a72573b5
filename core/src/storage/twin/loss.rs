//! What a host may find after a power loss.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::{CAPACITY, Content, Inode, SECTOR, State, Twin, lock};
use crate::error::Result;
use crate::shm::Mapping;

impl Twin {
    /// The disk after a power loss now, as this seed draws it. This disk is left as it is.
    pub fn power_loss(&self, seed: u64) -> Result<Twin> {
        let mut dice = Dice(seed | 1);
        let after = Twin::new();
        let state = lock(&self.0.state);
        let mut found = State {
            folders: state.folders.clone(),
            ..State::default()
        };
        let mut paths: Vec<&PathBuf> = state.names.keys().collect();
        paths.extend(
            state
                .durable_names
                .keys()
                .filter(|p| !state.names.contains_key(*p)),
        );
        for path in paths {
            let (now, durable) = (state.names.get(path), state.durable_names.get(path));
            let same = matches!((now, durable), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
            let chosen = if same || dice.coin() { now } else { durable };
            if let Some(inode) = chosen {
                let image = Arc::new(inode.after_loss(&mut dice)?);
                found.names.insert(path.clone(), image.clone());
                found.durable_names.insert(path.clone(), image);
            }
        }
        *lock(&after.0.state) = found;
        Ok(after)
    }
}

/// A small generator, so that a seed replays.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    /// One of so many versions: often the synced or the last one, since of a sector that is written
    /// all the time those would else hardly ever be drawn.
    fn version(&mut self, count: usize) -> usize {
        match self.next(3) {
            0 => 0,
            1 => count - 1,
            _ => self.next(count),
        }
    }

    fn coin(&mut self) -> bool {
        self.next(2) == 0
    }
}

impl Inode {
    fn after_loss(&self, dice: &mut Dice) -> Result<Inode> {
        let content = lock(&self.content);
        let after = Inode {
            memory: Mapping::anonymous(CAPACITY)?,
            content: Mutex::default(),
        };
        let len = if dice.coin() {
            content.len
        } else {
            content.durable_len
        };
        let mut sectors = content.synced.clone();
        let mut touched: Vec<usize> = content.versions.keys().copied().collect();
        touched.sort_unstable();
        for number in touched {
            let versions = &content.versions[&number];
            sectors.insert(number, versions[dice.version(versions.len())].clone());
        }
        sectors.retain(|number, _| number * SECTOR < len);
        for (number, bytes) in &sectors {
            after.memory.copy_in(number * SECTOR, bytes);
        }
        *lock(&after.content) = Content {
            len,
            durable_len: len,
            synced: sectors,
            ..Content::default()
        };
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Access, Storage};
    use std::path::Path;

    #[test]
    fn p2_synced_bytes_survive_every_power_loss_and_others_may_not() {
        let twin = Twin::new();
        let path = Path::new("/d/file");
        let file = twin.open(path, Access::CreateNew, 0).expect("create");
        file.write_at(b"safe", 0).expect("write");
        file.sync().expect("sync");
        twin.sync_dir(Path::new("/d")).expect("sync");
        file.write_at(b"gone", 512).expect("write");
        let mut kept = 0;
        for seed in 0..64 {
            let after = twin.power_loss(seed).expect("image");
            let file = after
                .open(path, Access::Read, 0)
                .expect("the name is durable");
            let mut read = [0; 4];
            file.read_at(&mut read, 0).expect("read");
            assert_eq!(&read, b"safe");
            if file.len().expect("len") > 512 {
                file.read_at(&mut read, 512).expect("read");
                kept += usize::from(&read == b"gone");
            }
        }
        assert!(
            (1..64).contains(&kept),
            "a power loss may keep or lose it: kept {kept} times"
        );
    }
}
