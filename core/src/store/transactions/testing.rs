//! What tests ask of the journal.

use super::journal::{Entry, Journal};

impl Journal {
    pub(in crate::store) fn used_in_test(&self) -> u64 {
        self.used().expect("places").0
    }

    pub(in crate::store) fn open_in_test(&self) -> usize {
        let file = self.file().expect("file").expect("made");
        let open = |entry: &&Entry| !entry.applied;
        self.entries(&file)
            .expect("entries")
            .iter()
            .filter(open)
            .count()
    }
}
