//! Groups, to look at and to manage.

use std::ffi::{CString, c_char};
use std::sync::{Mutex, PoisonError};

use libqueue::{DeadLetter, Group, Result, Topic};

use crate::args::{Out, at_least_one, c_text, name as name_of};
use crate::convert::{from_group, group_options};
use crate::dead_letters::{self, lq_dead_letters};
use crate::error::lq_status;
use crate::handle::{Closing, Table, Tag};
use crate::measured::Room;
use crate::options::lq_group_options;
use crate::panic::call;
use crate::topic::{TOPICS, lq_topic};

/// A group, to look at and to manage; lq_consumer_open receives in its name.
///
/// Lifetime: from lq_group_open or lq_group_create to lq_group_close, within that of its store; the
/// topic's handle may be closed earlier. Threads: any, several at once.
pub struct lq_group(());

/// What a handle of a group holds.
pub(crate) struct GroupHandle {
    pub(crate) group: Group,
    name: CString,
    /// The texts of its configuration that were asked for, also from before they were changed.
    texts: Mutex<Vec<CString>>,
}

impl GroupHandle {
    /// The name of the topic of dead letters, which stays valid for as long as the handle is open;
    /// NULL where they are dropped.
    fn dead_letter_topic(&self) -> *const c_char {
        self.kept(self.group.dead_letter_topic())
    }

    /// The text, which stays valid for as long as the handle is open; NULL for none.
    fn kept(&self, text: Option<String>) -> *const c_char {
        let Some(text) = text.map(c_text) else {
            return std::ptr::null();
        };
        let mut known = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| **known == text) {
            return same.as_ptr();
        }
        // The text itself does not move when the list grows.
        known.push(text);
        known.last().map_or(std::ptr::null(), |text| text.as_ptr())
    }
}

pub(crate) static GROUPS: Table<GroupHandle> = Table::new("lq_group", Tag::Group);

/// # Safety
/// `name` and `group` as C promises them in the header.
unsafe fn open(
    topic: *mut lq_topic,
    name: *const c_char,
    group: *mut *mut lq_group,
    opening: impl FnOnce(&Topic, &str) -> Result<Group>,
) -> Result<()> {
    // SAFETY: the caller gives room for a handle.
    let out = unsafe { Out::new(group, "group") }?;
    let topic = TOPICS.enter(topic)?;
    // SAFETY: the caller keeps its name, a C string, valid during the call.
    let group = opening(&topic.topic, unsafe { name_of(name, "the group's name") }?)?;
    out.set(GROUPS.open(GroupHandle {
        name: c_text(group.name()),
        texts: Mutex::default(),
        group,
    })?);
    Ok(())
}

/// Opens a group that must exist.
///
/// topic: the topic.
/// name: the group's name.
/// group: gets the handle.
///
/// Returns: LQ_OK; LQ_NOT_FOUND; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open topic);
/// LQ_READ_ONLY (in a store that is only read), LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_TOO_MANY, LQ_STUCK,
/// LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_group_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_open(
    topic: *mut lq_topic,
    name: *const c_char,
    group: *mut *mut lq_group,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe { open(topic, name, group, Topic::group) })
}

/// Opens a group, and creates it where there is none: durably, before the call returns. From then
/// on the topic keeps its messages until this group has settled them.
///
/// topic: the topic.
/// name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
/// options: NULL takes what is stored, or the defaults.
/// group: gets the handle.
///
/// Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options; a start at
/// an offset where the topic has several partitions); LQ_INVALID_FILTER (the filter does not
/// parse); LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY; LQ_DISK_FULL,
/// LQ_PERMISSION_DENIED, LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_TOO_MANY, LQ_STUCK, LQ_UNSUPPORTED,
/// LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: close the handle with lq_group_close.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_create(
    topic: *mut lq_topic,
    name: *const c_char,
    options: *const lq_group_options,
    group: *mut *mut lq_group,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe {
        let options = group_options(options)?;
        open(topic, name, group, |topic, name| {
            topic.create_group(name, &options)
        })
    })
}

/// Closes a group's handle. The group itself and its consumers stay.
///
/// group: the group; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no group); LQ_INTERNAL.
/// Memory: the handle is no longer valid.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_close(group: *mut lq_group) -> lq_status {
    call(|| GROUPS.close(group, |_| Closing::Done(Ok(()))))
}

/// The group's name.
///
/// group: the group.
/// name: gets the name.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_INTERNAL.
/// Memory: the text belongs to the group's handle; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_name(
    group: *mut lq_group,
    name: *mut *const c_char,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(name, "name") }?;
        out.set(GROUPS.enter(group)?.name.as_ptr());
        Ok(())
    })
}

/// The configuration that is stored for the group, as options that agree with it.
///
/// group: the group.
/// config: gets it; begin with LQ_GROUP_OPTIONS_INIT. Its start is left out: it is not kept. Its
/// filter is NULL where the group takes all messages.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, a wrong size); LQ_INTERNAL.
/// Memory: the texts in it belong to the group's handle; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_config(
    group: *mut lq_group,
    config: *mut lq_group_options,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives a struct as long as its size says.
        let room = unsafe { Room::new(config) }?;
        let group = GROUPS.enter(group)?;
        let stored = group.group.config();
        let mut found = from_group(&stored);
        if let DeadLetter::Topic(_) = &stored.dead_letter_topic {
            found.dead_letter_topic = group.dead_letter_topic();
        }
        found.filter = group.kept(stored.filter.map(|filter| filter.to_string()));
        room.set(found);
        Ok(())
    })
}

/// The name of the topic that the group's dead letters go to.
///
/// group: the group.
/// name: gets the name, or NULL where they are dropped. The topic is created with the first of
/// them.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_INTERNAL.
/// Memory: the text belongs to the group's handle; valid until it is closed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_dead_letter_topic(
    group: *mut lq_group,
    name: *mut *const c_char,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for an address.
        let out = unsafe { Out::new(name, "name") }?;
        out.set(GROUPS.enter(group)?.dead_letter_topic());
        Ok(())
    })
}

/// The group's dead letters, oldest first.
///
/// group: the group.
/// max: how many at most; 1 or more.
/// list: gets the list; an empty one where there are none, and where they are dropped.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, max is 0); LQ_DAMAGED, LQ_CLOSED,
/// LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free the list with lq_dead_letters_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_dead_letters(
    group: *mut lq_group,
    max: usize,
    list: *mut *mut lq_dead_letters,
) -> lq_status {
    call(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { Out::new(list, "list") }?;
        let group = GROUPS.enter(group)?;
        let found = group.group.dead_letters(at_least_one(max)?)?;
        out.set(dead_letters::list(found)?);
        Ok(())
    })
}
