//! Sets of offsets, as ranges.

use std::ops::Range;

/// Adds a range that begins at or behind the end of the last one.
pub(super) fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    if range.is_empty() {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

/// Whether an offset is in one of the ranges.
pub(super) fn contains(ranges: &[Range<u64>], offset: u64) -> bool {
    let behind = ranges.partition_point(|range| range.end <= offset);
    ranges
        .get(behind)
        .is_some_and(|range| range.contains(&offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut ranges = Vec::new();
        for range in [0..1, 1..2, 3..3, 5..9, 7..8] {
            add(&mut ranges, range);
        }
        assert_eq!(ranges, [0..2, 5..9]);
        let inside: Vec<u64> = (0..11).filter(|at| contains(&ranges, *at)).collect();
        assert_eq!(inside, [0, 1, 5, 6, 7, 8]);
    }
}
