//! The day of a run, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 3600;

/// As in 2026-01-31.
pub(crate) fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    name_of(since.map_or(0, |since| since.as_secs() / DAY))
}

/// The day so many days after 1970-01-01.
fn name_of(days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn days_have_names() {
        assert_eq!(name_of(0), "1970-01-01");
        assert_eq!(name_of(11_016), "2000-02-29");
        assert_eq!(name_of(11_017), "2000-03-01");
        assert_eq!(name_of(20_453), "2025-12-31");
        assert_eq!(name_of(20_454), "2026-01-01");
    }
}
