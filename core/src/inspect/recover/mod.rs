//! Copying out of a damaged store what can be read.
//!
//! What can be read is what [`verify`](super::verify) says: the same walk hands each whole message
//! on to the new store, which is written as any other, through topics and groups.

mod groups;
mod lanes;
mod rebuild;
mod sent;
mod snapshots;
mod source;
mod target;
mod topics;
mod truth;

use std::collections::HashSet;
use std::path::Path;

use super::log::Log;
use super::plan::{Plan, TopicPlan};
use super::verify::{Progress, Run};
use super::{Damage, Report};
use crate::error::Result;
use crate::format::names;
use crate::store::{Restorer, Topic};
use source::Source;
use target::Target;

/// What [`recover`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The new store's id: the old one's, or one that was drawn.
    pub id: String,
    /// Topics that were copied.
    pub topics: u64,
    /// Groups that were copied.
    pub groups: u64,
    /// Messages that were copied.
    pub messages: u64,
    /// What was lost, with the place that is damaged: messages, by their offsets; configuration,
    /// and what stands in its place; positions of groups, and where they begin again.
    pub losses: Vec<Damage>,
    /// What else is worth knowing of the new store.
    pub notes: Vec<String>,
    /// What [`verify`](super::verify) says of the damaged store.
    pub source: Report,
}

/// What [`recover_with`] copies besides what a store that is opened again would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoverOptions {
    /// Also what stands whole behind the place where a power loss tore a log. It was sent, and was
    /// never on disk for sure: messages before it are missing, and a batch may be there in part
    /// (P2). A store that is opened cuts it. False unless set.
    pub all: bool,
}

/// As [`recover`], with options.
///
/// # Errors
/// As of [`recover`].
///
/// # Examples
/// ```
/// use libqueue::inspect::{recover_with, RecoverOptions};
///
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let (from, to) = (folder.path().join("damaged"), folder.path().join("recovered"));
/// # libqueue::Store::open(&from, libqueue::StoreOptions::default())?.close()?;
/// let options = RecoverOptions { all: true };
/// let recovered = recover_with(&from, &to, options, &mut |_done, _total| Ok(()))?;
/// assert!(recovered.losses.is_empty());
/// # Ok::<(), libqueue::Error>(())
/// ```
pub fn recover_with(
    from: &Path,
    to: &Path,
    options: RecoverOptions,
    progress: &mut Progress<'_>,
) -> Result<Recovered> {
    let plan = Plan::of(from)?;
    let source = Source::claim(from)?;
    // Listed again: nobody changes it now.
    let plan = match source.is_alone() {
        true => Plan::of(from)?,
        false => plan,
    };
    let target = Target::begin(from, to)?;
    let copied = Copy::of(from, &plan, target.folder(), options, progress);
    let done = copied.and_then(|copied| {
        source.check_unused()?;
        target.finish()?;
        Ok(copied)
    });
    done.map_err(|error| target.give_up(error))
}

