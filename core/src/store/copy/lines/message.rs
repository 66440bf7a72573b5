//! Lines of messages, and of where a partition ends.

use super::json::Fields;
use super::parts::headers_of;
use super::reading::Reading;
use super::says::extension_of;
use super::spool::{Piece, Spool};
use super::{Refused, Told};
use crate::error::Result;
use crate::format::export::{BODY_MAX, Exported, MESSAGE, MESSAGES};
use crate::format::murmur2;
use crate::store::copy::export::BLOCK;
use crate::store::copy::import::LAST;

/// Bytes of messages that are held before they are put aside.
const HELD: usize = 8 << 20;
const NS_PER_MS: i64 = 1_000_000;
/// The head of a block of messages.
const HEAD: usize = 8;

/// Messages of a partition.
#[derive(Default)]
pub(super) struct PartitionLines {
    pub(super) aside: Vec<Piece>,
    /// The block that is being filled, its messages, and the line of the first.
    body: Vec<u8>,
    count: u32,
    line: u64,
    pub(super) next_offset: u64,
    ended: bool,
}

impl Reading {
    pub(super) fn message(&mut self, mut fields: Fields<'_>) -> std::result::Result<(), Refused> {
        let (now_ns, line) = (self.now_ns, self.line);
        let place = self.place_of(&mut fields)?;
        let topic = &mut self.topics[place];
        let (key, payload) = (fields.bytes("key")?, fields.bytes("payload")?);
        let payload = payload.ok_or_else(|| "expected payload or payload_base64".to_owned())?;
        let headers = fields
            .take("headers")
            .map(headers_of)
            .transpose()?
            .unwrap_or_default();
        let extension = extension_of(&mut fields, now_ns / NS_PER_MS)?;
        let count = topic.config.partitions;
        let number = match (fields.number::<u32>("partition")?, &key) {
            (Some(number), _) => number,
            (None, Some(key)) => murmur2::partition_of(key, count),
            (None, None) => {
                topic.turn += 1;
                ((topic.turn - 1) % u64::from(count)) as u32
            }
        };
        let partition = topic.partition(number)?;
        let offset = fields.number("offset")?.unwrap_or(partition.next_offset);
        let timestamp_ns = fields.number("timestamp_ns")?.unwrap_or(now_ns);
        if partition.ended || offset < partition.next_offset || offset >= LAST {
            let next = partition.next_offset;
            let ended = if partition.ended {
                " of a partition without log_end"
            } else {
                ""
            };
            let what = format!("offset is {offset}; expected {next} or more{ended}, below {LAST}");
            return Err(what.into());
        }
        fields.end()?;
        let one = Exported {
            offset,
            timestamp_ns,
            extension: &extension,
            key: key.as_deref(),
            headers: &headers,
            payload: &payload,
        };
        let parts = [
            &extension,
            key.as_deref().unwrap_or_default(),
            &headers,
            &payload,
        ];
        let bytes = MESSAGE + parts.iter().map(|part| part.len()).sum::<usize>();
        if (HEAD + bytes) as u64 > BODY_MAX {
            let most = BODY_MAX - (HEAD + MESSAGE) as u64;
            let what = format!(
                "a message of {} bytes; expected at most {most}",
                bytes - MESSAGE
            );
            return Err(what.into());
        }
        if partition.count > 0 && partition.body.len() + bytes > BLOCK {
            self.held -= partition.body.len();
            put_aside(&mut self.spool, number, partition)?;
        }
        if partition.count == 0 {
            partition.line = line;
            partition.body.resize(HEAD, 0);
            self.held += HEAD;
        }
        one.encode(&mut partition.body);
        partition.count += 1;
        partition.next_offset = offset + 1;
        self.messages += 1;
        self.held += bytes;
        if self.held > HELD {
            self.put_all_aside()?;
        }
        Ok(())
    }

    pub(super) fn put_all_aside(&mut self) -> Result<()> {
        for topic in &mut self.topics {
            for (number, partition) in &mut topic.partitions {
                put_aside(&mut self.spool, *number, partition)?;
            }
        }
        self.held = 0;
        Ok(())
    }

    pub(super) fn log_end(&mut self, mut fields: Fields<'_>) -> Told<()> {
        let number = fields.count("partition")?;
        let end = fields.count("next_offset")?;
        let partition = self.topic(&mut fields)?.partition(number)?;
        fields.end()?;
        if end < partition.next_offset || partition.ended || end > LAST {
            let next = partition.next_offset;
            return Err(format!(
                "next_offset is {end}; expected {next} to {LAST}, and once"
            ));
        }
        partition.next_offset = end;
        partition.ended = true;
        Ok(())
    }
}

/// Puts the messages aside that a partition holds.
fn put_aside(spool: &mut Spool, number: u32, partition: &mut PartitionLines) -> Result<()> {
    let count = std::mem::take(&mut partition.count);
    let mut body = std::mem::take(&mut partition.body);
    if count == 0 {
        return Ok(());
    }
    body[..4].copy_from_slice(&number.to_le_bytes());
    body[4..HEAD].copy_from_slice(&count.to_le_bytes());
    partition
        .aside
        .push(spool.put(MESSAGES, partition.line, &body)?);
    Ok(())
}
