//! Places of a log up to which was counted, as they stand in `control`: by the holder of the lock
//! of who counts.

use crate::error::Result;
use crate::format::control::flow as at;
use crate::format::record::OFFSET_MAX;
use crate::log::{Counted, Cursor, Partition};
use crate::shm::Region;

/// A place, and the sum of what stands before it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) cursor: Cursor,
    pub(super) sum: Counted,
}

/// Where a partition's end stands in the words of `flow`.
pub(super) fn end_at(partition: usize) -> usize {
    at::COUNTED + 2 * partition * at::COUNTED_WORDS
}

/// Where its beginning does.
pub(super) fn begin_at(partition: usize) -> usize {
    end_at(partition) + at::COUNTED_WORDS
}

/// A place that only goes forward, counted up to where it is now. One that is unknown, or behind
/// that, is counted from there to the end.
pub(super) fn count_place(
    log: &Partition,
    (region, at): (&Region, usize),
    era: u64,
    end: &Place,
    now: Cursor,
) -> Result<Place> {
    let mut place = match load_place(region, at, era, None) {
        Some(mut place) if place.cursor.offset <= now.offset => {
            place.sum = place.sum.plus(log.count(&mut place.cursor, now.offset)?);
            place
        }
        _ => {
            let mut cursor = now;
            log.resolve(&mut cursor)?;
            let begin = cursor;
            let behind = log.count(&mut cursor, end.cursor.offset)?;
            Place {
                cursor: begin,
                sum: Counted {
                    messages: end.sum.messages.wrapping_sub(behind.messages),
                    bytes: end.sum.bytes.wrapping_sub(behind.bytes),
                },
            }
        }
    };
    if now.segment != u64::MAX && place.cursor.offset <= now.offset {
        place.cursor = now;
    }
    store_place(region, at, era, &place, 0);
    Ok(place)
}

/// With the lock of who counts held. Words that anybody may have written: clamped (P18).
pub(super) fn load_place(
    region: &Region,
    at: usize,
    era: u64,
    losses: Option<u64>,
) -> Option<Place> {
    let word = |number: usize| region.get(at + number);
    if era == 0 || word(0) != era || losses.is_some_and(|losses| losses != word(6)) {
        return None;
    }
    let segment = word(1);
    Some(Place {
        cursor: Cursor::at_place(
            if segment > OFFSET_MAX {
                u64::MAX
            } else {
                segment
            },
            word(2),
            word(3).min(OFFSET_MAX),
        ),
        sum: Counted {
            messages: word(4),
            bytes: word(5),
        },
    })
}

/// None of it is good before the first word, which is taken away first: a death in between has it
/// counted anew.
pub(super) fn store_place(region: &Region, at: usize, era: u64, place: &Place, losses: u64) {
    region.store(at, 0, std::sync::atomic::Ordering::Release);
    let words = [
        place.cursor.segment,
        place.cursor.place(),
        place.cursor.offset,
        place.sum.messages,
        place.sum.bytes,
        losses,
    ];
    for (number, word) in words.into_iter().enumerate() {
        region.store(at + 1 + number, word, std::sync::atomic::Ordering::Release);
    }
    region.store(at, era, std::sync::atomic::Ordering::Release);
}
