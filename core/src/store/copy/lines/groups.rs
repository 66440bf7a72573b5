//! Lines of groups: their configuration, where they stand, their snapshots.

use super::json::{Fields, decoded, each, number_of, shortened, shown};
use super::reading::{Reading, settings_of, text_of, told};
use super::spool::Piece;
use super::write::STATES;
use super::{Refused, Told};
use crate::format::export::{
    COUNTERS_MAX, OPEN, OPEN_BYTES, Open, PART, SNAPSHOT, STANDING, Standing, named,
};
use crate::format::names;
use crate::format::snapshot::BYTES_MAX;
use crate::store::copy::entries::can_be;
use crate::store::copy::export::{BLOCK, OPENS};
use crate::store::group_meta;

/// A group that lines name.
pub(super) struct GroupLines {
    pub(super) name: String,
    pub(super) line: u64,
    pub(super) settings: Vec<u8>,
    /// Whether it is the redrive lane of another one.
    lane: bool,
    pub(super) standings: Vec<Piece>,
    pub(super) snapshots: Vec<Piece>,
}

impl Reading {
    pub(super) fn group(&mut self, mut fields: Fields<'_>) -> Told<()> {
        let line = self.line;
        let topic = self.topic(&mut fields)?;
        let name = fields.needed("group", "a group's name")?;
        if topic.group_places.contains_key(&*name) {
            let name = shortened(&name);
            return Err(format!(
                "group is '{name}'; expected one that no line before names"
            ));
        }
        let settings = settings_of(fields)?;
        let meta = group_meta::parse(&settings)?;
        let lane = meta.lane_of.is_some();
        match lane {
            true => told(names::check("group", &name))?,
            false => told(names::check_group(&name))?,
        }
        topic
            .group_places
            .insert(name.clone().into_owned(), topic.groups.len());
        topic.groups.push(GroupLines {
            name: name.into_owned(),
            line,
            settings: text_of("group", &settings),
            lane,
            standings: Vec::new(),
            snapshots: Vec::new(),
        });
        Ok(())
    }

    /// The group that members name: topic and place of both.
    fn group_of(&mut self, fields: &mut Fields<'_>) -> Told<&mut GroupLines> {
        let topic = self.topic(fields)?;
        let name = fields.needed("group", "a group's name")?;
        match topic.group_places.get(&*name) {
            Some(place) => Ok(&mut topic.groups[*place]),
            None => {
                let name = shortened(&name);
                Err(format!(
                    "group is '{name}'; expected one that a line before has the settings of"
                ))
            }
        }
    }

    pub(super) fn standing(&mut self, mut fields: Fields<'_>) -> Result<(), Refused> {
        let line = self.line;
        let lane = self.group_of(&mut fields.clone())?.lane;
        let mut standing = Standing {
            partition: fields.count("partition")?,
            epoch: fields.number("epoch")?.unwrap_or(0),
            floor: fields.count("floor")?,
            next: fields.count("next_offset")?,
            dead_from: fields.number("dead_from")?.unwrap_or(0),
            open: 0,
            counters: Vec::new(),
        };
        if let Some(raw) = fields.take("counters") {
            each(raw, "counters", &mut |one| {
                if standing.counters.len() as u32 == COUNTERS_MAX {
                    return Err(format!("more than {COUNTERS_MAX} counters"));
                }
                standing.counters.push(number_of(one, "a counter")?);
                Ok(())
            })?;
        }
        let (mut opened, mut least) = (Vec::new(), standing.floor);
        if let Some(raw) = fields.take("open") {
            each(raw, "open", &mut |one| {
                let open = open_of(one, lane)?;
                if open.offset < least || open.offset >= standing.next {
                    let (offset, next) = (open.offset, standing.next);
                    return Err(format!(
                        "offset {offset} is open; expected {least} to {next}"
                    ));
                }
                least = open.offset + 1;
                open.encode(&mut opened);
                Ok(())
            })?;
        }
        standing.open = (opened.len() / OPEN_BYTES) as u64;
        let body = standing.encode();
        if Standing::decode(&body).is_none() {
            let what = "floor, next_offset, epoch, dead_from and open contradict each other";
            return Err(what.to_owned().into());
        }
        let mut pieces = vec![self.spool.put(STANDING, line, &body)?];
        for some in opened.chunks(OPENS * OPEN_BYTES) {
            pieces.push(self.spool.put(OPEN, line, some)?);
        }
        self.group_of(&mut fields)?.standings.append(&mut pieces);
        Ok(fields.end()?)
    }

    pub(super) fn snapshot(&mut self, mut fields: Fields<'_>) -> Result<(), Refused> {
        let line = self.line;
        let name = fields.needed("name", "a snapshot's name")?;
        told(names::check_snapshot(&name))?;
        let text = fields.needed("base64", "the snapshot's bytes")?;
        let bytes = decoded(&text, "base64")?;
        if bytes.len() as u64 > BYTES_MAX {
            let (found, most) = (bytes.len(), BYTES_MAX);
            return Err(format!("a snapshot of {found} bytes; expected at most {most}").into());
        }
        let length = (bytes.len() as u64).to_le_bytes();
        let mut pieces = vec![self.spool.put(SNAPSHOT, line, &named(&name, &length))?];
        for part in bytes.chunks(BLOCK) {
            pieces.push(self.spool.put(PART, line, part)?);
        }
        self.group_of(&mut fields)?.snapshots.append(&mut pieces);
        Ok(fields.end()?)
    }
}

/// An open message.
fn open_of(raw: &str, lane: bool) -> Told<Open> {
    let mut fields = Fields::read(raw)?;
    let state = fields.needed("state", "a state")?;
    let named = STATES.iter().find(|(_, name)| *name == state);
    let (state, _) = named.ok_or_else(|| {
        let names = STATES.map(|(_, name)| name).join(", ");
        format!("state is '{}'; expected one of {names}", shortened(&state))
    })?;
    let open = Open {
        offset: fields.count("offset")?,
        state: *state as u8,
        redriven: fields.number("redriven")?.unwrap_or(0),
        failures: fields.number("failures")?.unwrap_or(0),
        attempts: fields.number("attempts")?.unwrap_or(0),
        key_hash: fields.number("key_hash")?.unwrap_or(0),
        time: fields.number("time")?.unwrap_or(0),
        first_failed_ms: fields.number("first_failed_ms")?.unwrap_or(0),
    };
    fields.end()?;
    if !can_be(&open, lane) {
        return Err(format!("what is open cannot be {}", shown(raw)));
    }
    Ok(open)
}
