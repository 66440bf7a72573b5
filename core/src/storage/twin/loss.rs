//! What a host may find after a power loss, and what processes find when all of them died.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Choices, Inode, SECTOR, State, Twin, lock};
use crate::error::Result;
use crate::format::names;

impl Twin {
    /// The disk after a power loss now, as this seed draws it. This disk is left as it is.
    pub fn power_loss(&self, seed: u64) -> Result<Twin> {
        self.lose(&mut Choices::seeded(seed))
    }

    /// The disk after a power loss now, in the case that is chosen: each sector, length, name and
    /// folder for itself the one that was last synced or any later one. The host is started anew.
    pub fn lose(&self, choices: &mut Choices) -> Result<Twin> {
        let mut state = lock(&self.0.state).outline();
        state.choose_moves(choices);
        let mut found = State::default();
        for folder in &state.folders {
            // Parents come before what is in them.
            let there = found.has(folder);
            if there && (state.durable_folders.contains(folder) || choices.coin()) {
                found.folders.insert(folder.clone());
            }
        }
        found.durable_folders = found.folders.clone();
        let paths: BTreeSet<&PathBuf> = state
            .names
            .keys()
            .chain(state.durable_names.keys())
            .collect();
        for path in paths {
            if !found.has(path) || is_volatile(path) {
                continue;
            }
            let (now, durable) = (state.names.get(path), state.durable_names.get(path));
            let same = matches!((now, durable), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
            let chosen = if same || choices.coin() { now } else { durable };
            if let Some(inode) = chosen {
                let image = Arc::new(inode.after_loss(choices)?);
                found.names.insert(path.clone(), image.clone());
                found.durable_names.insert(path.clone(), image);
            }
        }
        let mut boot = self.0.boot;
        boot[0] = boot[0].wrapping_add(1);
        Ok(Self::of(found, boot))
    }

    /// The disk after all processes died now: the kernel has every byte, and a power loss may still
    /// take what is not on disk. `control`, which means nothing any more, is left out.
    pub fn all_die(&self) -> Result<Twin> {
        let state = lock(&self.0.state);
        let mut copies = BTreeMap::new();
        let mut copy = |names: &BTreeMap<PathBuf, Arc<Inode>>| -> Result<_> {
            let mut found = BTreeMap::new();
            for (path, inode) in names.iter().filter(|(path, _)| !is_volatile(path)) {
                let image = match copies.get(&Arc::as_ptr(inode)) {
                    Some(made) => Arc::clone(made),
                    None => Arc::new(inode.copy()?),
                };
                copies.insert(Arc::as_ptr(inode), image.clone());
                found.insert(path.clone(), image);
            }
            Ok(found)
        };
        let found = State {
            names: copy(&state.names)?,
            durable_names: copy(&state.durable_names)?,
            folders: state.folders.clone(),
            durable_folders: state.durable_folders.clone(),
            moves: state.moves.clone(),
            ..State::default()
        };
        Ok(Self::of(found, self.0.boot))
    }

    /// In how many cases a power loss now may end, up to a bound.
    #[must_use]
    pub fn cases(&self, bound: usize) -> usize {
        let state = lock(&self.0.state);
        let mut cases = 1_usize;
        let mut times = |count: usize| cases = cases.saturating_mul(count.max(1)).min(bound);
        let new = |folder: &&PathBuf| !state.durable_folders.contains(*folder);
        state.folders.iter().filter(new).for_each(|_| times(2));
        for (path, inode) in state.names.iter().filter(|(path, _)| !is_volatile(path)) {
            let durable = state.durable_names.get(path);
            if durable.is_none_or(|known| !Arc::ptr_eq(known, inode)) {
                times(2);
            }
            let content = lock(&inode.content);
            times(1 + usize::from(content.len != content.durable_len));
            content.versions.values().for_each(|all| times(all.len()));
        }
        cases
    }

    /// A hash of all that is there, and of what else makes two images different.
    #[must_use]
    pub fn fingerprint(&self, more: impl Hash) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        more.hash(&mut hasher);
        self.0.boot.hash(&mut hasher);
        let state = lock(&self.0.state);
        state.folders.hash(&mut hasher);
        for (path, inode) in &state.names {
            let content = lock(&inode.content);
            (path, content.len).hash(&mut hasher);
            drop(content);
            inode.written().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Puts the files into a folder of the real disk.
    pub fn copy_to(&self, root: &Path, target: &Path) -> std::io::Result<()> {
        let state = lock(&self.0.state);
        let place = |path: &Path| target.join(path.strip_prefix(root).unwrap_or(path));
        for folder in &state.folders {
            std::fs::create_dir_all(place(folder))?;
        }
        for (path, inode) in &state.names {
            let len = lock(&inode.content).len;
            let file = std::fs::File::create(place(path))?;
            file.set_len(len as u64)?;
            let bytes = inode.memory.bytes(0, len).unwrap_or_default();
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if sector.iter().any(|byte| *byte != 0) {
                    file.write_all_at(sector, (number * SECTOR) as u64)?;
                }
            }
        }
        Ok(())
    }
}

/// What is made anew after everyone left, and so has nothing to lose.
pub(super) fn is_volatile(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == names::CONTROL)
}

