//! The fields of `topic.meta`: what a topic is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::meta;
use crate::options::{
    DedupWindow, Durability, OnFull, OnLost, Retention, TOMBSTONE_GRACE_DEFAULT, TopicConfig,
    TopicOptions,
};

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
    fields.extend(limits(config));
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
    if config.compaction {
        fields.push(("compaction", "yes".to_owned()));
    }
    if config.tombstone_grace != TOMBSTONE_GRACE_DEFAULT {
        let ms = config.tombstone_grace.as_millis();
        fields.push(("tombstone_grace_ms", ms.to_string()));
    }
    match config.dedup_window {
        DedupWindow::Off => {}
        DedupWindow::UntilSettled => fields.push(("dedup_window", "until_settled".to_owned())),
        DedupWindow::Time(time) => fields.push(("dedup_window", time.as_micros().to_string())),
    }
    meta::encode("topic", &fields)
}

/// The fields of what is limited; what is as by default has none.
fn limits(config: &TopicConfig) -> Vec<(&'static str, String)> {
    let plain = TopicConfig::from_options(&TopicOptions::default());
    let mut fields = Vec::new();
    let mut add = |name, value: u64, default| {
        if value != default {
            fields.push((name, value.to_string()));
        }
    };
    add("max_messages", config.max_messages.unwrap_or(0), 0);
    add("max_bytes", config.max_bytes.unwrap_or(0), 0);
    add("low_mark", config.low_mark.into(), plain.low_mark.into());
    add("high_mark", config.high_mark.into(), plain.high_mark.into());
    add("min_free_bytes", config.min_free_bytes, 0);
    if let Some(timeout) = config.send_timeout {
        fields.push(("send_timeout", timeout.as_micros().to_string()));
    }
    if config.on_full != plain.on_full {
        fields.push(("on_full", config.on_full.name().to_owned()));
    }
    fields
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

/// Whether the fields say that the topic is compacted; earlier builds wrote none.
fn compaction_of(fields: &BTreeMap<String, String>) -> std::result::Result<bool, &'static str> {
    match fields.get("compaction").map(String::as_str) {
        None => Ok(false),
        Some("yes") => Ok(true),
        Some(_) => Err("compaction"),
    }
}

/// How long tombstones are kept, where that is not as by default.
fn grace_of(
    fields: &BTreeMap<String, String>,
) -> std::result::Result<Option<Duration>, &'static str> {
    let parsed = fields.get("tombstone_grace_ms").map(|ms| ms.parse());
    let ms = parsed.transpose().map_err(|_| "tombstone_grace_ms")?;
    Ok(ms.map(Duration::from_millis))
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
    let (retention, retention_bytes, on_lost) = retention_of(fields).map_err(bad)?;
    let mut options = TopicOptions {
        partitions: Some(partitions),
        durability,
        max_message_bytes: Some(most),
        retention: Some(retention),
        retention_bytes: Some(retention_bytes),
        on_lost: Some(on_lost),
        dedup_window: Some(dedup_window),
        compaction: Some(compaction_of(fields).map_err(bad)?),
        tombstone_grace: grace_of(fields).map_err(bad)?,
        ..TopicOptions::default()
    };
    parse_limits(fields, &mut options)?;
    options.check().map_err(|e| e.message().to_owned())?;
    let config = TopicConfig::from_options(&options);
    config.check().map_err(|e| e.message().to_owned())?;
    Ok((uid, config))
}

/// What is limited, as far as there are fields for it: earlier builds wrote none.
fn parse_limits(
    fields: &BTreeMap<String, String>,
    options: &mut TopicOptions,
) -> std::result::Result<(), String> {
    let number = |key: &str| {
        let parsed = fields.get(key).map(|text| text.parse::<u64>());
        let bad = |_| format!("its {key} is not a number in range");
        parsed.transpose().map_err(bad)
    };
    let percent = |key: &str| {
        let bad = |_| format!("its {key} is not a number in range");
        number(key)?.map(u32::try_from).transpose().map_err(bad)
    };
    options.max_messages = number("max_messages")?;
    options.max_bytes = number("max_bytes")?;
    options.min_free_bytes = number("min_free_bytes")?;
    options.low_mark = percent("low_mark")?;
    options.high_mark = percent("high_mark")?;
    options.send_timeout = number("send_timeout")?.map(Duration::from_micros);
    if let Some(name) = fields.get("on_full") {
        let known = OnFull::of_name(name);
        options.on_full = Some(known.ok_or_else(|| format!("its on_full is {name:?}"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p14_limits_round_trip_and_a_file_without_them_has_none() {
        let options = TopicOptions {
            max_messages: Some(7),
            max_bytes: Some(1 << 20),
            on_full: Some(OnFull::Throttle),
            send_timeout: Some(Duration::from_millis(1500)),
            low_mark: Some(10),
            high_mark: Some(80),
            min_free_bytes: Some(1 << 30),
            ..TopicOptions::default()
        };
        for options in [options, TopicOptions::default()] {
            let config = TopicConfig::from_options(&options);
            let text = write(5, &config);
            let fields = meta::decode("topic", text.as_bytes()).expect("whole");
            assert_eq!(parse(&fields).expect("fields"), (5, config));
        }
        let plain = write(5, &TopicConfig::from_options(&TopicOptions::default()));
        assert!(!plain.contains("max_messages"), "{plain}");
    }
}
