//! What a message carries, what came of the messages, and how long they took.

use rustix::time::{ClockId, clock_gettime};

/// The shortest message: its number and its time of sending, eight bytes each.
pub(crate) const LEAST: usize = 16;
/// The parts of the messages whose latency is told.
const PARTS: [(&str, f64); 4] = [
    ("p50", 0.5),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

/// Nanoseconds of the clock that all processes share.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Writes number and time over the head of a message.
pub(crate) fn stamp(payload: &mut [u8], number: u64, sent: u64) {
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..LEAST].copy_from_slice(&sent.to_le_bytes());
}

/// Number and time of a message; none if it is too short to be one.
pub(crate) fn read(payload: &[u8]) -> Option<(u64, u64)> {
    let number = payload.get(..8)?.try_into().ok()?;
    let sent = payload.get(8..LEAST)?.try_into().ok()?;
    Some((u64::from_le_bytes(number), u64::from_le_bytes(sent)))
}

/// How many messages, and the sum of their numbers: it tells a message that came twice from one
/// that came once, where another one is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
    }

    pub(crate) fn join(&mut self, other: Tally) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Of the messages that are numbered from 0 on.
    pub(crate) fn of_first(count: u64) -> Tally {
        let mut all = Tally::default();
        (0..count).for_each(|number| all.add(number));
        all
    }
}

/// Why what came is not what was sent, each message once; none if it is.
pub(crate) fn difference(sent: Tally, came: Tally) -> Option<String> {
    if came.count != sent.count {
        return Some(format!(
            "{} messages came of {} that were sent",
            came.count, sent.count
        ));
    }
    (came.sum != sent.sum).then(|| {
        format!(
            "as many messages came as were sent, {}, but not the same: their numbers add up to {} \
             and not to {}",
            sent.count, came.sum, sent.sum
        )
    })
}

/// Latencies at the parts of `PARTS`; the slice is sorted by it.
pub(crate) fn percentiles(waits: &mut [u64]) -> Option<[u64; PARTS.len()]> {
    waits.sort_unstable();
    let most = waits.len().checked_sub(1)?;
    Some(PARTS.map(|(_, part)| waits[((waits.len() as f64 * part) as usize).min(most)]))
}

/// Latencies as JSON.
pub(crate) fn latencies(values: Option<[u64; PARTS.len()]>) -> String {
    let Some(values) = values else {
        return "null".to_owned();
    };
    let each = PARTS.iter().zip(values);
    let members: Vec<String> = each
        .map(|((name, _), ns)| format!("\"{name}\": {ns}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(numbers: &[u64]) -> Tally {
        let mut tally = Tally::default();
        numbers.iter().for_each(|number| tally.add(*number));
        tally
    }

    #[test]
    fn each_message_once_is_accepted_in_any_order_and_from_any_number_of_consumers() {
        let sent = Tally::of_first(5);
        assert_eq!(difference(sent, came(&[4, 1, 0, 3, 2])), None);
        let mut both = came(&[0, 3]);
        both.join(came(&[1, 2, 4]));
        assert_eq!(difference(sent, both), None);
    }

    #[test]
    fn a_lost_message_is_rejected() {
        let why = difference(Tally::of_first(5), came(&[0, 1, 3, 4])).expect("one is missing");
        assert!(why.contains("4 messages came of 5"), "{why}");
        let first = difference(Tally::of_first(5), came(&[1, 2, 3, 4]));
        assert!(first.is_some(), "the number 0 adds nothing to the sum");
    }

    #[test]
    fn a_doubled_message_is_rejected() {
        let why = difference(Tally::of_first(5), came(&[0, 1, 2, 2, 3, 4])).expect("one too many");
        assert!(why.contains("6 messages came of 5"), "{why}");
        let why = difference(Tally::of_first(5), came(&[0, 1, 2, 2, 4])).expect("not the same");
        assert!(why.contains("not the same"), "{why}");
    }

    #[test]
    fn sums_wrap() {
        let mut tally = came(&[u64::MAX]);
        tally.add(2);
        assert_eq!(tally, Tally { count: 2, sum: 1 });
    }

    #[test]
    fn percentiles_are_of_the_sorted_waits() {
        let mut waits: Vec<u64> = (1..=10_000).rev().collect();
        assert_eq!(percentiles(&mut waits), Some([5001, 9901, 9991, 10_000]));
        assert_eq!(percentiles(&mut [7]), Some([7; 4]));
        assert_eq!(percentiles(&mut []), None);
        assert_eq!(latencies(None), "null");
        assert_eq!(
            latencies(Some([1, 2, 3, 4])),
            r#"{"p50": 1, "p99": 2, "p999": 3, "p9999": 4}"#
        );
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut payload = [b'x'; 20];
        stamp(&mut payload, 7, 9);
        assert_eq!(read(&payload), Some((7, 9)));
        assert_eq!(payload[16..], [b'x'; 4]);
        assert_eq!(read(&payload[..15]), None);
    }
}
