//! The blocks of an export as lines.

use std::io::Write;
use std::path::Path;

use super::parts::{put_base64, put_bytes, put_headers, put_name, put_text};
use super::says::put_extension;
use crate::error::{Error, ErrorKind, Result};
use crate::format::export::{
    END, Exported, GROUP, LOG_END, MESSAGES, OPEN, Open, PART, SNAPSHOT, STANDING, Standing, TOPIC,
    read_named,
};
use crate::format::window::state;
use crate::format::{u32_at, u64_at};
use crate::store::copy::stream::Sink;

/// The states that an open message may have, as they are called.
pub(super) const STATES: [(u64, &str); 7] = [
    (state::READY, "ready"),
    (state::DELAYED, "delayed"),
    (state::HELD, "held"),
    (state::DYING, "dying"),
    (state::SCHEDULED, "scheduled"),
    (state::DEAD, "dead"),
    (state::HOLDING, "holding"),
];
/// What the end mark counts.
pub(super) const COUNTED: [&str; 3] = ["topics", "groups", "messages"];

pub(super) struct Writer<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
    topic: String,
    group: String,
    /// Open messages that are still to come in the standing that is being written.
    left: Option<u64>,
    /// Name, bytes so far and bytes of the snapshot that is being written.
    snapshot: Option<(String, Vec<u8>, u64)>,
    /// What is to be written next.
    line: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(to: &'a mut dyn Write) -> Self {
        Self {
            to,
            bytes: 0,
            topic: String::new(),
            group: String::new(),
            left: None,
            snapshot: None,
            line: Vec::new(),
        }
    }

    fn put(&mut self, text: &str) {
        self.line.extend_from_slice(text.as_bytes());
    }

    fn member(&mut self, name: &str, number: u64) {
        let _ = write!(self.line, ",\"{name}\":{number}");
    }

    /// Begins the line of an object that is called so, with the topic's name.
    fn begin(&mut self, kind: &str) {
        put_object(kind, &self.topic, &mut self.line);
    }

    /// As `begin`, with the group's name as well.
    fn begin_of_group(&mut self, kind: &str) {
        self.begin(kind);
        self.put(",\"group\":");
        put_text(&self.group, &mut self.line);
    }

    fn end_line(&mut self, text: &str) -> Result<()> {
        self.put(text);
        self.line.push(b'\n');
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.to.write_all(&self.line);
        written.map_err(|e| Error::io("write", Path::new("the lines"), e))?;
        self.bytes += self.line.len() as u64;
        self.line.clear();
        Ok(())
    }

    /// The fields of a `.meta` text, without its first line and its checksum.
    fn settings(&mut self, text: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(text).map_err(|_| strange())?;
        let lines = text.lines().count();
        for line in text.lines().take(lines.saturating_sub(1)).skip(1) {
            let (name, value) = line.split_once('=').ok_or_else(strange)?;
            self.line.push(b',');
            put_name(name, &mut self.line);
            put_text(value, &mut self.line);
        }
        Ok(())
    }

    fn messages(&mut self, body: &[u8]) -> Result<()> {
        let (head, mut rest) = body.split_at_checked(8).ok_or_else(strange)?;
        for _ in 0..u32_at(head, 4) {
            let one = Exported::decode(&mut rest).ok_or_else(strange)?;
            self.put("{\"topic\":");
            put_text(&self.topic, &mut self.line);
            self.member("partition", u32_at(head, 0).into());
            self.member("offset", one.offset);
            let _ = write!(self.line, ",\"timestamp_ns\":{}", one.timestamp_ns);
            if let Some(key) = one.key {
                self.line.push(b',');
                put_bytes("key", key, &mut self.line);
            }
            if !one.headers.is_empty() {
                self.put(",\"headers\":");
                put_headers(one.headers, &mut self.line);
            }
            if !one.extension.is_empty() {
                put_extension(one.extension, &mut self.line);
            }
            self.line.push(b',');
            put_bytes("payload", one.payload, &mut self.line);
            self.end_line("}")?;
        }
        Ok(())
    }

    fn standing(&mut self, body: &[u8]) -> Result<()> {
        let standing = Standing::decode(body).ok_or_else(strange)?;
        self.begin_of_group("standing");
        self.member("partition", standing.partition.into());
        self.member("floor", standing.floor);
        self.member("next_offset", standing.next);
        self.member("epoch", standing.epoch);
        self.member("dead_from", standing.dead_from);
        let counters: Vec<String> = standing.counters.iter().map(u64::to_string).collect();
        self.put(",\"counters\":[");
        self.put(&counters.join(","));
        self.put("],\"open\":[");
        self.left = Some(standing.open);
        self.end_standing()
    }

    fn open(&mut self, body: &[u8]) -> Result<()> {
        let all = Open::decode_all(body).ok_or_else(strange)?;
        let left = self.left.ok_or_else(strange)?;
        self.left = Some(left.checked_sub(all.len() as u64).ok_or_else(strange)?);
        for one in all {
            if self.line.last() == Some(&b'}') {
                self.line.push(b',');
            }
            self.one_open(&one);
        }
        if self.left != Some(0) {
            // The line goes on: what there is of it need not be held.
            self.put(",");
            self.flush()?;
        }
        self.end_standing()
    }

    /// Members of 0 are left out, but for the offset, which comes last then.
    fn one_open(&mut self, one: &Open) {
        let named = STATES
            .iter()
            .find(|(number, _)| *number == u64::from(one.state));
        let state = named.map_or_else(|| one.state.to_string(), |(_, name)| format!("\"{name}\""));
        let mut members = vec![("state", state)];
        if one.offset > 0 {
            members.insert(0, ("offset", one.offset.to_string()));
        }
        for (name, value) in [
            ("redriven", one.redriven.into()),
            ("failures", one.failures.into()),
            ("attempts", one.attempts.into()),
            ("key_hash", one.key_hash),
            ("time", one.time),
            ("first_failed_ms", one.first_failed_ms),
        ] {
            if value > 0 {
                members.push((name, value.to_string()));
            }
        }
        if one.offset == 0 {
            members.push(("offset", "0".to_owned()));
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        self.put("{");
        self.put(&members.join(","));
        self.put("}");
    }

    fn end_standing(&mut self) -> Result<()> {
        if self.left != Some(0) {
            return Ok(());
        }
        self.left = None;
        self.end_line("]}}")
    }

    fn part(&mut self, body: &[u8]) -> Result<()> {
        let (name, mut bytes, length) = self.snapshot.take().ok_or_else(strange)?;
        bytes.extend_from_slice(body);
        if (bytes.len() as u64) < length {
            self.snapshot = Some((name, bytes, length));
            return Ok(());
        }
        self.begin_of_group("snapshot");
        self.put(",\"name\":");
        put_text(&name, &mut self.line);
        self.put(",\"base64\":");
        put_base64(&bytes, &mut self.line);
        self.end_line("}}")
    }
}

