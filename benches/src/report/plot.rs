//! The ratios of a run as a plot: bars on a logarithmic scale, the limit a line at 1.

use std::fmt::Write;

use super::table::grouped;
use super::{Entry, Kind, Machine, Table};
use crate::Outcome;

/// What is shown: the sizes that figures are named for, and rows without a size.
const SIZES: [Option<usize>; 3] = [None, Some(100), Some(1024)];
const LEFT: f64 = 400.0;
const WIDTH: f64 = 520.0;
const LINE: f64 = 17.0;

/// One panel: what it is called, whose rows it has, and from where to where its scale goes.
struct Panel<'a> {
    title: &'a str,
    rows: Vec<(&'a Entry, f64)>,
    range: (f64, f64),
}

/// Time over limit of each of libqueue's rows, and below it the rate over the best peer's.
pub(crate) fn svg(table: &Table, machine: &Machine) -> Outcome<String> {
    let of = |kind: Kind, value: fn(&Entry) -> Option<f64>| -> Vec<(&Entry, f64)> {
        let shown = table.entries().iter().filter(|one| {
            // The workloads, as the other parts have their own base each; and of the times on the
            // way those that figures are named for.
            let work = one.part.starts_with('w') || one.part == "latency";
            let named = SIZES.contains(&one.size) && !one.row.name.contains("p99.9");
            one.kind == kind && work && named
        });
        let valued = shown.filter_map(|one| Some((one, value(one)?)));
        valued
            .filter(|(_, value)| value.is_finite() && *value > 0.0)
            .collect()
    };
    let panels = [
        Panel {
            title: "time / limit of the same run (1 is the limit, shorter is better)",
            rows: of(Kind::Libqueue, |one| {
                one.row.ratio.as_ref().map(|(ratio, _)| *ratio)
            }),
            range: (0.1, 10.0),
        },
        Panel {
            title: "rate / best peer of the same durability and language (longer is better)",
            rows: of(Kind::Against, |one| Some(one.row.value)),
            range: (0.1, 1000.0),
        },
    ];
    let height = panels.iter().map(Panel::height).sum::<f64>() + 40.0;
    let mut text = String::new();
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"1000\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\" fill=\"#666\">{}</text>",
        escaped(&machine.text())
    )?;
    let mut top = 36.0;
    for panel in panels.iter().filter(|panel| !panel.rows.is_empty()) {
        panel.draw(top, &mut text)?;
        top += panel.height();
    }
    text.push_str("</svg>\n");
    Ok(text)
}

impl Panel<'_> {
    fn height(&self) -> f64 {
        match self.rows.len() {
            0 => 0.0,
            rows => rows as f64 * LINE + 60.0,
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (least, most) = self.range;
        let part = (value.clamp(least, most) / least).log10() / (most / least).log10();
        LEFT + part * WIDTH
    }

    fn draw(&self, top: f64, text: &mut String) -> Outcome<()> {
        let bottom = top + 24.0 + self.rows.len() as f64 * LINE;
        writeln!(
            text,
            "<text x=\"10\" y=\"{:.0}\" font-weight=\"bold\">{}</text>",
            top + 14.0,
            escaped(self.title)
        )?;
        let mut mark = self.range.0;
        while mark <= self.range.1 * 1.01 {
            let (x, colour) = (self.x(mark), if mark == 1.0 { "black" } else { "#ccc" });
            writeln!(
                text,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{bottom:.0}\" \
                 stroke=\"{colour}\"/>\n<text x=\"{x:.1}\" y=\"{:.0}\" fill=\"#666\" \
                 text-anchor=\"middle\">{mark}</text>",
                top + 20.0,
                bottom + 14.0
            )?;
            // Not a sum of tenths: the line at 1 is to be exactly there.
            mark = (mark * 100.0).round() / 10.0;
        }
        for (number, (entry, value)) in self.rows.iter().enumerate() {
            let y = top + 24.0 + number as f64 * LINE;
            let (from, to) = (
                self.x(1.0).min(self.x(*value)),
                self.x(1.0).max(self.x(*value)),
            );
            writeln!(
                text,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
                 <rect x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\" \
                 fill=\"{}\"/>\n<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                LEFT - 8.0,
                y + 12.0,
                escaped(&format!(
                    "{} {}: {}",
                    entry.part, entry.row.name, entry.row.who
                )),
                y + 3.0,
                (to - from).max(1.0),
                LINE - 5.0,
                colour(&entry.row.who),
                to + 5.0,
                y + 12.0,
                grouped(*value)
            )?;
        }
        Ok(())
    }
}

fn colour(who: &str) -> &'static str {
    match who {
        who if who.starts_with("Rust") => "#b5522b",
        who if who.starts_with("Python") => "#3f7d3a",
        _ => "#1f6f8b",
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Machine, Table, svg};
    use crate::report::{Kind, Row};

    #[test]
    fn ratios_are_bars_and_names_are_escaped() {
        let mut table = Table::default();
        table.part("w1", "send one by one");
        let row = |value, ratio| Row {
            name: "a < b & c".into(),
            who: "Rust".into(),
            value,
            unit: "messages/s",
            ratio,
        };
        let limit = || Some((2.0, "probe".into()));
        table.add(Kind::Libqueue, Some(100), row(5.0, limit()));
        table.add(Kind::Libqueue, Some(64), row(5.0, limit()));
        table.add(Kind::Against, Some(100), row(f64::NAN, None));
        let bars = |text: &str| text.matches("fill=\"#b5522b\"").count();
        let text = svg(&table, &Machine::default()).expect("a plot");
        assert_eq!(bars(&text), 1, "{text}");
        assert!(text.contains("a &lt; b &amp; c: Rust") && !text.contains("best peer"));
        table.add(Kind::Against, Some(100), row(8.0, None));
        let text = svg(&table, &Machine::default()).expect("a plot");
        assert!(bars(&text) == 2 && text.contains("best peer"));
        assert!(
            text.contains(">1</text>"),
            "the limit's line is marked: {text}"
        );
    }
}
