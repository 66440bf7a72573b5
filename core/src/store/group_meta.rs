//! The file `group.meta`: what a group is and where it began.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::StoreInner;
use super::brake::PausedBy;
use super::topic::{damaged_meta, read_text};
use crate::error::Result;
use crate::format::record::OFFSET_MAX;
use crate::format::{meta, names};
use crate::options::{
    Backoff, Brake, DeadLetter, DeliveryMode, Filter, GroupConfig, GroupOptions, OnDeadLetter,
    OnExpired, Ordering,
};

/// What `group.meta` holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupMeta {
    /// The group's id.
    pub(crate) id: u64,
    pub(crate) config: GroupConfig,
    /// For each partition the offset at which the group began.
    pub(crate) starts: Vec<u64>,
    /// Why nothing is handed out until somebody resumes it.
    pub(crate) paused_by: PausedBy,
    /// Since when, in ns since the epoch; else 0.
    pub(crate) paused_at_ns: i64,
    /// Where the dead-letter topic ended when the group was made, resumed, or given that topic
    /// last: the brake counts from there on.
    pub(crate) brake_from: u64,
    /// Of a redrive lane: topic and name of the group that it is of.
    pub(crate) lane_of: Option<(String, String)>,
    /// For each partition where it was last sought; empty while none was.
    pub(crate) sought: Vec<Sought>,
}

/// Where a partition of a group was last sought, with which its window has to be in line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sought {
    /// The epoch of its window from then on; 0 where it was never sought.
    pub(crate) epoch: u32,
    /// First offset that was not settled then.
    pub(crate) offset: u64,
    /// Where the dead-letter topic ended then.
    pub(crate) dead_from: u64,
    /// The snapshot that is still being restored, and the first offset it says nothing of.
    pub(crate) snapshot: Option<(String, u64)>,
}