impl Sink for Writer<'_> {
    fn block(&mut self, kind: u32, body: &[u8]) -> Result<()> {
        match kind {
            TOPIC | GROUP => {
                let (name, text) = read_named(body).ok_or_else(strange)?;
                if kind == TOPIC {
                    name.clone_into(&mut self.topic);
                    self.begin("topic_config");
                } else {
                    name.clone_into(&mut self.group);
                    self.begin_of_group("group");
                }
                self.settings(text)?;
                self.end_line("}}")
            }
            MESSAGES => self.messages(body),
            LOG_END => {
                self.begin("log_end");
                self.member("partition", u32_at(body, 0).into());
                self.member("next_offset", u64_at(body, 8));
                self.end_line("}}")
            }
            STANDING => self.standing(body),
            OPEN => self.open(body),
            SNAPSHOT => {
                let (name, length) = read_named(body).ok_or_else(strange)?;
                self.snapshot = Some((name.to_owned(), Vec::new(), u64_at(length, 0)));
                Ok(())
            }
            PART => self.part(body),
            END => {
                let counts = COUNTED.iter().zip([0, 8, 16]);
                let counts: Vec<String> = counts
                    .map(|(name, at)| format!("\"{name}\":{}", u64_at(body, at)))
                    .collect();
                self.put("{\"end\":{");
                self.put(&counts.join(","));
                self.end_line("}}")
            }
            _ => Err(strange()),
        }
    }

    fn finish(&mut self) -> Result<u64> {
        let done = self.to.flush();
        done.map_err(|e| Error::io("write", Path::new("the lines"), e))?;
        Ok(self.bytes)
    }
}

fn put_object(kind: &str, topic: &str, into: &mut Vec<u8>) {
    into.push(b'{');
    put_name(kind, into);
    into.extend_from_slice(b"{\"topic\":");
    put_text(topic, into);
}

/// Nothing but an export makes these blocks.
#[cold]
fn strange() -> Error {
    let message = "an export made a block that is none; please report it";
    Error::new(ErrorKind::Internal, message)
}
