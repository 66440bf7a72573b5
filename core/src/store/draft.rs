//! From a message to the record it is to be, and to the partition it goes to.

use std::sync::atomic::Ordering;

use super::message::Message;
use super::topic::TopicInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::crc32;
use crate::format::origin::Origin;
use crate::format::record::body_crc;
use crate::format::{headers, murmur2};
use crate::log::Draft;

/// Where the headers block and the extension of a message are laid out.
pub(super) type RoomForOne = (Vec<u8>, Vec<u8>);

impl TopicInner {
    /// As `draft`; as a rule a message has nothing that has to be laid out.
    #[inline]
    pub(super) fn draft_one<'a>(
        &self,
        message: &Message<'a>,
        room: &'a mut RoomForOne,
    ) -> Result<Draft<'a>> {
        match message.is_bare() {
            true => self.draft_bare(message),
            false => self.draft(message, &mut room.0, &mut room.1),
        }
    }

    /// Of one that has no more than a key and a payload.
    #[inline]
    pub(super) fn draft_bare<'a>(&self, message: &Message<'a>) -> Result<Draft<'a>> {
        let bytes = (message.key.map_or(0, <[u8]>::len) + message.payload.len()) as u64;
        if bytes > self.settings.max_message_bytes() {
            return Err(self.too_large(bytes));
        }
        let (body_crc, key_hash) = match message.key {
            None => (crc32(message.payload), 0),
            Some(key) => (
                body_crc([&[], key, &[], message.payload]),
                murmur2::key_hash(key),
            ),
        };
        Ok(Draft {
            extension: &[],
            key: message.key,
            headers: &[],
            payload: message.payload,
            timestamp_ns: message.timestamp_ns,
            body_crc,
            key_hash,
        })
    }

    #[inline]
    pub(super) fn draft<'a>(
        &self,
        message: &Message<'a>,
        block: &'a mut Vec<u8>,
        extension: &'a mut Vec<u8>,
    ) -> Result<Draft<'a>> {
        let origin = match message.dedup_id {
            None => None,
            Some(_) => self.origin_of(message)?,
        };
        self.draft_from(message, block, extension, origin)
    }

    /// As `draft`, which says how it was sent.
    #[inline]
    pub(super) fn draft_from<'a>(
        &self,
        message: &Message<'a>,
        block: &'a mut Vec<u8>,
        extension: &'a mut Vec<u8>,
        origin: Option<Origin>,
    ) -> Result<Draft<'a>> {
        headers::encode(message.headers, block)?;
        let attributes = message.attributes(|| self.store.env.clock.wall_ns())?;
        if !attributes.is_plain() {
            *extension = attributes.encode();
            if attributes.priority > 0 {
                self.note_priorities()?;
            }
        }
        if let Some(origin) = origin {
            origin.add_to(extension);
        }
        let key = message.key.unwrap_or_default();
        let bytes = (key.len() + block.len() + message.payload.len()) as u64;
        if bytes > self.settings.max_message_bytes() {
            return Err(self.too_large(bytes));
        }
        Ok(Draft {
            extension,
            key: message.key,
            headers: block,
            payload: message.payload,
            timestamp_ns: message.timestamp_ns,
            body_crc: body_crc([extension, key, block, message.payload]),
            key_hash: message.key.map_or(0, murmur2::key_hash),
        })
    }

    #[cold]
    fn too_large(&self, bytes: u64) -> Error {
        let message = format!(
            "a message of {bytes} bytes (key, headers and payload) for topic {:?}; expected at \
             most {}",
            self.name,
            self.settings.max_message_bytes()
        );
        Error::new(ErrorKind::TooLarge, message)
    }

    #[inline]
    pub(super) fn next_turn(&self) -> u32 {
        if self.count() == 1 {
            return 0;
        }
        self.turn.fetch_add(1, Ordering::Relaxed) % self.count()
    }

    #[inline]
    pub(super) fn choose(&self, message: &Message<'_>) -> Result<u32> {
        if self.count() == 1 && message.partition.is_none() {
            return Ok(0);
        }
        let keyed = message.key.is_some() || message.partition.is_some();
        self.choose_or(message, if keyed { 0 } else { self.next_turn() })
    }

    pub(super) fn numbers(&self, messages: &[Message<'_>], turn: u32) -> Result<Vec<u32>> {
        let each = messages.iter();
        each.map(|message| self.choose_or(message, turn)).collect()
    }

    pub(super) fn choose_or(&self, message: &Message<'_>, turn: u32) -> Result<u32> {
        match (message.partition, message.key) {
            (Some(number), _) => self.partition(number).map(|_| number),
            (None, Some(key)) => Ok(murmur2::partition_of(key, self.count())),
            (None, None) => Ok(turn),
        }
    }
}
