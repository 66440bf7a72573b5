//! What lines say, checked one by one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Read;
use std::sync::Arc;

use super::groups::GroupLines;
use super::input::Input;
use super::json::{Fields, shortened, shown};
use super::message::PartitionLines;
use super::source::{Spooled, Step};
use super::spool::Spool;
use super::write::COUNTED;
use super::{Refused, Told, bad};
use crate::error::{Error, Result};
use crate::format::export::{END, GROUP, LOG_END, TOPIC, named};
use crate::format::{meta, names};
use crate::options::TopicConfig;
use crate::storage::File;
use crate::store::topic_meta;

/// Bytes of lines between two calls of `progress`.
const STEP: u64 = 256 * 1024;

/// What a line can be, but for a message, by the member that it has.
const KINDS: [&str; 6] = [
    "topic_config",
    "log_end",
    "group",
    "standing",
    "snapshot",
    "end",
];
/// What a topic has where nobody says otherwise.
const DEFAULTS: [(&str, &str); 4] = [
    ("id", "0000000000000000"),
    ("partitions", "1"),
    ("max_message_bytes", "1073741824"),
    ("durability", "store"),
];

pub(super) struct TopicLines {
    name: String,
    line: u64,
    settings: Vec<u8>,
    pub(super) config: TopicConfig,
    pub(super) partitions: BTreeMap<u32, PartitionLines>,
    /// How many messages found their partition because it was its turn.
    pub(super) turn: u64,
    pub(super) groups: Vec<GroupLines>,
    pub(super) group_places: HashMap<String, usize>,
}

impl TopicLines {
    pub(super) fn partition(&mut self, number: u32) -> Told<&mut PartitionLines> {
        let count = self.config.partitions;
        if number >= count {
            return Err(format!("partition is {number}; the topic has {count}"));
        }
        Ok(self.partitions.entry(number).or_default())
    }
}

pub(super) struct Reading {
    pub(super) spool: Spool,
    pub(super) topics: Vec<TopicLines>,
    places: HashMap<String, usize>,
    pub(super) messages: u64,
    /// Bytes of messages that are held.
    pub(super) held: usize,
    /// The line with `end`.
    ended: Option<u64>,
    pub(super) now_ns: i64,
    /// The number of the line that is being read.
    pub(super) line: u64,
}

impl Reading {
    pub(super) fn new(aside: Arc<dyn File>, now_ns: i64) -> Self {
        Self {
            spool: Spool::new(aside),
            topics: Vec::new(),
            places: HashMap::new(),
            messages: 0,
            held: 0,
            ended: None,
            now_ns,
            line: 0,
        }
    }

