//! Redrive lanes: what became of the dead letters of their groups.
//!
//! A lane whose window is whole is copied with it. Of any other nothing is believed: it is left
//! out, and all letters of the group are dead letters again, as they are before the first redrive.
//! None is handed out unasked, and none is lost (P12).

use std::collections::BTreeSet;

use super::Copy;
use super::rebuild::Around;
use super::truth::{Raw, Wanted};
use crate::error::Result;
use crate::format::names;
use crate::group::Policy;
use crate::inspect::log::Log;
use crate::inspect::plan::{GroupPlan, TopicPlan};
use crate::store::Topic;

impl Copy<'_> {
    /// Copies a lane, as a part of its group.
    pub(super) fn lane(
        &mut self,
        of: &TopicPlan,
        plan: &GroupPlan,
        topic: &Topic,
        logs: &[Log],
    ) -> Result<()> {
        let meta = self.run.group_meta(plan, None)?;
        let log_of = |number| logs.get(number as usize);
        self.run.windows(of, plan, meta.as_ref(), None, &log_of)?;
        let path = plan.folder.join(names::window(0));
        let (Some(meta), Some(log)) = (meta, logs.first()) else {
            let what = "what was redriven and purged is lost; all dead letters of the group are \
                        dead letters again";
            self.lost(&plan.folder, what.to_owned());
            return Ok(());
        };
        let around = Around {
            topic,
            partition: 0,
            start: meta.starts.first().copied().unwrap_or(0),
            epoch: 0,
            end: log.end,
            policy: Policy::of(&meta.config),
            limit: meta.config.window,
            once: meta.config.is_at_most_once(),
            lane: true,
            dead: BTreeSet::new(),
        };
        let wanted = Wanted {
            group: Some(meta.id),
            partition: 0,
            limit: Some(meta.config.window),
            end: log.end,
        };
        let found = Raw::read(&path, &wanted)?;
        let Some(raw) = found.filter(|raw| self.believes(&path, raw)) else {
            let what = "what was redriven and purged is not known; all dead letters of the group \
                        are dead letters again";
            self.lost(&path, what.to_owned());
            return Ok(());
        };
        let truth = self.copied(&path, &raw, log, &around)?;
        topic.restore_group(&plan.name, meta, &[truth])
    }
}
