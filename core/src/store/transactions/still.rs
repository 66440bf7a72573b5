//! What a copy of the store asks of transactions: that none happens at the moment that it shows.

use std::sync::Arc;

use crate::error::Result;
use crate::format::journal::Settle;
use crate::shm::Held;
use crate::store::StoreInner;

/// No transaction happens while this is held.
pub(in crate::store) struct Still<'a> {
    _held: Option<Held<'a>>,
    /// What those that have happened settle, and perhaps have not yet.
    pub(in crate::store) settles: Vec<Settle>,
}

impl StoreInner {
    /// All that has happened can be read from here on; nothing else happens (P8).
    pub(in crate::store) fn hold_still(self: &Arc<Self>) -> Result<Still<'_>> {
        if self.journal.is_none() {
            return Ok(Still {
                _held: None,
                settles: Vec::new(),
            });
        }
        let (held, journal) = self.hold_transactions(self.env.lock_timeout)?;
        let entries = match journal.file()? {
            Some(file) => journal.entries(&file)?,
            None => Vec::new(),
        };
        let open = entries.into_iter().filter(|entry| !entry.applied);
        Ok(Still {
            _held: Some(held),
            settles: open.flat_map(|entry| entry.record.settles).collect(),
        })
    }
}
