//! Lines, one after the other, each held as a whole and no longer than one can be.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::bad;
use crate::error::{Error, Result};
use crate::format::export::BODY_MAX;

/// Bytes that are read at once, and are kept from one line to the next.
const PIECE: usize = 1 << 20;
/// Most bytes of a line: of a message of the largest size, in which each byte is an escape of six.
const LINE_MAX: u64 = 6 * BODY_MAX;
/// What some editors begin a text with.
const MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) struct Input<'a> {
    from: BufReader<&'a mut dyn Read>,
    line: Vec<u8>,
    most: u64,
    /// The number of the last line, from 1 on.
    number: u64,
    /// Bytes so far.
    pub(super) bytes: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Self {
            from: BufReader::with_capacity(PIECE, from),
            line: Vec::new(),
            most: LINE_MAX,
            number: 0,
            bytes: 0,
        }
    }

    /// As `new`, with lines of so many bytes at most.
    #[cfg(test)]
    pub(super) fn of_at_most(from: &'a mut dyn Read, most: u64) -> Self {
        Self {
            most,
            ..Self::new(from)
        }
    }

    /// Number and text of the next line that is not blank; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>> {
        while self.fill()? {
            if !self.line.is_empty() {
                let (number, text) = (self.number, std::str::from_utf8(&self.line));
                return text.map(|text| Some((number, text))).map_err(|error| {
                    let what = format!("byte {} is not of UTF-8", error.valid_up_to() + 1);
                    bad(number, &what)
                });
            }
        }
        Ok(None)
    }

    /// Whether there was one more, which `line` has then, without the white space at its end.
    fn fill(&mut self) -> Result<bool> {
        self.line.clear();
        self.line.shrink_to(PIECE);
        let start = self.bytes;
        loop {
            let before = self.line.len();
            let mut some = self.from.by_ref().take(PIECE as u64);
            let read = some.read_until(b'\n', &mut self.line);
            let got = read.map_err(|e| Error::io("read", Path::new("the lines"), e))?;
            self.number += u64::from(before == 0 && got > 0);
            self.bytes += got as u64;
            if before == 0 && self.line.starts_with(MARK) {
                self.line.drain(..MARK.len());
            }
            let over = self.line.last() == Some(&b'\n');
            // What cannot become an object is not read to its end.
            let first = self.line.iter().find(|byte| !byte.is_ascii_whitespace());
            if let Some(other) = first.filter(|first| **first != b'{') {
                let what = format!("expected an object, found {:?}", char::from(*other));
                return Err(bad(self.number, &what));
            }
            if self.bytes - start > self.most {
                let what = format!("more than {} bytes, which no message needs", self.most);
                return Err(bad(self.number, &what));
            }
            if over || got == 0 {
                self.line.truncate(self.line.trim_ascii_end().len());
                return Ok(got > 0 || !self.line.is_empty());
            }
            if first.is_none() {
                // White space without an end takes no room.
                self.line.clear();
                self.line.push(b' ');
            }
        }
    }
}