/// Copies everything readable out of the store in the folder `from` into a new one in the folder
/// `to`, and tells what was lost. The damaged store is neither joined nor changed. `progress` is
/// called now and then with how many of its bytes are done; an error that it returns ends the copy
/// and is returned.
///
/// Messages keep offset, timestamp, key, headers and payload; offsets that were lost are never
/// given out again. Topics and groups keep ids, configuration and positions. What was settled stays
/// so where the window of a group is whole; where it is damaged the group begins again where
/// everything before is settled for sure, so that it gets some messages once more and misses none.
/// Configuration that is damaged is replaced by the defaults and what the other files say. What was
/// sent under dedup ids and by producers is known as far as its messages are copied, and
/// transactions that had happened are not applied any further; `notes` say how much that concerns.
/// Behind
/// the place where a power loss tore a log nothing is copied, as the next open would cut it;
/// [`recover_with`] copies that as well.
///
/// # Errors
/// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if others have the store in use;
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) and
/// [`ErrorKind::NotAStore`](crate::ErrorKind::NotAStore) if there is none at `from`,
/// [`ErrorKind::Incompatible`](crate::ErrorKind::Incompatible) if another version wrote it;
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if `to` is not empty,
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if it is inside of `from`;
/// [`ErrorKind::DiskFull`](crate::ErrorKind::DiskFull) if there is no room. After an error nothing
/// is left at `to`. A process that dies leaves a folder that is no store.
///
/// # Examples
/// ```
/// use libqueue::{inspect, Message, ReaderOptions, Store, StoreOptions, TopicOptions};
///
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let (from, to) = (folder.path().join("damaged"), folder.path().join("recovered"));
/// # let store = Store::open(&from, StoreOptions::default())?;
/// # store.topic("orders", &TopicOptions::default())?.send(&Message::new(b"paid"))?;
/// # store.close()?;
/// let recovered = inspect::recover(&from, &to, &mut |_done, _total| Ok(()))?;
/// for loss in &recovered.losses {
///     println!("{} at byte {}: {}", loss.file.display(), loss.position, loss.what);
/// }
/// assert_eq!((recovered.messages, recovered.losses.len()), (1, 0));
///
/// let store = Store::open(&to, StoreOptions::default())?;
/// # let orders = store.open_topic("orders")?;
/// # let found = orders.reader(&ReaderOptions::default())?.receive(9, None)?;
/// # assert_eq!(found[0].payload(), b"paid");
/// # drop((found, orders));
/// # store.close()?;
/// # Ok::<(), libqueue::Error>(())
/// ```
pub fn recover(from: &Path, to: &Path, progress: &mut Progress<'_>) -> Result<Recovered> {
    recover_with(from, to, RecoverOptions::default(), progress)
}

/// A topic whose messages were copied.
pub(super) struct Copied<'a> {
    plan: &'a TopicPlan,
    /// The id that it had, as far as that is known.
    id: Option<u64>,
    topic: Topic,
    logs: Vec<Log>,
}

/// A copy that is under way.
pub(super) struct Copy<'a> {
    run: Run<'a>,
    restorer: Restorer,
    done: Recovered,
    /// Ids of the topics that were copied.
    ids: HashSet<u64>,
}

impl<'a> Copy<'a> {
    fn of(
        from: &Path,
        plan: &Plan,
        folder: &Path,
        options: RecoverOptions,
        progress: &'a mut Progress<'a>,
    ) -> Result<Recovered> {
        let mut run = Run::begin(plan, progress)?;
        run.lenient = true;
        run.beyond = options.all;
        let id = run.store(from, plan)?;
        let drawn = id.is_none();
        let restorer = Restorer::make(folder, id)?;
        let done = Recovered {
            id: restorer.id()?,
            ..Recovered::default()
        };
        let mut copy = Copy {
            run,
            restorer,
            done,
            ids: HashSet::new(),
        };
        if drawn {
            let what = format!("the store's id is lost; the new one is {}", copy.done.id);
            copy.lost(&from.join(names::STORE_META), what);
        }
        let mut copied = Vec::new();
        for topic in &plan.topics {
            copied.extend(copy.topic(topic)?);
        }
        copy.transactions(from, &copied)?;
        // Once all dead letters are there.
        for Copied {
            plan, topic, logs, ..
        } in copied
        {
            for group in &plan.groups {
                copy.group(plan, group, &topic, &logs)?;
            }
        }
        copy.restorer.close()?;
        copy.done.source = copy.run.end()?;
        let cost = copy.done.source.damage.iter();
        let mut messages: Vec<Damage> = cost.filter(|one| one.lost.is_some()).cloned().collect();
        messages.append(&mut copy.done.losses);
        copy.done.losses = messages;
        Ok(copy.done)
    }

    /// Something other than messages is lost.
    fn lost(&mut self, file: &Path, what: String) {
        self.done.losses.push(Damage {
            file: file.to_owned(),
            position: 0,
            what,
            lost: None,
        });
    }
}
