//! The fields of `topic.meta`: what a topic is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::meta;
use crate::options::{Durability, OnLost, Retention, TopicConfig, TopicOptions};

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
    match config.retention {
        Retention::Settled => {}
        Retention::Forever => fields.push(("retention", "forever".to_owned())),
        Retention::Time(time) => fields.push(("retention", format!("ms {}", time.as_millis()))),
    }
    if config.retention_bytes > 0 {
        fields.push(("retention_bytes", config.retention_bytes.to_string()));
    }
    if config.on_lost == OnLost::DeadLetter {
        fields.push(("on_lost", "dead_letter".to_owned()));
    }
    meta::encode("topic", &fields)
}

/// What the fields say of retention; an earlier build, and one with the defaults, writes none.
fn retention_of(
    fields: &BTreeMap<String, String>,
) -> std::result::Result<(Retention, u64, OnLost), &'static str> {
    let get = |key: &str| fields.get(key).map(String::as_str);
    let retention = match get("retention") {
        None => Retention::Settled,
        Some("forever") => Retention::Forever,
        Some(other) => {
            let ms = other.strip_prefix("ms ").and_then(|n| n.parse().ok());
            Retention::Time(Duration::from_millis(ms.ok_or("retention")?))
        }
    };
    let bytes = match get("retention_bytes").map(str::parse) {
        None => 0,
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => return Err("retention_bytes"),
    };
    match get("on_lost") {
        None => Ok((retention, bytes, OnLost::Count)),
        Some("dead_letter") => Ok((retention, bytes, OnLost::DeadLetter)),
        Some(_) => Err("on_lost"),
    }
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
    let (retention, retention_bytes, on_lost) = retention_of(fields).map_err(bad)?;
    let options = TopicOptions {
        partitions: Some(partitions),
        durability,
        max_message_bytes: Some(most),
        retention: Some(retention),
        retention_bytes: Some(retention_bytes),
        on_lost: Some(on_lost),
    };
    options.check().map_err(|e| e.message().to_owned())?;
    let config = TopicConfig {
        partitions,
        durability,
        max_message_bytes: most,
        retention,
        retention_bytes,
        on_lost,
    };
    Ok((uid, config))
}
