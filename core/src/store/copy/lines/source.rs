//! Lines that were all read, as the blocks of an export.

use std::collections::VecDeque;

use super::bad;
use super::spool::{Piece, Spool};
use crate::error::{Error, Result};
use crate::format::export::GROUP;
use crate::store::copy::stream::Source;

/// What comes next.
pub(super) enum Step {
    /// What was put aside.
    Aside(Piece),
    /// A block of this kind, made of the line with this number.
    Here(u32, u64, Vec<u8>),
}

pub(super) struct Spooled {
    spool: Spool,
    steps: VecDeque<Step>,
    /// Bytes of the lines.
    lines: u64,
    /// Bytes that were taken back.
    taken: u64,
    /// The line of the last block, and of the last group.
    line: u64,
    group: u64,
}

impl Spooled {
    pub(super) fn new(spool: Spool, steps: VecDeque<Step>, lines: u64) -> Self {
        Self {
            spool,
            steps,
            lines,
            taken: 0,
            line: 0,
            group: 0,
        }
    }
}

impl Source for Spooled {
    fn block(&mut self) -> Result<(u32, Vec<u8>)> {
        let (kind, line, body) = match self.steps.pop_front() {
            Some(Step::Here(kind, line, body)) => (kind, line, body),
            Some(Step::Aside(piece)) => {
                let body = self.spool.get(&piece)?;
                self.taken += body.len() as u64;
                (piece.kind, piece.line, body)
            }
            None => return Err(self.damaged("something behind the end")),
        };
        self.line = line;
        if kind == GROUP {
            self.group = line;
        }
        Ok((kind, body))
    }

    fn is_over(&mut self) -> Result<bool> {
        Ok(self.steps.is_empty())
    }

    /// Reading the lines was the first half.
    fn bytes(&self) -> u64 {
        let half = self.lines / 2;
        let all = u128::from(self.spool.bytes().max(1));
        let rest = u128::from(self.lines - half) * u128::from(self.taken) / all;
        half + u64::try_from(rest).unwrap_or(0)
    }

    fn damaged(&self, what: &str) -> Error {
        bad(self.line, what)
    }

    fn damaged_group(&self, what: &str) -> Error {
        bad(self.group, what)
    }
}
