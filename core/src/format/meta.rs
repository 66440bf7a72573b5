//! The text files of a store: a first line that names kind and version, `key=value` lines, and the
//! CRC of all before it in the last line. A person can read them, a torn one is seen.

use std::collections::BTreeMap;

use super::VERSION;
use super::checksum::crc32;

/// The text of a meta file.
#[must_use]
pub fn encode(kind: &str, fields: &[(&str, String)]) -> String {
    let mut text = format!("libqueue {kind} {VERSION}\n");
    for (key, value) in fields {
        text.push_str(&format!("{key}={value}\n"));
    }
    let crc = crc32(text.as_bytes());
    text.push_str(&format!("crc={crc:08x}\n"));
    text
}

/// Why a meta file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its bytes are not what was written.
    Damaged(String),
    /// It was written by another version.
    Version(u32),
}

/// The fields of a meta file.
pub fn decode(kind: &str, bytes: &[u8]) -> Result<BTreeMap<String, String>, Bad> {
    let damaged = |what: &str| Bad::Damaged(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let first = text.lines().next().unwrap_or_default();
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let version = first
        .strip_prefix(&format!("libqueue {kind} "))
        .filter(digits)
        // One beyond all numbers is a newer one as well.
        .map(|version| version.parse::<u32>().unwrap_or(u32::MAX))
        .ok_or_else(|| {
            Bad::Damaged(format!("its first line is not \"libqueue {kind} VERSION\""))
        })?;
    if version != VERSION {
        return Err(Bad::Version(version));
    }
    let covered = text
        .rfind("crc=")
        .ok_or_else(|| damaged("it has no checksum"))?;
    if !is_whole(bytes) {
        return Err(damaged("its checksum is wrong"));
    }
    let fields = text[..covered].lines().skip(1);
    Ok(fields
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// Whether the bytes have their checksum, whichever version wrote them.
#[must_use]
pub fn is_whole(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let Some((covered, crc)) = text.rsplit_once("crc=") else {
        return false;
    };
    format!("{:08x}", crc32(covered.as_bytes())) == crc.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_a_meta_file_round_trips_and_every_damage_is_seen() {
        let text = encode("topic", &[("partitions", "4".into()), ("id", "ff".into())]);
        let fields = decode("topic", text.as_bytes()).expect("whole");
        assert_eq!(fields["partitions"], "4");
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let same = decode("topic", &damaged).is_ok_and(|found| found != fields);
            assert!(!same, "bit {bit} changed a field unseen");
        }
        assert_eq!(
            decode("topic", b"libqueue topic 2\ncrc=0\n"),
            Err(Bad::Version(2))
        );
    }
}
