//! Snapshots of a group: those that are whole.

use super::Copy;
use crate::format::names;
use crate::inspect::plan::{GroupPlan, name_of};
use crate::inspect::snapshot::{Whose, read, strange};

impl Copy<'_> {
    /// Names and bytes of a group's snapshots; what is damaged, or another group's, is told of as
    /// lost.
    pub(super) fn snapshots(
        &mut self,
        plan: &GroupPlan,
        group: u64,
        partitions: usize,
    ) -> Vec<(String, Vec<u8>)> {
        let (mut found, whose) = (
            Vec::new(),
            Whose {
                group: Some(group),
                partitions: Some(partitions as u64),
            },
        );
        for listed in &plan.files {
            let file = name_of(&listed.path);
            let Some(name) = names::parse_snapshot(&file) else {
                continue;
            };
            let wrong = match read(&listed.path) {
                Ok(Ok((snapshot, bytes))) => match strange(&snapshot, whose) {
                    None => {
                        found.push((name.to_owned(), bytes));
                        continue;
                    }
                    Some((_, what)) => what,
                },
                Ok(Err((_, what))) => what,
                Err(error) => error.message().to_owned(),
            };
            let what = format!("the snapshot {name:?} is lost: {wrong}");
            self.lost(&listed.path, what);
        }
        found
    }
}
