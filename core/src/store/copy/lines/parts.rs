//! Bytes and headers between what they are and JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Told;
use super::json::{Fields, decoded, each, shortened, shown, text_of};
use crate::format::headers::{Headers, encode};

/// Most headers of a message.
const HEADERS: usize = u16::MAX as usize;

/// Puts text with its quotation marks.
pub(super) fn put_text(text: &str, into: &mut Vec<u8>) {
    // A vector takes all.
    let _ = serde_json::to_writer(into, text);
}

/// Puts a name and the colon behind it.
pub(super) fn put_name(name: &str, into: &mut Vec<u8>) {
    put_text(name, into);
    into.push(b':');
}

/// Puts bytes in base64, with quotation marks.
pub(super) fn put_base64(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    into.push(b'"');
}

/// Puts a member: text where the bytes are UTF-8, else in base64 under another name.
pub(super) fn put_bytes(name: &str, bytes: &[u8], into: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            put_name(name, into);
            put_text(text, into);
        }
        Err(_) => {
            put_name(&format!("{name}_base64"), into);
            put_base64(bytes, into);
        }
    }
}

/// Puts headers: an object, or a list of pairs where a name comes twice.
pub(super) fn put_headers(block: &[u8], into: &mut Vec<u8>) {
    let mut names: Vec<&str> = Headers::new(block).map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    let object = names.len() == count;
    into.push(if object { b'{' } else { b'[' });
    for (number, (name, value)) in Headers::new(block).enumerate() {
        if number > 0 {
            into.push(b',');
        }
        if object {
            put_name(name, into);
        } else {
            into.push(b'[');
            put_text(name, into);
            into.push(b',');
        }
        match std::str::from_utf8(value) {
            Ok(text) => put_text(text, into),
            Err(_) => {
                into.extend_from_slice(b"{\"base64\":");
                put_base64(value, into);
                into.push(b'}');
            }
        }
        if !object {
            into.push(b']');
        }
    }
    into.push(if object { b'}' } else { b']' });
}

/// As `put_headers`, back.
pub(super) fn headers_of(raw: &str) -> Told<Vec<u8>> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, [u8]>)> = Vec::new();
    if raw.starts_with('{') {
        let mut places = HashMap::new();
        for (name, value) in Fields::read_most(raw, HEADERS)?.members() {
            let value = header(value, &name)?;
            // Of two of one name in an object the last one is meant, as of any members.
            match places.get(&name) {
                Some(place) => pairs[*place] = (name.into(), value),
                None => {
                    places.insert(name.clone(), pairs.len());
                    pairs.push((name.into(), value));
                }
            }
        }
    } else {
        each(raw, "headers", &mut |pair| {
            if pairs.len() == HEADERS {
                return Err(format!("more than {HEADERS} headers"));
            }
            let mut parts = Vec::new();
            each(pair, "a header", &mut |part| {
                parts.push(part);
                match parts.len() {
                    3.. => Err(format!(
                        "a header is {}; expected name and value",
                        shown(pair)
                    )),
                    _ => Ok(()),
                }
            })?;
            let [name, value] = parts[..] else {
                return Err(format!(
                    "a header is {}; expected name and value",
                    shown(pair)
                ));
            };
            let name = text_of(name)
                .ok_or_else(|| format!("a header's name is {}; expected text", shown(name)))?;
            let value = header(value, &name)?;
            pairs.push((name, value));
            Ok(())
        })?;
    }
    let pairs: Vec<(&str, &[u8])> = pairs
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let mut block = Vec::new();
    let done = encode(&pairs, &mut block);
    done.map_err(|error| error.message().to_owned())?;
    Ok(block)
}

/// The value of a header.
fn header<'a>(raw: &'a str, name: &str) -> Told<Cow<'a, [u8]>> {
    let name = shortened(name);
    if raw.starts_with('{') {
        let mut fields = Fields::read(raw)?;
        let text = fields.needed("base64", "the header's value")?;
        fields.end()?;
        return decoded(&text, &format!("header '{name}'")).map(Cow::Owned);
    }
    match text_of(raw) {
        Some(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Some(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
        None => Err(format!("header '{name}' is {}; expected text", shown(raw))),
    }
}