    /// Reads all of them; then they are an export.
    pub(super) fn read(
        mut self,
        from: &mut dyn Read,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Spooled> {
        let mut input = Input::new(from);
        let mut told = 0;
        progress(0)?;
        loop {
            // Half of the work, if it is all.
            if input.bytes - told >= STEP {
                told = input.bytes;
                progress(told / 2)?;
            }
            let Some((number, text)) = input.next()? else {
                break;
            };
            self.line = number;
            let taken = self.take(text);
            taken.map_err(|refused| match refused {
                Refused::Line(what) => bad(number, &what),
                Refused::Other(error) => error,
            })?;
        }
        self.finish(input.bytes)
    }

    fn take(&mut self, text: &str) -> std::result::Result<(), Refused> {
        if self.ended.is_some() {
            return Err("it is behind the line with end".to_owned().into());
        }
        let found = Fields::read(text)?;
        let kinds = KINDS.iter();
        let kind = kinds
            .filter_map(|kind| Some((*kind, found.object(kind)?)))
            .next();
        let Some((kind, fields)) = kind else {
            return self.message(found);
        };
        if found.len() > 1 {
            return Err(format!("{kind} and other members; expected it alone").into());
        }
        let fields = fields?;
        match kind {
            "topic_config" => Ok(self.topic_config(fields)?),
            "log_end" => Ok(self.log_end(fields)?),
            "group" => Ok(self.group(fields)?),
            "standing" => self.standing(fields),
            "snapshot" => self.snapshot(fields),
            _ => Ok(self.end(fields)?),
        }
    }

    /// The topic that members name, which is there from now on.
    pub(super) fn topic(&mut self, fields: &mut Fields<'_>) -> Told<&mut TopicLines> {
        let place = self.place_of(fields)?;
        Ok(&mut self.topics[place])
    }

    pub(super) fn place_of(&mut self, fields: &mut Fields<'_>) -> Told<usize> {
        let name = fields.needed("topic", "a topic's name")?;
        match self.places.get(&*name) {
            Some(place) => Ok(*place),
            None => self.new_topic(&name, BTreeMap::new()),
        }
    }

    fn new_topic(&mut self, name: &str, mut settings: BTreeMap<String, String>) -> Told<usize> {
        names::check("topic", name).map_err(|error| error.message().to_owned())?;
        for (key, value) in DEFAULTS {
            settings
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        let (_, config) = topic_meta::parse(&settings)?;
        self.places.insert(name.to_owned(), self.topics.len());
        self.topics.push(TopicLines {
            name: name.to_owned(),
            line: self.line,
            settings: text_of("topic", &settings),
            config,
            partitions: BTreeMap::new(),
            turn: 0,
            groups: Vec::new(),
            group_places: HashMap::new(),
        });
        Ok(self.topics.len() - 1)
    }

    fn topic_config(&mut self, mut fields: Fields<'_>) -> Told<()> {
        let name = fields.needed("topic", "a topic's name")?;
        if self.places.contains_key(&*name) {
            let name = shortened(&name);
            return Err(format!(
                "topic is '{name}'; expected one that no line before names"
            ));
        }
        let settings = settings_of(fields)?;
        self.new_topic(&name, settings).map(drop)
    }

    fn end(&mut self, mut fields: Fields<'_>) -> Told<()> {
        let found = self.counts();
        for (name, count) in COUNTED.iter().zip(found) {
            let told = fields.take(name).unwrap_or("missing");
            if told != count.to_string() {
                let told = shown(told);
                return Err(format!(
                    "{name} of end is {told}, but {count} {name} were read"
                ));
            }
        }
        fields.end()?;
        self.ended = Some(self.line);
        Ok(())
    }

    /// Topics, groups that are no lanes, messages.
    fn counts(&self) -> [u64; 3] {
        let groups = self
            .topics
            .iter()
            .flat_map(|topic| topic.group_places.keys());
        let groups = groups.filter(|name| !names::is_reserved(name)).count();
        [self.topics.len() as u64, groups as u64, self.messages]
    }

    fn finish(mut self, lines: u64) -> Result<Spooled> {
        self.put_all_aside()?;
        let counts = self.counts();
        let mut steps = VecDeque::new();
        for topic in &mut self.topics {
            let line = topic.line;
            steps.push_back(Step::Here(TOPIC, line, named(&topic.name, &topic.settings)));
            for number in 0..topic.config.partitions {
                let partition = topic.partitions.remove(&number).unwrap_or_default();
                steps.extend(partition.aside.into_iter().map(Step::Aside));
                let mut end = u64::from(number).to_le_bytes().to_vec();
                end.extend_from_slice(&partition.next_offset.to_le_bytes());
                steps.push_back(Step::Here(LOG_END, line, end));
            }
            for group in topic.groups.drain(..) {
                let body = named(&group.name, &group.settings);
                steps.push_back(Step::Here(GROUP, group.line, body));
                let aside = group.standings.into_iter().chain(group.snapshots);
                steps.extend(aside.map(Step::Aside));
            }
        }
        let body: Vec<u8> = counts
            .iter()
            .flat_map(|count| count.to_le_bytes())
            .collect();
        steps.push_back(Step::Here(END, self.ended.unwrap_or(self.line), body));
        Ok(Spooled::new(self.spool, steps, lines))
    }
}

/// The fields that a `.meta` file would have.
pub(super) fn settings_of(fields: Fields<'_>) -> Told<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for field in fields.texts() {
        let (name, value) = field?;
        if value.contains(['\n', '\r']) || name.contains(['\n', '\r', '=']) {
            let (name, value) = (shortened(&name), shortened(&value));
            return Err(format!(
                "{name} is '{value}'; expected one line, and a name without ="
            ));
        }
        found.insert(name, value.into_owned());
    }
    Ok(found)
}

/// The text of a `.meta` file.
pub(super) fn text_of(kind: &str, fields: &BTreeMap<String, String>) -> Vec<u8> {
    let fields: Vec<(&str, String)> = fields
        .iter()
        .map(|(key, value)| (&**key, value.clone()))
        .collect();
    meta::encode(kind, &fields).into_bytes()
}

/// What is wrong, of an error that says it.
pub(super) fn told<T>(done: Result<T>) -> Told<T> {
    done.map_err(|error: Error| error.message().to_owned())
}
