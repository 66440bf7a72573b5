//! What lines said, put aside as blocks until all lines were read: a partition's messages may be
//! anywhere among them, and it is imported as a whole.
//!
//! The file is nobody's when the process dies: it lies in the folder of the import, which the next
//! import removes.

use std::sync::Arc;

use crate::error::Result;
use crate::storage::File;

/// A block that was put aside, and the line that it is of.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) kind: u32,
    length: u32,
    at: u64,
    pub(super) line: u64,
}

pub(super) struct Spool {
    file: Arc<dyn File>,
    end: u64,
}

impl Spool {
    pub(super) fn new(file: Arc<dyn File>) -> Self {
        Self { file, end: 0 }
    }

    /// A body is never longer than `BODY_MAX`.
    pub(super) fn put(&mut self, kind: u32, line: u64, body: &[u8]) -> Result<Piece> {
        self.file.write_at(body, self.end)?;
        let piece = Piece {
            kind,
            length: body.len() as u32,
            at: self.end,
            line,
        };
        self.end += body.len() as u64;
        Ok(piece)
    }

    pub(super) fn get(&self, piece: &Piece) -> Result<Vec<u8>> {
        let mut body = vec![0; piece.length as usize];
        self.file.read_at(&mut body, piece.at)?;
        Ok(body)
    }

    /// Bytes that were put aside.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }
}
