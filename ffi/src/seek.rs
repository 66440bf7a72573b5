//! Seeking a group, and what a seek would do.

use std::ffi::c_char;

use libqueue::{Result, SeekPlan, SeekTo};

use crate::args::{Out, invalid, name};
use crate::convert::start;
use crate::error::lq_status;
use crate::group::{GROUPS, GroupHandle, lq_group};
use crate::handle::{Closing, Table, Tag};
use crate::measured::{Measured, read};
use crate::options::LQ_START_DEFAULT;
use crate::panic::{call, value};

/// Where to set a group. Begin with LQ_SEEK_OPTIONS_INIT, and say where: a start, or a snapshot.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_seek_options {
    /// sizeof(lq_seek_options).
    pub size: usize,
    /// One of LQ_START_EARLIEST, LQ_START_LATEST, LQ_START_OFFSET, LQ_START_TIME;
    /// LQ_START_DEFAULT with a snapshot.
    pub start: i32,
    /// With LQ_START_OFFSET the offset (of one partition), with LQ_START_TIME nanoseconds since the
    /// Unix epoch: the first message that was appended then or later; else 0.
    pub start_at: i64,
    /// Name of a snapshot, read during the call only. NULL: none.
    pub snapshot: *const c_char,
    /// The partition. -1: all.
    pub partition: i64,
}

// SAFETY: repr(C), begins with its size; numbers and pointers may hold any bytes.
unsafe impl Measured for lq_seek_options {
    const NAME: &'static str = "lq_seek_options";
    const INIT: Self = Self {
        size: size_of::<Self>(),
        start: LQ_START_DEFAULT,
        start_at: 0,
        snapshot: std::ptr::null(),
        partition: -1,
    };
}

/// What a seek does to one partition of a group. Messages are counted by their offsets. It belongs
/// to its plan.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lq_seek_partition {
    /// The partition.
    pub partition: u32,
    /// The first offset that the group has not settled.
    pub position: u64,
    /// The first one that it has not settled afterwards.
    pub target: u64,
    /// Messages that it had settled, and gets again.
    pub again: u64,
    /// Messages that it had not settled, and does not get any more.
    pub passed_over: u64,
    /// Leases that become stale.
    pub stale_leases: u64,
    /// Messages that it would get, but that the log does not have any more.
    pub gone: u64,
}

/// What a seek does, for each partition that is sought. Threads: any, several at once; none while
/// or after it is freed.
pub struct lq_seek_plan(());

static PLANS: Table<Vec<lq_seek_partition>> = Table::new("lq_seek_plan", Tag::SeekPlan);

fn plan_of(plan: &SeekPlan) -> Result<*mut lq_seek_plan> {
    let partitions = plan.partitions.iter().map(|one| lq_seek_partition {
        partition: one.partition,
        position: one.position,
        target: one.target,
        again: one.again,
        passed_over: one.passed_over,
        stale_leases: one.stale_leases,
        gone: one.gone,
    });
    PLANS.open(partitions.collect())
}

