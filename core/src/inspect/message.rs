//! What must hold of a message besides its checksum.

use super::bytes::Bytes;
use super::clock_text::utc;
use crate::error::Result;
use crate::format::extension::Attributes;
use crate::format::headers::Headers;
use crate::format::murmur2;
use crate::format::record::{HAS_KEY, HEADER, Header, KIND, MESSAGE, MORE};

/// Bytes of key and headers up to which they are looked at.
const MOST: u64 = 16 << 20;

/// What is wrong with a whole message. `before` is the timestamp of the one before it; `closed`
/// says that nobody can have died while it was published.
pub(super) fn check(
    bytes: &mut Bytes,
    position: u64,
    header: &Header,
    before: i64,
    closed: bool,
) -> Result<Option<String>> {
    let offset = header.offset;
    let kind = bytes.get(position + KIND as u64, 1)?.map(|byte| byte[0]);
    if closed && kind != Some(MESSAGE) {
        return Ok(Some(format!(
            "offset {offset} is whole, but says that it is still being copied"
        )));
    }
    if header.timestamp_ns < before {
        return Ok(Some(format!(
            "offset {offset} has the time {}, the one before it {}; times never fall",
            utc(header.timestamp_ns),
            utc(before)
        )));
    }
    if header.flags & !(HAS_KEY | MORE) != 0 {
        return Ok(Some(format!(
            "offset {offset} has flags {:#04x}; this version knows flags up to 0x03",
            header.flags
        )));
    }
    let extension_len = u64::from(header.extension_len);
    let extension = bytes.get(position + HEADER as u64, extension_len)?;
    if Attributes::decode(extension.unwrap_or_default()).is_none() {
        let what = format!("the extension of offset {offset} is not what was written");
        return Ok(Some(what));
    }
    let (key_len, headers_len) = (u64::from(header.key_len), u64::from(header.headers_len));
    if key_len + headers_len > MOST {
        return Ok(None);
    }
    let key_at = position + HEADER as u64 + extension_len;
    let body = bytes.get(key_at, key_len + headers_len)?;
    let body = body.unwrap_or_default();
    let Some((key, headers)) = body.split_at_checked(header.key_len as usize) else {
        return Ok(None);
    };
    let hash = match header.flags & HAS_KEY {
        0 => 0,
        _ => murmur2::key_hash(key),
    };
    if header.flags & HAS_KEY == 0 && key_len > 0 {
        let what = format!("offset {offset} has a key of {key_len} bytes and says it has none");
        return Ok(Some(what));
    }
    if header.key_hash != hash {
        return Ok(Some(format!(
            "offset {offset} has the key hash {:#018x}, its key's is {hash:#018x}",
            header.key_hash
        )));
    }
    let whole = Headers::is_whole(headers);
    Ok((!whole).then(|| format!("the headers of offset {offset} are no whole block")))
}