impl State {
    /// Whether the folder that something is in is there. The disk's own root is.
    pub(super) fn has(&self, path: &Path) -> bool {
        let parent = path.parent().unwrap_or(path);
        parent == Path::new("/") || self.folders.contains(parent)
    }
}

impl Inode {
    fn after_loss(&self, choices: &mut Choices) -> Result<Inode> {
        let content = lock(&self.content);
        let grew = content.len != content.durable_len;
        let len = if grew && choices.coin() {
            content.durable_len
        } else {
            content.len
        };
        let mut sectors = content.synced.clone();
        for (number, versions) in &content.versions {
            let version = choices.version(versions.len());
            sectors.insert(*number, versions[version].clone());
        }
        Inode::synced(len, sectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Access, Storage};

    #[test]
    fn p2_synced_bytes_survive_every_power_loss_and_others_may_not() {
        let twin = Twin::new();
        let path = Path::new("/file");
        let file = twin.open(path, Access::CreateNew, 0).expect("create");
        file.write_at(b"safe", 0).expect("write");
        file.sync().expect("sync");
        twin.sync_dir(Path::new("/")).expect("sync");
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

    #[test]
    fn p2_all_cases_of_a_power_loss_come_once() {
        let twin = Twin::new();
        let path = Path::new("/d/file");
        twin.create_dir(Path::new("/d"), 0).expect("folder");
        let file = twin.open(path, Access::CreateNew, 0).expect("create");
        for byte in [b"1", b"2"] {
            file.write_at(byte, 0).expect("write");
            file.write_at(byte, 512).expect("write");
        }
        // A folder, a name, a length, and two sectors of three versions.
        assert_eq!(twin.cases(1000), 2 * 2 * 2 * 3 * 3);
        let (mut choices, mut seen) = (Choices::every(), Vec::new());
        loop {
            let after = twin.lose(&mut choices).expect("image");
            let opened = after.open(path, Access::Read, 0);
            seen.push(opened.ok().map(|file| {
                let mut bytes = vec![0; file.len().expect("length") as usize];
                file.read_at(&mut bytes, 0).expect("read");
                bytes
            }));
            if !choices.advance() {
                break;
            }
        }
        let whole: BTreeSet<_> = seen.iter().flatten().filter(|b| !b.is_empty()).collect();
        assert_eq!(whole.len(), 9, "each sector in each version");
        assert!(seen.contains(&None) && seen.contains(&Some(Vec::new())));
    }

    #[test]
    fn p1_when_all_processes_die_every_byte_stays_and_may_be_lost_later() {
        let twin = Twin::new();
        let path = Path::new("/file");
        let file = twin.open(path, Access::CreateNew, 0).expect("create");
        file.write_at(b"here", 0).expect("write");
        let after = twin.all_die().expect("image");
        let mut read = [0; 4];
        let copy = after.open(path, Access::Read, 0).expect("open");
        copy.read_at(&mut read, 0).expect("read");
        assert_eq!((&read, after.boot_id()), (b"here", twin.boot_id()));
        let gone = (0..64).filter(|seed| {
            let lost = after.power_loss(*seed).expect("image");
            lost.boot_id() != twin.boot_id() && !lost.exists(path).expect("look")
        });
        assert!(gone.count() > 0);
    }
}
