//! The table for a program.

use serde_json::{Value, json};

use super::table::Kind;
use super::{Entry, Machine, Table};

/// Everything about a run: when, where, of what versions, and its rows.
pub(crate) fn json(table: &Table, machine: &Machine, short: bool) -> String {
    let rows: Vec<Value> = table.entries().iter().map(|one| row(table, one)).collect();
    let run = json!({
        "date": machine.date,
        "machine": {
            "name": machine.name(),
            "cpu": machine.cpu,
            "cores": machine.cores,
            "kernel": machine.kernel,
            "memory_bytes": machine.memory,
            "file_system": machine.file_system,
        },
        "versions": machine.versions,
        "short": short,
        "rows": rows,
    });
    format!("{run:#}\n")
}

fn row(table: &Table, entry: &Entry) -> Value {
    let ratio = entry.row.ratio.as_ref();
    let kind = match entry.kind {
        Kind::Limit => "limit",
        Kind::Libqueue => "libqueue",
        Kind::Peer => "peer",
        Kind::Against => "against",
    };
    // What is no number is null in JSON.
    json!({
        "part": entry.part,
        "title": table.title(entry.part),
        "workload": entry.row.name,
        "kind": kind,
        "who": entry.row.who,
        "size": entry.size,
        "value": rounded(entry.row.value),
        "unit": entry.row.unit,
        "ratio": ratio.map(|(ratio, _)| rounded(*ratio)),
        "limit": ratio.map(|(_, limit)| limit.as_ref()),
        "durability": entry.durability,
        "note": entry.note,
        "failed": entry.failed,
    })
}

/// Four digits behind the point are more than any of it means.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Machine, Table, json};
    use crate::report::{Kind, Row};

    #[test]
    fn a_run_is_json() {
        let mut table = Table::default();
        table.part("w1", "send one by one");
        for value in [12.0, f64::NAN] {
            let row = Row {
                name: "one \"by\" one".into(),
                who: "Rust".into(),
                value,
                unit: "messages/s",
                ratio: Some((1.23456, "probe".into())),
            };
            table.add(Kind::Libqueue, Some(100), row);
        }
        let text = json(&table, &Machine::default(), true);
        let run: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(run["short"], true);
        let rows = run["rows"].as_array().expect("rows");
        assert_eq!(rows[0]["workload"], "one \"by\" one");
        assert_eq!(rows[0]["ratio"], 1.2346);
        assert_eq!(rows[0]["value"], 12.0);
        assert_eq!(
            (&rows[1]["value"], &rows[1]["failed"]),
            (&Value::Null, &true.into())
        );
    }
}