/// # Safety
/// `options` and `plan` as C promises them in the header.
unsafe fn sought(
    group: *mut lq_group,
    options: *const lq_seek_options,
    plan: *mut *mut lq_seek_plan,
    work: impl FnOnce(&GroupHandle, SeekTo<'_>, Option<u32>) -> Result<SeekPlan>,
) -> Result<()> {
    let group = GROUPS.enter(group)?;
    let out = match plan.is_null() {
        true => None,
        // SAFETY: the caller gives room for a handle.
        false => Some(unsafe { Out::new(plan, "plan") }?),
    };
    // SAFETY: the caller keeps its options, and what they point to, valid during the call.
    let given = unsafe { read(options) }?;
    let partition = match given.partition {
        -1 => None,
        number => Some(u32::try_from(number).map_err(|_| {
            invalid(format!(
                "partition is {number}; expected a partition, or -1 for all"
            ))
        })?),
    };
    let to = match (given.start, given.snapshot.is_null()) {
        (LQ_START_DEFAULT, true) => {
            return Err(invalid(
                "neither start nor snapshot says where to; expected one of LQ_START_EARLIEST, \
                 LQ_START_LATEST, LQ_START_OFFSET, LQ_START_TIME, or the name of a snapshot",
            ));
        }
        (LQ_START_DEFAULT, false) => {
            start(given.start, given.start_at)?;
            // SAFETY: as above.
            SeekTo::Snapshot(unsafe { name(given.snapshot, "snapshot") }?)
        }
        (number, true) => start(number, given.start_at)?.into(),
        (number, false) => {
            return Err(invalid(format!(
                "start is {number}, and snapshot is given as well; expected one of them"
            )));
        }
    };
    let done = work(&group, to, partition)?;
    if let Some(out) = out {
        out.set(plan_of(&done)?);
    }
    Ok(())
}

/// Sets a group to a place in the log or to a snapshot, in all partitions or in one, while its
/// consumers are at work. What is before the place counts as settled, what is behind it comes, with
/// no attempts and no failures; to a snapshot, what was settled then counts as settled, and all
/// else comes with the attempts and failures that it had. Durable, and in force in all processes,
/// before the call returns; those that wait are woken. Leases from before are stale: to settle one
/// is LQ_STALE_RECEIPT. Dead letters stay, and what was redriven keeps its leases; a dead letter
/// that holds its key is a message like any other.
///
/// group: the group.
/// options: where to.
/// plan: gets what the seek does, as it was counted a moment before; NULL if that is of no
/// interest.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open group, NULL options, nothing or two things that say
/// where to, an offset behind the end, or without a partition where there are several); LQ_REMOVED
/// (an offset that retention took); LQ_INVALID_NAME (of a snapshot); LQ_NOT_FOUND (no such
/// snapshot, or the group was deleted); LQ_BUSY (what failed for the last time would be passed
/// over, and is no dead letter yet); LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED: the group is
/// where it was. After LQ_DAMAGED (the snapshot, or a window), LQ_DISK_FULL, LQ_STUCK, LQ_TOO_MANY,
/// LQ_IO or LQ_INTERNAL it may have been sought: call it again.
/// Memory: free the plan with lq_seek_plan_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_seek(
    group: *mut lq_group,
    options: *const lq_seek_options,
    plan: *mut *mut lq_seek_plan,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe {
        sought(group, options, plan, |group, to, partition| {
            group.group.seek(to, partition)
        })
    })
}

/// What lq_group_seek would do now, which is not done.
///
/// group: the group.
/// options: where to.
/// plan: gets what the seek would do.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (as lq_group_seek, and a plan that is NULL); LQ_REMOVED (an
/// offset that retention took); LQ_INVALID_NAME (of a snapshot); LQ_NOT_FOUND (no such snapshot, or
/// the group was deleted); LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
/// Memory: free the plan with lq_seek_plan_free.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_group_preview_seek(
    group: *mut lq_group,
    options: *const lq_seek_options,
    plan: *mut *mut lq_seek_plan,
) -> lq_status {
    // SAFETY: the caller keeps its arguments valid during the call.
    call(|| unsafe {
        Out::new(plan, "plan")?;
        sought(group, options, plan, |group, to, partition| {
            group.group.preview_seek(to, partition)
        })
    })
}

/// How many partitions a plan is about.
///
/// plan: the plan.
///
/// Returns: the number; 0 for NULL and for a plan that was freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_seek_plan_len(plan: *const lq_seek_plan) -> usize {
    value(0, || Ok(PLANS.enter(plan)?.len()))
}

/// What a plan says of a partition.
///
/// plan: the plan.
/// i: its place, from 0.
///
/// Returns: what becomes of it; NULL where there is none at i, and for a plan that is NULL or
/// freed, with the reason in lq_last_error_message.
/// Memory: belongs to the plan; valid until it is freed.
/// Threads: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_seek_plan_get(
    plan: *const lq_seek_plan,
    i: usize,
) -> *const lq_seek_partition {
    value(std::ptr::null(), || {
        let plan = PLANS.enter(plan)?;
        let count = plan.len();
        let one = plan.get(i).ok_or_else(|| {
            invalid(format!(
                "i is {i}; expected below {count}, the length of the plan"
            ))
        })?;
        Ok(std::ptr::from_ref(one))
    })
}

/// Frees a plan.
///
/// plan: the plan; NULL is fine.
///
/// Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no plan); LQ_INTERNAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lq_seek_plan_free(plan: *mut lq_seek_plan) -> lq_status {
    call(|| PLANS.close(plan, |_| Closing::Done(Ok(()))))
}
