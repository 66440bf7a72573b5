//! A filter of a group: which messages it takes, by their key and headers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::base64;
use super::json::{self, Json};
use crate::error::{Error, ErrorKind, Result};

/// Longest text of a filter in bytes, as given and as stored.
pub const FILTER_BYTES_MAX: usize = 4096;
/// Most filters inside of each other.
pub const FILTER_DEPTH_MAX: usize = 16;
/// What a filter of that depth may take of JSON: its lists and objects, and those of its headers.
const JSON_DEPTH_MAX: usize = 2 * FILTER_DEPTH_MAX + 2;
const MEMBERS: &str = "key, key_prefix, headers, any, all or not";

/// Which messages a group takes, by key and headers: a small mapping, written as JSON.
///
/// Its members, all of which must hold:
///
/// - `key`: a text that the key is equal to; `true` for any key, `false` for none.
/// - `key_prefix`: a text that the key begins with.
/// - `headers`: an object of header names, each with a text that a header of the name is equal to,
///   `{"prefix": "..."}` for what one begins with, `true` for any, `false` for none.
/// - `any`: a list of filters, of which one must hold; `all`: one of which all must.
/// - `not`: a filter that must not hold.
///
/// In place of a text stands `{"base64": "..."}` for bytes that are none. The empty filter `{}`
/// takes everything, as a group without one does. A text has at most 4,096 bytes, and filters are
/// at most 16 inside of each other.
///
/// ```
/// use libqueue::Filter;
///
/// let europe = Filter::parse(r#"{"key_prefix": "eu-", "headers": {"test": false}}"#)?;
/// assert!(europe.matches(Some(b"eu-17"), [].into_iter()));
/// assert!(!europe.matches(Some(b"us-17"), [].into_iter()));
/// assert!(!europe.matches(Some(b"eu-17"), [("test", &b"1"[..])].into_iter()));
/// # Ok::<(), libqueue::Error>(())
/// ```
#[derive(Clone)]
pub struct Filter(Arc<Parsed>);

struct Parsed {
    /// The one text that all filters have which say the same in the same way.
    text: String,
    node: Node,
}

/// What must hold, all of it. Lists that are there are not empty.
#[derive(Default)]
struct Node {
    key: Option<Condition>,
    key_prefix: Option<Vec<u8>>,
    headers: BTreeMap<String, Condition>,
    any: Vec<Node>,
    all: Vec<Node>,
    not: Option<Box<Node>>,
}

/// What must hold of a key, or of the headers of a name.
enum Condition {
    Equal(Vec<u8>),
    Prefix(Vec<u8>),
    There,
    Absent,
}

impl Filter {
    /// The filter that this text of JSON says. [`ErrorKind::InvalidFilter`] names the place in it,
    /// what was found there and what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        check_length("filter", text)?;
        let json = json::read(text, JSON_DEPTH_MAX)
            .map_err(|what| bad(format!("filter is no JSON: {what}")))?;
        let node = Node::of(&json, "filter", 1)?;
        let mut text = String::new();
        node.write(&mut text);
        // Bytes that are named in base64 may be longer as text.
        check_length("filter, as it is stored,", &text)?;
        Ok(Self(Arc::new(Parsed { text, node })))
    }

    /// Its text, in which members, blanks and escapes are always written the same way.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether it is the empty filter `{}`, which stands for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.text == "{}"
    }

    /// Whether a message with this key and these headers is one that it takes. Of headers with the
    /// same name one must be as asked for.
    #[must_use]
    pub fn matches<'a>(
        &self,
        key: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> bool {
        self.0.node.matches(key, &headers)
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({})", self.as_str())
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Filter {}

impl Condition {
    fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Equal(bytes) => value == Some(bytes),
            Self::Prefix(bytes) => value.is_some_and(|value| value.starts_with(bytes)),
            Self::There => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }

    /// Of a header; of a key where `of_key` says so, which has its prefix as a member of its own.
    fn of(json: &Json, at: &str, of_key: bool) -> Result<Self> {
        match json {
            Json::Flag(true) => return Ok(Self::There),
            Json::Flag(false) => return Ok(Self::Absent),
            Json::Object(members) if !of_key && members.len() == 1 && members[0].0 == "prefix" => {
                return Ok(Self::Prefix(bytes(&members[0].1, &format!("{at}.prefix"))?));
            }
            _ => {}
        }
        let expected = match of_key {
            true => r#"text, {"base64": text}, true or false"#,
            false => r#"text, {"base64": text}, {"prefix": text}, true or false"#,
        };
        match text_or_base64(json, at)? {
            Some(bytes) => Ok(Self::Equal(bytes)),
            None => Err(found(json, at, expected)),
        }
    }

    fn write(&self, into: &mut String) {
        match self {
            Self::Equal(bytes) => write_bytes(bytes, into),
            Self::Prefix(bytes) => {
                into.push_str("{\"prefix\":");
                write_bytes(bytes, into);
                into.push('}');
            }
            Self::There => into.push_str("true"),
            Self::Absent => into.push_str("false"),
        }
    }
}

