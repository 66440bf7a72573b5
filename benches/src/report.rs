//! The table of a run: one row a workload, its rate, and its ratio to a limit of the same run.

use std::time::Duration;

/// One line of the table.
pub(crate) struct Row {
    /// The workload, as in "append one by one, 100 B".
    pub(crate) name: String,
    /// Who did it: "Rust", "Python".
    pub(crate) who: &'static str,
    /// What was measured, in `unit`.
    pub(crate) value: f64,
    /// "messages/s" or "us".
    pub(crate) unit: &'static str,
    /// Time relative to the limit's time, and the limit's name; lower is better, 1 is the limit.
    pub(crate) ratio: Option<(f64, &'static str)>,
}

/// All lines.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a rate.
    pub(crate) fn rate(
        &mut self,
        name: impl Into<String>,
        who: &'static str,
        count: usize,
        took: Duration,
        limit: Option<(Duration, &'static str)>,
    ) {
        let value = count as f64 / took.as_secs_f64();
        let ratio = limit.map(|(least, name)| (took.as_secs_f64() / least.as_secs_f64(), name));
        self.rows.push(Row {
            name: name.into(),
            who,
            value,
            unit: "messages/s",
            ratio,
        });
    }

    /// Adds any other line.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the table for a person.
    pub(crate) fn print(&self) {
        println!(
            "{:<44} {:<7} {:>14} {:<11} time / limit",
            "workload", "who", "value", "unit"
        );
        for row in &self.rows {
            let ratio = row.ratio.map_or(String::new(), |(ratio, limit)| {
                format!("{ratio:.2} of {limit}")
            });
            let value = if row.value < 1000.0 {
                format!("{:.1}", row.value)
            } else {
                grouped(row.value)
            };
            println!(
                "{:<44} {:<7} {value:>14} {:<11} {ratio}",
                row.name, row.who, row.unit
            );
        }
    }

    /// The table for a program: a list of objects.
    pub(crate) fn to_json(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                let ratio = row
                    .ratio
                    .map_or("null, \"limit\": null".into(), |(ratio, limit)| {
                        format!("{ratio:.4}, \"limit\": \"{limit}\"")
                    });
                format!(
                    "  {{\"workload\": \"{}\", \"who\": \"{}\", \"value\": {:.3}, \
                     \"unit\": \"{}\", \"ratio\": {ratio}}}",
                    row.name, row.who, row.value, row.unit
                )
            })
            .collect();
        format!("[\n{}\n]\n", rows.join(",\n"))
    }
}

fn grouped(value: f64) -> String {
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