impl Sought {
    fn write(&self) -> String {
        let plain = format!("{}/{}/{}", self.epoch, self.offset, self.dead_from);
        match &self.snapshot {
            None => plain,
            Some((name, end)) => format!("{plain}/{end}/{name}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let number = |place: usize| parts.get(place)?.parse().ok();
        let offset = |place| number(place).filter(|offset| *offset <= OFFSET_MAX);
        let snapshot = match parts.get(3..)? {
            [] => None,
            // It names a file (P18).
            [_, name] if names::check_snapshot(name).is_ok() => {
                Some(((*name).to_owned(), offset(3)?))
            }
            _ => return None,
        };
        Some(Self {
            epoch: parts[0].parse().ok()?,
            offset: offset(1)?,
            dead_from: offset(2)?,
            snapshot,
        })
    }
}

/// Where a group's dead letters go to; `None` where they are dropped.
pub(crate) fn dead_letters_of(topic: &str, group: &str, target: &DeadLetter) -> Option<String> {
    match target {
        DeadLetter::Default => Some(names::dead_letter_topic(topic, group)),
        DeadLetter::Topic(name) => Some(name.clone()),
        DeadLetter::Drop => None,
    }
}

/// The text of `group.meta`.
pub(in crate::store) fn write_meta(meta: &GroupMeta) -> String {
    let config = &meta.config;
    let backoff = &config.backoff;
    let micros = |time: Duration| time.as_micros().to_string();
    let dead = match &config.dead_letter_topic {
        DeadLetter::Default => "default".to_owned(),
        DeadLetter::Drop => "drop".to_owned(),
        DeadLetter::Topic(name) => format!("topic {name}"),
    };
    let ordering = match config.ordering {
        Ordering::None => "none",
        Ordering::Key => "key",
        Ordering::Partition => "partition",
    };
    let on_expired = match config.on_expired {
        OnExpired::Drop => "drop",
        OnExpired::DeadLetter => "dead_letter",
    };
    let starts: Vec<String> = meta.starts.iter().map(u64::to_string).collect();
    let is_paused = meta.paused_by != PausedBy::Nobody;
    let mut fields = vec![
        ("id", format!("{:016x}", meta.id)),
        ("ordering", ordering.to_owned()),
        ("lease_us", micros(config.lease)),
        ("max_attempts", config.max_attempts.to_string()),
        ("backoff_first_us", micros(backoff.first)),
        ("backoff_longest_us", micros(backoff.longest)),
        ("backoff_factor", backoff.factor.to_string()),
        ("dead_letter_topic", dead),
        ("on_expired", on_expired.to_owned()),
        ("window", config.window.to_string()),
        ("starts", starts.join(" ")),
        ("paused", if is_paused { "yes" } else { "no" }.to_owned()),
        ("brake_from", meta.brake_from.to_string()),
    ];
    if config.on_dead_letter == OnDeadLetter::HoldKey {
        fields.push(("on_dead_letter", "hold_key".to_owned()));
    }
    if is_paused {
        fields.push(("paused_by", meta.paused_by.name().to_owned()));
        fields.push(("paused_at", meta.paused_at_ns.to_string()));
    }
    if let Some(brake) = config.brake {
        fields.push(("brake_messages", brake.messages.to_string()));
        fields.push(("brake_within_us", micros(brake.within)));
    }
    if let Some(max) = config.max_lease {
        fields.push(("max_lease_us", micros(max)));
    }
    if let Some(filter) = &config.filter {
        fields.push(("filter", filter.to_string()));
    }
    if config.is_at_most_once() {
        fields.push(("delivery", config.delivery.name().to_owned()));
    }
    if !meta.sought.is_empty() {
        let sought: Vec<String> = meta.sought.iter().map(Sought::write).collect();
        fields.push(("sought", sought.join(" ")));
    }
    if let Some((topic, group)) = &meta.lane_of {
        fields.push(("lane_of", format!("{topic} {group}")));
    }
    meta::encode("group", &fields)
}

/// What the file holds.
pub(super) fn read_meta(store: &StoreInner, path: &Path) -> Result<GroupMeta> {
    let fields = read_text(store, "group", path)?;
    parse(&fields).map_err(|what| damaged_meta(path, &what))
}

/// As `read_meta`, from the fields; or what is wrong with them.
pub(crate) fn parse(fields: &BTreeMap<String, String>) -> std::result::Result<GroupMeta, String> {
    let bad = |key: &str| format!("its {key} is missing or out of range");
    let config = parse_config(fields).map_err(bad)?;
    let options = GroupOptions {
        ordering: Some(config.ordering),
        lease: Some(config.lease),
        max_lease: config.max_lease,
        max_attempts: Some(config.max_attempts),
        backoff: Some(config.backoff),
        dead_letter_topic: Some(config.dead_letter_topic.clone()),
        on_expired: Some(config.on_expired),
        start: None,
        window: Some(config.window),
        filter: config.filter.clone(),
        // Of a stored lease nobody knows whether it was given.
        delivery: None,
        brake: config.brake,
        on_dead_letter: Some(config.on_dead_letter),
    };
    options.check().map_err(|e| e.message().to_owned())?;
    // One that contradicts itself, as one that holds keys for letters that it drops, nobody made.
    config.check().map_err(|e| e.message().to_owned())?;
    let uid = fields
        .get("id")
        .and_then(|id| u64::from_str_radix(id, 16).ok());
    let starts = fields.get("starts").map(|text| {
        text.split_whitespace()
            .map(str::parse)
            .collect::<std::result::Result<Vec<u64>, _>>()
    });
    let starts = starts
        .and_then(std::result::Result::ok)
        .ok_or_else(|| bad("starts"))?;
    let paused = match fields.get("paused").map(String::as_str) {
        // An earlier build did not write it.
        None | Some("no") => false,
        Some("yes") => true,
        Some(_) => return Err(bad("paused")),
    };
    let paused_by = match (paused, fields.get("paused_by").map(String::as_str)) {
        (false, _) => PausedBy::Nobody,
        // An earlier build did not write it, and had no brake.
        (true, None | Some("user")) => PausedBy::User,
        (true, Some("brake")) => PausedBy::Brake,
        (true, Some(_)) => return Err(bad("paused_by")),
    };
    let paused_at_ns = match fields.get("paused_at").filter(|_| paused) {
        None => 0,
        Some(text) => text.parse().map_err(|_| bad("paused_at"))?,
    };
    let brake_from = match fields.get("brake_from") {
        None => 0,
        Some(text) => text.parse().map_err(|_| bad("brake_from"))?,
    };
    let lane_of = match fields.get("lane_of") {
        Some(text) => match text.split_once(' ') {
            // They name folders (P18).
            Some((topic, group))
                if names::check("topic", topic).is_ok() && names::check_group(group).is_ok() =>
            {
                Some((topic.to_owned(), group.to_owned()))
            }
            _ => return Err(bad("lane_of")),
        },
        None => None,
    };
    let sought = match fields.get("sought") {
        None => Vec::new(),
        Some(text) => {
            let each: Option<Vec<Sought>> = text.split_whitespace().map(Sought::parse).collect();
            let each = each.filter(|each| each.len() == starts.len());
            each.ok_or_else(|| bad("sought"))?
        }
    };
    Ok(GroupMeta {
        id: uid.ok_or_else(|| bad("id"))?,
        config,
        starts,
        paused_by,
        paused_at_ns,
        brake_from,
        lane_of,
        sought,
    })
}

fn parse_config(
    fields: &BTreeMap<String, String>,
) -> std::result::Result<GroupConfig, &'static str> {
    fn number<T: std::str::FromStr>(
        fields: &BTreeMap<String, String>,
        key: &'static str,
    ) -> std::result::Result<T, &'static str> {
        fields
            .get(key)
            .and_then(|text| text.parse().ok())
            .ok_or(key)
    }
    let time = |key| number(fields, key).map(Duration::from_micros);
    let ordering = match fields.get("ordering").map(String::as_str) {
        Some("key") => Ordering::Key,
        Some("none") => Ordering::None,
        Some("partition") => Ordering::Partition,
        _ => return Err("ordering"),
    };
    let dead_letter_topic = match fields.get("dead_letter_topic").map(String::as_str) {
        Some("default") => DeadLetter::Default,
        Some("drop") => DeadLetter::Drop,
        Some(other) => match other.strip_prefix("topic ") {
            Some(name) if names::check("topic", name).is_ok() => DeadLetter::Topic(name.to_owned()),
            _ => return Err("dead_letter_topic"),
        },
        None => return Err("dead_letter_topic"),
    };
    let on_expired = match fields.get("on_expired").map(String::as_str) {
        Some("drop") => OnExpired::Drop,
        Some("dead_letter") => OnExpired::DeadLetter,
        _ => return Err("on_expired"),
    };
    let delivery = match fields.get("delivery") {
        None => DeliveryMode::AtLeastOnce,
        Some(name) => DeliveryMode::of_name(name).ok_or("delivery")?,
    };
    Ok(GroupConfig {
        ordering,
        lease: time("lease_us")?,
        max_lease: match fields.contains_key("max_lease_us") {
            true => Some(time("max_lease_us")?),
            false => None,
        },
        max_attempts: number(fields, "max_attempts")?,
        backoff: Backoff {
            first: time("backoff_first_us")?,
            longest: time("backoff_longest_us")?,
            factor: number(fields, "backoff_factor")?,
        },
        dead_letter_topic,
        on_expired,
        window: number(fields, "window")?,
        filter: match fields.get("filter").map(|text| Filter::parse(text)) {
            None => None,
            Some(Ok(filter)) if !filter.is_empty() => Some(filter),
            Some(_) => return Err("filter"),
        },
        delivery,
        brake: match fields.contains_key("brake_messages") {
            true => Some(Brake {
                messages: number(fields, "brake_messages")?,
                within: time("brake_within_us")?,
            }),
            false => None,
        },
        on_dead_letter: match fields.get("on_dead_letter").map(String::as_str) {
            None | Some("continue") => OnDeadLetter::Continue,
            Some("hold_key") => OnDeadLetter::HoldKey,
            Some(_) => return Err("on_dead_letter"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_names_that_lead_elsewhere_and_what_contradicts_itself_are_damage() {
        let meta = GroupMeta {
            id: 7,
            config: GroupConfig::from_options(&GroupOptions::default()),
            starts: vec![0],
            paused_by: PausedBy::Nobody,
            paused_at_ns: 0,
            brake_from: 0,
            lane_of: Some(("t".into(), "g".into())),
            sought: vec![Sought {
                epoch: 3,
                offset: 7,
                dead_from: 1,
                snapshot: Some(("before".into(), 9)),
            }],
        };
        let fields = |meta: &GroupMeta| {
            meta::decode("group", write_meta(meta).as_bytes()).expect("what was written")
        };
        let good = fields(&meta);
        assert_eq!(parse(&good), Ok(meta));
        for (key, value) in [
            ("lane_of", "t"),
            ("lane_of", "../.. g"),
            ("lane_of", "t .."),
            ("lane_of", "t lq.redrive.0000000000000007"),
            ("lane_of", "t g/../../x"),
            ("sought", "3/7"),
            ("sought", "3/7/1 0/0/0"),
            ("sought", "3/7/1/9"),
            ("sought", "3/7/1/9/../x"),
            ("sought", "3/7/1/9/latest"),
            ("sought", "3/18446744073709551615/1"),
            ("dead_letter_topic", "topic ../x"),
            ("dead_letter_topic", "topic "),
        ] {
            let mut bad = good.clone();
            bad.insert(key.to_owned(), value.to_owned());
            let what = parse(&bad).expect_err(value);
            assert!(what.contains(key), "{what}");
        }
        let mut bad = good;
        bad.insert("dead_letter_topic".into(), "drop".into());
        bad.insert("on_dead_letter".into(), "hold_key".into());
        parse(&bad).expect_err("keys that nobody could let go");
    }
}