impl Node {
    fn of(json: &Json, at: &str, depth: usize) -> Result<Self> {
        if depth > FILTER_DEPTH_MAX {
            return Err(bad(format!(
                "{at} is inside of {FILTER_DEPTH_MAX} others; expected at most that many filters \
                 inside of each other"
            )));
        }
        let Json::Object(members) = json else {
            return Err(found(json, at, &format!("an object with {MEMBERS}")));
        };
        let mut node = Self::default();
        for (name, value) in members {
            let at = format!("{at}.{name}");
            match name.as_str() {
                "key" => node.key = Some(Condition::of(value, &at, true)?),
                "key_prefix" => node.key_prefix = Some(bytes(value, &at)?),
                "headers" => node.headers = headers(value, &at)?,
                "any" => node.any = list(value, &at, depth)?,
                "all" => node.all = list(value, &at, depth)?,
                "not" => node.not = Some(Box::new(Self::of(value, &at, depth + 1)?)),
                _ => return Err(bad(format!("{at} is no member; expected {MEMBERS}"))),
            }
        }
        Ok(node)
    }

    fn matches<'a>(
        &self,
        key: Option<&[u8]>,
        headers: &(impl Iterator<Item = (&'a str, &'a [u8])> + Clone),
    ) -> bool {
        let header = |(name, condition): (&String, &Condition)| {
            let mut named = headers.clone().filter(|(known, _)| known == name);
            match condition {
                Condition::Absent => named.next().is_none(),
                _ => named.any(|(_, value)| condition.holds(Some(value))),
            }
        };
        let inner = |node: &Self| node.matches(key, headers);
        let prefix = self.key_prefix.as_deref();
        self.key
            .as_ref()
            .is_none_or(|condition| condition.holds(key))
            && prefix.is_none_or(|prefix| key.is_some_and(|key| key.starts_with(prefix)))
            && self.headers.iter().all(header)
            && (self.any.is_empty() || self.any.iter().any(inner))
            && self.all.iter().all(inner)
            && !self.not.as_deref().is_some_and(inner)
    }

    fn write(&self, into: &mut String) {
        let mut first = true;
        let mut member = |name: &str, into: &mut String| {
            into.push_str(if first { "\"" } else { ",\"" });
            into.push_str(name);
            into.push_str("\":");
            first = false;
        };
        into.push('{');
        if let Some(condition) = &self.key {
            member("key", into);
            condition.write(into);
        }
        if let Some(prefix) = &self.key_prefix {
            member("key_prefix", into);
            write_bytes(prefix, into);
        }
        if !self.headers.is_empty() {
            member("headers", into);
            for (number, (name, condition)) in self.headers.iter().enumerate() {
                into.push(if number == 0 { '{' } else { ',' });
                json::write_text(name, into);
                into.push(':');
                condition.write(into);
            }
            into.push('}');
        }
        for (name, nodes) in [("any", &self.any), ("all", &self.all)] {
            if nodes.is_empty() {
                continue;
            }
            member(name, into);
            for (number, node) in nodes.iter().enumerate() {
                into.push(if number == 0 { '[' } else { ',' });
                node.write(into);
            }
            into.push(']');
        }
        if let Some(node) = &self.not {
            member("not", into);
            node.write(into);
        }
        into.push('}');
    }
}

fn headers(json: &Json, at: &str) -> Result<BTreeMap<String, Condition>> {
    let members = match json {
        Json::Object(members) if !members.is_empty() => members,
        _ => return Err(found(json, at, "an object with a header's name at least")),
    };
    let one = |(name, value): &(String, Json)| {
        let condition = Condition::of(value, &format!("{at}.{name}"), false)?;
        Ok((name.clone(), condition))
    };
    members.iter().map(one).collect()
}

fn list(json: &Json, at: &str, depth: usize) -> Result<Vec<Node>> {
    let items = match json {
        Json::List(items) if !items.is_empty() => items,
        _ => return Err(found(json, at, "a list of one filter at least")),
    };
    let one = |(number, item)| Node::of(item, &format!("{at}[{number}]"), depth + 1);
    items.iter().enumerate().map(one).collect()
}

fn bytes(json: &Json, at: &str) -> Result<Vec<u8>> {
    let bytes = text_or_base64(json, at)?;
    bytes.ok_or_else(|| found(json, at, r#"text or {"base64": text}"#))
}

fn text_or_base64(json: &Json, at: &str) -> Result<Option<Vec<u8>>> {
    match json {
        Json::Text(text) => Ok(Some(text.as_bytes().to_vec())),
        Json::Object(members) if members.len() == 1 && members[0].0 == "base64" => {
            let at = format!("{at}.base64");
            let Json::Text(text) = &members[0].1 else {
                return Err(found(&members[0].1, &at, "text"));
            };
            let bytes = base64::decode(text);
            bytes.map(Some).ok_or_else(|| {
                bad(format!(
                    "{at} is {text:?}; expected base64 with its padding"
                ))
            })
        }
        _ => Ok(None),
    }
}

fn write_bytes(bytes: &[u8], into: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => json::write_text(text, into),
        Err(_) => into.push_str(&format!("{{\"base64\":\"{}\"}}", base64::encode(bytes))),
    }
}

fn check_length(what: &str, text: &str) -> Result<()> {
    if text.len() <= FILTER_BYTES_MAX {
        return Ok(());
    }
    let found = text.len();
    Err(bad(format!(
        "{what} has {found} bytes; expected at most {FILTER_BYTES_MAX}"
    )))
}

#[cold]
fn found(json: &Json, at: &str, expected: &str) -> Error {
    let found = match json {
        Json::List(items) if items.is_empty() => "an empty list",
        Json::Object(members) if members.is_empty() => "an empty object",
        other => other.kind(),
    };
    bad(format!("{at} is {found}; expected {expected}"))
}

#[cold]
fn bad(message: String) -> Error {
    Error::new(ErrorKind::InvalidFilter, message)
}
