//! What a message says of its delivery, between its extension and members.

use std::io::Write;

use super::Told;
use super::json::{Fields, shortened, shown};
use super::parts::put_base64;
use crate::format::checksum::crc32;
use crate::format::extension::{
    Attributes, CRC_BYTES, DELIVER_AT, EXPIRES_AT, LETTER, PRIORITY, PRIORITY_MAX,
};
use crate::format::u64_at;

/// What a message says of its delivery, and of what it is a letter.
#[derive(Clone, Copy, Default)]
struct Says {
    of: Attributes,
    letter: Option<u64>,
}

impl Says {
    fn read(extension: &[u8]) -> Option<Self> {
        let of = Attributes::decode(extension)?;
        let mut found = Self { of, letter: None };
        let mut rest = extension.get(CRC_BYTES..).unwrap_or_default();
        while let Some(([tag, length], behind)) = rest.split_first_chunk::<2>() {
            let (value, next) = behind.split_at_checked(usize::from(*length))?;
            if (*tag, value.len()) == (LETTER, 8) {
                found.letter = Some(u64_at(value, 0));
            }
            rest = next;
        }
        Some(found)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; CRC_BYTES];
        let mut field = |tag: u8, value: &[u8]| {
            bytes.extend_from_slice(&[tag, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        if self.of.priority != 0 {
            field(PRIORITY, &[self.of.priority]);
        }
        for (tag, at) in [
            (DELIVER_AT, self.of.deliver_at_ms),
            (EXPIRES_AT, self.of.expires_at_ms),
        ] {
            if let Some(at) = at {
                field(tag, &at.to_le_bytes());
            }
        }
        if let Some(letter) = self.letter {
            field(LETTER, &letter.to_le_bytes());
        }
        if bytes.len() == CRC_BYTES {
            return Vec::new();
        }
        let crc = crc32(&bytes[CRC_BYTES..]);
        bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// Puts the members that say the same as an extension, each behind a comma.
pub(super) fn put_extension(extension: &[u8], into: &mut Vec<u8>) {
    let Some(says) = Says::read(extension).filter(|says| says.encode() == extension) else {
        into.extend_from_slice(b",\"extension_base64\":");
        return put_base64(extension, into);
    };
    let mut put = |name: &str, value: String| {
        // A vector takes all.
        let _ = write!(into, ",\"{name}\":{value}");
    };
    if says.of.priority != 0 {
        put("priority", says.of.priority.to_string());
    }
    if let Some(at) = says.of.deliver_at_ms {
        put("deliver_at_ms", at.to_string());
    }
    if let Some(at) = says.of.expires_at_ms {
        put("expires_at_ms", at.to_string());
    }
    if let Some(letter) = says.letter {
        put("letter_of_group", format!("\"{letter:016x}\""));
    }
}

/// The extension that members say, which are taken; `now_ms` is when `delay` and `ttl` begin.
pub(super) fn extension_of(fields: &mut Fields<'_>, now_ms: i64) -> Told<Vec<u8>> {
    let mut until = |name: &str, otherwise: &str| {
        let at: Option<i64> = fields.number(otherwise)?;
        let Some(raw) = fields.take(name) else {
            return Ok(at);
        };
        let bad = || format!("{name} is {}; expected seconds", shown(raw));
        let ms = raw
            .parse::<f64>()
            .ok()
            .map(|seconds| (seconds * 1000.0).round_ties_even());
        // What is beyond is beyond all clocks as well.
        let ms = ms
            .filter(|ms| ms.abs() < (1_i64 << 62) as f64)
            .ok_or_else(bad)?;
        Ok::<_, String>(Some(now_ms.saturating_add(ms as i64)))
    };
    let deliver_at_ms = until("delay", "deliver_at_ms")?;
    let expires_at_ms = until("ttl", "expires_at_ms")?;
    let coded = fields.bytes("extension")?;
    if let Some(bytes) = coded {
        let said = deliver_at_ms.is_some() || expires_at_ms.is_some();
        if said || Attributes::decode(&bytes).is_none() || bytes.len() > usize::from(u16::MAX) {
            return Err("extension_base64 is none, or is not alone; export it again".to_owned());
        }
        return Ok(bytes.into_owned());
    }
    let priority: u8 = fields.number("priority")?.unwrap_or(0);
    if priority > PRIORITY_MAX {
        return Err(format!(
            "priority is {priority}; expected 0 to {PRIORITY_MAX}"
        ));
    }
    let letter = fields.text("letter_of_group")?.map(|text| {
        let bad = || {
            format!(
                "letter_of_group is '{}'; expected hex digits",
                shortened(&text)
            )
        };
        u64::from_str_radix(&text, 16).map_err(|_| bad())
    });
    let says = Says {
        of: Attributes {
            priority,
            deliver_at_ms,
            expires_at_ms,
        },
        letter: letter.transpose()?,
    };
    Ok(says.encode())
}
