//! The table of a run: one row a workload, its rate, and its ratio to a limit of the same run.

use std::borrow::Cow;
use std::time::Duration;

/// One line of the table.
pub(crate) struct Row {
    /// The workload, as in "one by one, 100 B".
    pub(crate) name: String,
    /// Who did it: "Rust", "Python", a peer.
    pub(crate) who: Cow<'static, str>,
    /// What was measured, in `unit`.
    pub(crate) value: f64,
    /// "messages/s" or "us".
    pub(crate) unit: &'static str,
    /// Time relative to the limit's time, and the limit's name; lower is better, 1 is the limit.
    pub(crate) ratio: Option<(f64, Cow<'static, str>)>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// What the hardware or the language gives.
    Limit,
    Libqueue,
    Peer,
    /// libqueue's rate to a peer's: higher is better.
    Against,
}

/// A row, where it belongs and what is to be known of it.
pub(crate) struct Entry {
    /// The part's name, as in `--only`.
    pub(crate) part: &'static str,
    pub(crate) kind: Kind,
    pub(crate) row: Row,
    /// Bytes of a message, where the row is about messages of one size.
    pub(crate) size: Option<usize>,
    /// What a message survives: "process" a kill, "sync" a power loss, "none" neither.
    pub(crate) durability: Option<String>,
    /// What a reader should know of it; of a row that failed why.
    pub(crate) note: Option<String>,
    /// It has no value, or one that does not count.
    pub(crate) failed: bool,
}

/// All lines.
#[derive(Default)]
pub(crate) struct Table {
    /// Name and title of each part, in the order in which they are shown.
    parts: Vec<(&'static str, &'static str)>,
    entries: Vec<Entry>,
}

impl Table {
    /// What is added from here on belongs to this part.
    pub(crate) fn part(&mut self, name: &'static str, title: &'static str) {
        if self.parts.last() != Some(&(name, title)) {
            self.parts.push((name, title));
            eprintln!("{name}: {title}");
        }
    }

    /// Adds a rate.
    pub(crate) fn rate(
        &mut self,
        name: impl Into<String>,
        who: &'static str,
        count: usize,
        took: Duration,
        limit: Option<(Duration, &'static str)>,
    ) {
        let ratio =
            limit.map(|(least, name)| (took.as_secs_f64() / least.as_secs_f64(), name.into()));
        self.push(Row {
            name: name.into(),
            who: who.into(),
            value: count as f64 / took.as_secs_f64(),
            unit: "messages/s",
            ratio,
        });
    }

    /// Adds any other line of libqueue's.
    pub(crate) fn push(&mut self, row: Row) {
        self.add(Kind::Libqueue, None, row);
    }

    /// Adds a line; what is returned may be told more.
    pub(crate) fn add(&mut self, kind: Kind, size: Option<usize>, row: Row) -> &mut Entry {
        let part = self.parts.last().map_or("", |(name, _)| *name);
        self.entries.push(Entry {
            part,
            kind,
            failed: !row.value.is_finite(),
            row,
            size,
            durability: None,
            note: None,
        });
        let last = self.entries.len() - 1;
        &mut self.entries[last]
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The title of a part.
    pub(crate) fn title(&self, part: &str) -> &'static str {
        let found = self.parts.iter().find(|(name, _)| *name == part);
        found.map_or("", |(_, title)| title)
    }

    /// The table for a person, part by part.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{:<46} {:<24} {:>14} {:<11} time / limit\n",
            "workload", "who", "value", "unit"
        );
        let mut part = "";
        for entry in &self.entries {
            if entry.part != part {
                part = entry.part;
                text += &format!("\n{}: {}\n", part, self.title(part));
            }
            text += line(entry).trim_end();
            text.push('\n');
        }
        text
    }
}

fn line(entry: &Entry) -> String {
    let row = &entry.row;
    let mut ends = Vec::new();
    if let Some((ratio, limit)) = &row.ratio {
        ends.push(format!("{ratio:.2} of {limit}"));
    }
    // Ours go without saying: W3 is synced, the others survive a kill.
    let theirs = matches!(entry.kind, Kind::Peer | Kind::Against);
    if let Some(durability) = entry.durability.as_ref().filter(|_| theirs) {
        ends.push(format!("[{durability}]"));
    }
    if let Some(note) = &entry.note {
        ends.push(format!("({note})"));
    }
    let (value, unit) = match entry.failed {
        true => ("failed".to_owned(), ""),
        false => (grouped(row.value), row.unit),
    };
    format!(
        "{:<46} {:<24} {value:>14} {unit:<11} {}",
        row.name,
        row.who,
        ends.join(" ")
    )
}

/// With commas between the thousands; small ones with what stands behind the point.
pub(crate) fn grouped(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Kind, Row, Table, grouped};

    fn row(who: &'static str, value: f64) -> Row {
        Row {
            name: "one by one, 100 B".into(),
            who: who.into(),
            value,
            unit: "messages/s",
            ratio: Some((1.25, "probe".into())),
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.8), "1,234,568");
        assert_eq!(grouped(999.96), "1000.0");
        assert_eq!(grouped(1.234), "1.23");
    }

    #[test]
    fn a_row_without_a_value_is_shown_as_failed() {
        let mut table = Table::default();
        table.part("w1", "send one by one");
        table.push(row("Rust", 2_000_000.0));
        table
            .add(Kind::Peer, Some(100), row("other", f64::NAN))
            .note = Some("why".into());
        table.part("w2", "send in batches");
        table.push(row("Rust", 3.0));
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "w1: send one by one");
        assert!(
            lines[3].ends_with("2,000,000 messages/s  1.25 of probe"),
            "{text}"
        );
        assert!(
            lines[4].contains("failed") && lines[4].ends_with("(why)"),
            "{text}"
        );
        assert_eq!(lines[6], "w2: send in batches");
    }
}
