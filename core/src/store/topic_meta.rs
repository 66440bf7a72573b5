//! The fields of `topic.meta`: what a topic is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::meta;
use crate::options::{DedupWindow, Durability, TopicConfig, TopicOptions};

/// The text of `topic.meta`.
pub(super) fn write(uid: u64, config: &TopicConfig) -> String {
    let durability = match config.durability {
        None => "store".to_owned(),
        Some(Durability::Process) => "process".to_owned(),
        Some(Durability::Sync) => "sync".to_owned(),
        Some(Durability::Interval(every)) => format!("interval {}", every.as_micros()),
    };
    let mut fields = vec![
        ("id", format!("{uid:016x}")),
        ("partitions", config.partitions.to_string()),
        ("max_message_bytes", config.max_message_bytes.to_string()),
        ("durability", durability),
    ];
    match config.dedup_window {
        DedupWindow::Off => {}
        DedupWindow::UntilSettled => fields.push(("dedup_window", "until_settled".to_owned())),
        DedupWindow::Time(time) => fields.push(("dedup_window", time.as_micros().to_string())),
    }
    meta::encode("topic", &fields)
}

/// Id and configuration, or what is wrong with the fields.
pub(crate) fn parse(
    fields: &BTreeMap<String, String>,
) -> std::result::Result<(u64, TopicConfig), String> {
    let get = |key: &str| {
        let found = fields.get(key).map(String::as_str);
        found.ok_or_else(|| format!("it has no {key}"))
    };
    let bad = |key: &str| format!("its {key} is not a number in range");
    let uid = u64::from_str_radix(get("id")?, 16).map_err(|_| bad("id"))?;
    let partitions = get("partitions")?.parse().map_err(|_| bad("partitions"))?;
    let most = get("max_message_bytes")?
        .parse()
        .map_err(|_| bad("max_message_bytes"))?;
    let durability = match get("durability")? {
        "store" => None,
        "process" => Some(Durability::Process),
        "sync" => Some(Durability::Sync),
        other => {
            let micros = other.strip_prefix("interval ").and_then(|n| n.parse().ok());
            let micros = micros.ok_or_else(|| bad("durability"))?;
            Some(Durability::Interval(Duration::from_micros(micros)))
        }
    };
    let dedup_window = match fields.get("dedup_window").map(String::as_str) {
        None => DedupWindow::Off,
        Some("until_settled") => DedupWindow::UntilSettled,
        Some(micros) => {
            let micros = micros.parse().map_err(|_| bad("dedup_window"))?;
            DedupWindow::Time(Duration::from_micros(micros))
        }
    };
    let options = TopicOptions {
        partitions: Some(partitions),
        durability,
        max_message_bytes: Some(most),
        dedup_window: Some(dedup_window),
    };
    options.check().map_err(|e| e.message().to_owned())?;
    let config = TopicConfig {
        partitions,
        durability,
        max_message_bytes: most,
        dedup_window,
    };
    Ok((uid, config))
}
