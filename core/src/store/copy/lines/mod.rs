//! Exports and imports as JSON lines: an object a line, to be looked at and changed with any tool.
//!
//! An export is the blocks of the native one, each written as lines. An import reads all lines
//! first and puts what they say aside, as blocks, in a file of the folder that the import goes
//! through; then it is imported as any other. So a bad line is told of with its number before
//! anything is made, and memory holds one line and a few blocks, however many there are (P18).

mod groups;
mod input;
mod json;
mod message;
mod parts;
mod reading;
#[cfg(test)]
mod room_tests;
mod says;
mod source;
mod spool;
#[cfg(test)]
mod tests;
mod write;

use std::io::{Read, Write};
use std::path::Path;

use super::export::ExportStats;
use super::files::{into_file, out_of_file};
use super::import::{ImportOptions, ImportStats};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

impl Store {
    /// As [`Store::export`], as JSON lines: UTF-8, an object a line. A line has one of these:
    ///
    /// - `topic_config`: a topic and the fields of its configuration, before its messages;
    /// - `topic`, `partition`, `offset`, `timestamp_ns`, `key`, `headers`, `priority`,
    ///   `deliver_at_ms`, `expires_at_ms`, `payload`: a message. Bytes that are no UTF-8 are
    ///   `key_base64` and `payload_base64`, and `{"base64": ...}` in a header;
    /// - `log_end`: where a partition ends;
    /// - `group`, `standing`, `snapshot`: a group, where it stands in a partition, a snapshot;
    /// - `end`: how many topics, groups and messages there were.
    ///
    /// [`Store::import_lines`] reads them. [`ExportStats::bytes`] are those of the lines.
    ///
    /// ```
    /// # use libqueue::{ImportOptions, Message, Store, StoreOptions, TopicOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path().join("a"), StoreOptions::default())?;
    /// # let other = Store::open(folder.path().join("b"), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// orders.send(&Message::new(b"paid"))?;
    /// let mut lines = Vec::new();
    /// store.export_lines(&["orders"], &mut lines, &mut |_done, _total| Ok(()))?;
    /// let lines = String::from_utf8(lines).unwrap().replace("paid", "sent");
    /// let options = ImportOptions::default();
    /// let mut lines = lines.as_bytes();
    /// let done = other.import_lines(&mut lines, &options, &mut |_done, _total| Ok(()))?;
    /// assert_eq!((done.topics, done.messages), (1, 1));
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn export_lines(
        &self,
        topics: &[&str],
        to: &mut dyn Write,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ExportStats> {
        let shot = self.shot_of(topics)?;
        self.export_to(&shot, &mut write::Writer::new(to), progress)
    }

    /// Makes the topics of JSON lines, as [`Store::import`] does those of a native export.
    ///
    /// Lines may be left out, changed, and come from elsewhere: what is not said is as by default.
    /// A message needs its `topic`, and a `payload` or `payload_base64`. Without `offset` it
    /// follows on the one before, without `timestamp_ns` it is sent now, without `partition` its
    /// `key` finds it, or it is its turn; `delay` and `ttl` are seconds from now on. A topic that
    /// has no `topic_config` has one partition and the defaults. Lines of nothing but white space
    /// are passed over. Where there is an `end`, it is the last line, and has to agree with what
    /// was read.
    ///
    /// All lines are read and checked before anything is made. `progress` is told of bytes of the
    /// lines: reading them is the first half of it, making the topics the second.
    ///
    /// [`ErrorKind::InvalidArgument`] with the number of the line that cannot be, from 1 on; then
    /// nothing was imported. Otherwise as [`Store::import`].
    ///
    /// ```
    /// # use libqueue::{ErrorKind, ImportOptions, Store, StoreOptions};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(folder.path().join("a"), StoreOptions::default())?;
    /// let mut import = |mut lines: &[u8]| {
    ///     store.import_lines(&mut lines, &ImportOptions::default(), &mut |_done, _total| Ok(()))
    /// };
    /// let bad = import(b"{\"topic\": \"visits\", \"payload\": \"x\"}\n{\"payload\": \"x\"}\n");
    /// let error = bad.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    /// assert!(error.message().starts_with("line 2: topic is missing"));
    /// import(b"{\"topic\": \"visits\", \"payload\": \"x\", \"key\": \"user 1\"}\n")?;
    /// assert_eq!(store.topics()?, ["visits"]);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn import_lines(
        &self,
        from: &mut dyn Read,
        options: &ImportOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ImportStats> {
        let inner = self.inner()?;
        inner.check_send()?;
        let now_ns = inner.env.clock.wall_ns();
        self.import_through(options, progress, |staging, progress| {
            let reading = reading::Reading::new(staging.aside()?, now_ns);
            reading.read(from, &mut |done| progress(done, options.bytes.unwrap_or(0)))
        })
    }

    /// As [`Store::export_lines`], into a file, as [`Store::export_file`] does.
    pub fn export_lines_file(
        &self,
        topics: &[&str],
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ExportStats> {
        into_file(path.as_ref(), |to| self.export_lines(topics, to, progress))
    }

    /// As [`Store::import_lines`], from a file, as [`Store::import_file`] does.
    pub fn import_lines_file(
        &self,
        path: impl AsRef<Path>,
        options: &ImportOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ImportStats> {
        out_of_file(path.as_ref(), options, |from, options| {
            self.import_lines(from, options, progress)
        })
    }
}

/// The examples of the document that are in Rust.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/copy.md")]
struct Document;

/// What is wrong with what a line says.
type Told<T> = std::result::Result<T, String>;

/// The error of a line that cannot be.
#[cold]
fn bad(line: u64, what: &str) -> Error {
    let what = json::bounded(what);
    let message = format!("line {line}: {what}; nothing was imported");
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Why a line is not taken: what it says, or what befell while it was put aside.
enum Refused {
    Line(String),
    Other(Error),
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self::Line(what)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
