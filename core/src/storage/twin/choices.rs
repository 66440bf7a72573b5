//! Where chance decides in a simulation: by a seed that replays, or all cases one after the other.

/// A source of decisions.
#[derive(Clone, Debug)]
pub struct Choices {
    dice: u64,
    /// What was decided so far, of how many; empty where a seed decides.
    script: Option<Vec<(usize, usize)>>,
    at: usize,
}

impl Choices {
    /// Decides by a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        // Mixed, so that neighbouring seeds do not begin alike; 0 is where the dice stands still.
        let mixed = (seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self {
            dice: (mixed ^ mixed >> 31).max(1),
            script: None,
            at: 0,
        }
    }

    /// Decides for the first of everything; `advance` goes to the next case.
    #[must_use]
    pub fn every() -> Self {
        Self {
            dice: 1,
            script: Some(Vec::new()),
            at: 0,
        }
    }

    /// To the next case; false if all were seen, or if a seed decides.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        let Some(script) = &mut self.script else {
            return false;
        };
        while let Some((chosen, count)) = script.pop() {
            if chosen + 1 < count {
                script.push((chosen + 1, count));
                return true;
            }
        }
        false
    }

    /// A number below `below`, evenly.
    pub fn pick(&mut self, below: usize) -> usize {
        let below = below.max(1);
        if let Some(script) = &mut self.script {
            if script.len() == self.at {
                script.push((0, below));
            }
            self.at += 1;
            return script[self.at - 1].0;
        }
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as usize % below
    }

    /// One of so many versions: often the synced or the last one, since of a sector that is written
    /// all the time those would else hardly ever be drawn.
    pub fn version(&mut self, count: usize) -> usize {
        if self.script.is_some() || count < 3 {
            return self.pick(count);
        }
        match self.pick(3) {
            0 => 0,
            1 => count - 1,
            _ => self.pick(count),
        }
    }

    /// Yes or no.
    pub fn coin(&mut self) -> bool {
        self.pick(2) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_once() {
        let (mut choices, mut seen) = (Choices::every(), Vec::new());
        loop {
            let first = choices.pick(3);
            // A decision that only some cases have.
            let second = if first == 1 { choices.pick(2) } else { 9 };
            seen.push((first, second, choices.coin()));
            if !choices.advance() {
                break;
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((count, seen.len()), (8, 8));
    }

    #[test]
    fn a_seed_replays() {
        let draw = |seed| {
            let mut choices = Choices::seeded(seed);
            (0..50).map(|_| choices.version(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
