//! A bitmap in levels of 64: the lowest set bit from a place on in a few steps, however large.

use crate::shm::Region;

/// Bits over `most` places in a region.
pub(super) struct Bitmap {
    region: Region,
    /// First word of each level, the finest first, and its number of words.
    levels: Vec<(usize, usize)>,
}

impl Bitmap {
    pub(super) fn new(region: Region, most: usize) -> Self {
        let (mut levels, mut at, mut size) = (Vec::new(), 0, most);
        while size > 1 {
            size = size.div_ceil(64);
            levels.push((at, size));
            at += size;
        }
        Self { region, levels }
    }

    pub(super) fn clear_all(&self) {
        let words: usize = self.levels.iter().map(|(_, size)| size).sum();
        (0..words).for_each(|word| self.region.set(word, 0));
    }

    pub(super) fn set(&self, place: usize) {
        let mut bit = place;
        for (at, _) in &self.levels {
            let word = at + bit / 64;
            let before = self.region.get(word);
            self.region.set(word, before | 1 << (bit % 64));
            if before != 0 {
                return;
            }
            bit /= 64;
        }
    }

    pub(super) fn clear(&self, place: usize) {
        let mut bit = place;
        for (at, _) in &self.levels {
            let word = at + bit / 64;
            let after = self.region.get(word) & !(1 << (bit % 64));
            self.region.set(word, after);
            if after != 0 {
                return;
            }
            bit /= 64;
        }
    }

    /// The lowest set place at or behind `from`.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut bit = from;
        for (level, (at, size)) in self.levels.iter().enumerate() {
            let word = bit / 64;
            if word >= *size {
                return None;
            }
            let rest = self.region.get(at + word) & (!0 << (bit % 64));
            if rest != 0 {
                return self.descend(level, word * 64 + rest.trailing_zeros() as usize);
            }
            bit = word + 1;
        }
        None
    }

    fn descend(&self, level: usize, mut bit: usize) -> Option<usize> {
        for (at, size) in self.levels[..level].iter().rev() {
            if bit >= *size {
                return None;
            }
            bit = bit * 64 + self.region.get(at + bit).trailing_zeros() as usize;
        }
        Some(bit)
    }

    /// The lowest set place from `start` on, going round.
    pub(super) fn next_around(&self, start: usize) -> Option<usize> {
        self.next(start).or_else(|| self.next(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::Mapping;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn it_agrees_with_a_set() {
        let map = Arc::new(Mapping::anonymous(1 << 20).expect("memory"));
        let most = 300_000_usize.next_power_of_two();
        let bitmap = Bitmap::new(Region::new(&map, 0, 1 << 17).expect("region"), most);
        let (mut model, mut state) = (BTreeSet::new(), 1_u64);
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let place = (state >> 33) as usize % most;
            if state >> 63 == 0 {
                bitmap.set(place);
                model.insert(place);
            } else {
                let victim = model.range(place..).next().copied();
                assert_eq!(bitmap.next(place), victim);
                if let Some(victim) = victim {
                    bitmap.clear(victim);
                    model.remove(&victim);
                }
            }
        }
    }
}
