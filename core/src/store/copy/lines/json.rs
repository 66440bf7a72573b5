//! The members of an object, each of which stays as it was written until somebody says what it has
//! to be: numbers are exact, nothing is nested deeper than it is looked for, and what nobody wants
//! takes no room but its own (P18).

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Told;

/// Most members of an object.
const MEMBERS: usize = 256;
/// What is shown of a value in an error.
const SHOWN: usize = 60;
/// Most characters of an error.
const WHAT: usize = 300;

/// The members of an object.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    members: Vec<(String, &'a str)>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Told<Self> {
        Self::read_most(text, MEMBERS)
    }

    /// As `read`, of so many members at most.
    pub(super) fn read_most(text: &'a str, most: usize) -> Told<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_map(Members { most });
        let read = read.and_then(|found| reader.end().map(|()| found));
        read.map_err(|error| {
            // The line that it counts is one of this text.
            let text = error.to_string();
            let what = text
                .rsplit_once(" at line ")
                .map_or(&*text, |(what, _)| what);
            format!("{} at byte {}", shortened(what), error.column())
        })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The members of the object that a member is.
    pub(super) fn object(&self, name: &str) -> Option<Told<Fields<'a>>> {
        let mut named = self.members.iter().rev().filter(|(known, _)| known == name);
        let raw = named.next().map(|(_, raw)| *raw)?;
        raw.starts_with('{').then(|| Self::read(raw))
    }

    /// Takes a member, the last one of its name; null is as none.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a str> {
        let mut found = None;
        self.members.retain(|(known, raw)| {
            found = if known == name { Some(*raw) } else { found };
            known != name
        });
        found.filter(|raw| *raw != "null")
    }

    pub(super) fn text(&mut self, name: &str) -> Told<Option<Cow<'a, str>>> {
        let raw = self.take(name);
        raw.map(|raw| {
            text_of(raw).ok_or_else(|| format!("{name} is {}; expected text", shown(raw)))
        })
        .transpose()
    }

    /// As `text`, where it has to be there; `what` it is.
    pub(super) fn needed(&mut self, name: &str, what: &str) -> Told<Cow<'a, str>> {
        let missing = || format!("{name} is missing; expected {what}");
        self.text(name)?.ok_or_else(missing)
    }

    /// Bytes: as text, or in base64 under a name of its own.
    pub(super) fn bytes(&mut self, name: &str) -> Told<Option<Cow<'a, [u8]>>> {
        let coded = format!("{name}_base64");
        match (self.text(name)?, self.text(&coded)?) {
            (Some(_), Some(_)) => Err(format!("both {name} and {coded}; give one of them")),
            (None, Some(text)) => decoded(&text, &coded).map(|bytes| Some(Cow::Owned(bytes))),
            (Some(Cow::Owned(text)), None) => Ok(Some(Cow::Owned(text.into_bytes()))),
            (Some(Cow::Borrowed(text)), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
            (None, None) => Ok(None),
        }
    }

    /// A whole number of these.
    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str) -> Told<Option<T>> {
        let raw = self.take(name);
        raw.map(|raw| number_of(raw, name)).transpose()
    }

    /// As `number`, where it has to be there.
    pub(super) fn count<T: std::str::FromStr>(&mut self, name: &str) -> Told<T> {
        let missing = || format!("{name} is missing; expected a whole number");
        self.number(name)?.ok_or_else(missing)
    }

    /// Each member as it was written.
    pub(super) fn members(self) -> Vec<(String, &'a str)> {
        self.members
    }

    /// Each member and its text.
    pub(super) fn texts(self) -> impl Iterator<Item = Told<(String, Cow<'a, str>)>> {
        self.members.into_iter().map(|(name, raw)| {
            let found = text_of(raw);
            let found = found.ok_or_else(|| format!("{name} is {}; expected text", shown(raw)))?;
            Ok((name, found))
        })
    }

    /// Errors if a member is left.
    pub(super) fn end(self) -> Told<()> {
        if self.members.is_empty() {
            return Ok(());
        }
        let mut names: Vec<String> = self.members.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        Err(format!("unknown members: {}", shortened(&names.join(", "))))
    }
}

struct Members {
    most: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == self.most {
                return Err(A::Error::custom(format!("more than {} members", self.most)));
            }
            members.push((name, map.next_value::<&RawValue>()?.get()));
        }
        Ok(Fields { members })
    }
}

/// Text, without a copy where nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Plain;
        impl<'de> Visitor<'de> for Plain {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        reader.deserialize_str(Plain)
    }
}

/// The elements of a list, one after the other; `each` says what is wrong with one.
pub(super) fn each<'a>(
    raw: &'a str,
    name: &str,
    take: &mut dyn FnMut(&'a str) -> Told<()>,
) -> Told<()> {
    struct Elements<'t, 'a>(&'t mut dyn FnMut(&'a str) -> Told<()>);
    impl<'de> Visitor<'de> for Elements<'_, 'de> {
        type Value = Told<()>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Told<()>, A::Error> {
            let mut told = Ok(());
            while let Some(one) = list.next_element::<&RawValue>()? {
                // The rest is passed over, as a list has to be read to its end.
                if told.is_ok() {
                    told = (self.0)(one.get());
                }
            }
            Ok(told)
        }
    }
    let read = serde_json::Deserializer::from_str(raw).deserialize_seq(Elements(take));
    read.map_err(|_| format!("{name} is {}; expected a list", shown(raw)))?
}

/// The text that this is.
pub(super) fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    let read: Result<Text<'_>, _> = serde_json::from_str(raw);
    read.ok().map(|text| text.0)
}

/// The whole number that this is.
pub(super) fn number_of<T: std::str::FromStr>(raw: &str, name: &str) -> Told<T> {
    raw.parse().map_err(|_| {
        let of = std::any::type_name::<T>();
        format!("{name} is {}; expected a whole number ({of})", shown(raw))
    })
}

/// The bytes that this is in base64.
pub(super) fn decoded(text: &str, name: &str) -> Told<Vec<u8>> {
    let bytes = STANDARD.decode(text.as_bytes());
    bytes.map_err(|error| format!("{name} is no base64: {error}"))
}

/// A value in an error.
pub(super) fn shown(raw: &str) -> String {
    match text_of(raw) {
        Some(text) => format!("'{}'", shortened(&text)),
        None => shortened(raw),
    }
}

/// The beginning of what may be long, on one line.
pub(super) fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(SHOWN).map(plain).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// What is wrong, without the middle of a name that is no name.
pub(super) fn bounded(what: &str) -> Cow<'_, str> {
    let chars: Vec<char> = what.chars().take(WHAT + 1).collect();
    if chars.len() <= WHAT {
        return Cow::Borrowed(what);
    }
    let start = chars.into_iter().take(WHAT / 2);
    let mut end: Vec<char> = what.chars().rev().take(WHAT / 2).collect();
    end.reverse();
    Cow::Owned(start.chain(['…']).chain(end).collect())
}
