//! Writing and reading the blocks of an export.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::export::{BLOCK, BODY_MAX, Block, HEAD, head, read_head};

/// Bytes that are asked for at once: what a length says is not believed before they are there.
const PIECE: usize = 1 << 20;

/// What an export is called in errors where no file has a name.
const HERE: &str = "the export";

/// What the blocks of an export go to.
pub(super) trait Sink {
    fn block(&mut self, kind: u32, body: &[u8]) -> Result<()>;
    /// All were there; the bytes that were written.
    fn finish(&mut self) -> Result<u64>;
}

/// What the blocks of an export come from.
pub(super) trait Source {
    /// The next block: kind and body.
    fn block(&mut self) -> Result<(u32, Vec<u8>)>;
    /// Whether nothing follows.
    fn is_over(&mut self) -> Result<bool>;
    /// Bytes so far.
    fn bytes(&self) -> u64;
    /// The error of what is wrong with the block that was read last.
    fn damaged(&self, what: &str) -> Error;
    /// As `damaged`, of the group whose last block is the one before.
    fn damaged_group(&self, what: &str) -> Error {
        self.damaged(what)
    }
}

/// Writes blocks.
pub(super) struct Writer<'a> {
    to: &'a mut dyn Write,
    number: u32,
    /// Bytes so far.
    bytes: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(to: &'a mut dyn Write) -> Result<Self> {
        let mut writer = Self {
            to,
            number: 0,
            bytes: 0,
        };
        writer.put(&head())?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(failed)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Sink for Writer<'_> {
    fn block(&mut self, kind: u32, body: &[u8]) -> Result<()> {
        self.put(&Block::of(kind, self.number, body))?;
        self.put(body)?;
        self.number = self.number.wrapping_add(1);
        Ok(())
    }

    fn finish(&mut self) -> Result<u64> {
        self.to.flush().map_err(failed)?;
        Ok(self.bytes)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("write", Path::new(HERE), error)
}

/// Reads blocks, and tells where one is not what was written.
pub(super) struct Reader<'a> {
    from: &'a mut dyn Read,
    number: u32,
    /// Bytes so far.
    bytes: u64,
    /// Where the last block began.
    at: u64,
    body: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn begin(from: &'a mut dyn Read) -> Result<Self> {
        let mut reader = Self {
            from,
            number: 0,
            bytes: 0,
            at: 0,
            body: Vec::new(),
        };
        let mut bytes = [0; HEAD];
        let got = reader.fill(&mut bytes)?;
        if got < HEAD {
            return Err(reader.damaged(&format!("it has {got} bytes, its head has {HEAD}")));
        }
        match read_head(&bytes) {
            Ok(VERSION) => Ok(reader),
            Ok(version) => {
                let message = format!(
                    "the export has format {version}, this build reads format {VERSION}; use a \
                     version of libqueue that knows format {version}"
                );
                Err(Error::new(ErrorKind::Incompatible, message))
            }
            Err(what) => Err(reader.damaged(what)),
        }
    }

    fn fill_body(&mut self, length: u64) -> Result<bool> {
        self.body.clear();
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            let (some, before) = (left.min(PIECE), self.body.len());
            self.body.resize(before + some, 0);
            let mut body = std::mem::take(&mut self.body);
            let got = self.fill(&mut body[before..]);
            self.body = body;
            if got? < some {
                return Ok(false);
            }
            left -= some;
        }
        Ok(true)
    }

    /// Fewer bytes than asked for at the end alone.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < bytes.len() {
            match self.from.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(some) => got += some,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", Path::new(HERE), error)),
            }
        }
        self.bytes += got as u64;
        Ok(got)
    }

    #[cold]
    fn cut(&self) -> Error {
        self.damaged(&format!(
            "it ends after {} bytes, in the middle of a block or before its end mark",
            self.bytes
        ))
    }
}

impl Source for Reader<'_> {
    fn block(&mut self) -> Result<(u32, Vec<u8>)> {
        self.at = self.bytes;
        let mut bytes = [0; BLOCK];
        if self.fill(&mut bytes)? < BLOCK {
            return Err(self.cut());
        }
        let block = Block::decode(&bytes);
        let length = u64::from(block.length);
        if length > BODY_MAX {
            return Err(self.damaged(&format!("a block has {length} bytes, at most {BODY_MAX}")));
        }
        if !self.fill_body(length)? {
            return Err(self.cut());
        }
        if !block.is_whole(&self.body) {
            return Err(self.damaged("the checksum of the block that begins here is wrong"));
        }
        if block.number != self.number {
            let what = format!(
                "the block that begins here has number {}, expected {}",
                block.number, self.number
            );
            return Err(self.damaged(&what));
        }
        self.number = self.number.wrapping_add(1);
        Ok((block.kind, std::mem::take(&mut self.body)))
    }

    fn is_over(&mut self) -> Result<bool> {
        self.at = self.bytes;
        Ok(self.fill(&mut [0])? == 0)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cold]
    fn damaged(&self, what: &str) -> Error {
        let message = format!(
            "the export at byte {}: {what}; nothing was imported: export it again, or take another \
             copy",
            self.at
        );
        Error::new(ErrorKind::Damaged, message)
    }
}
