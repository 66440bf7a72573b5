//! Exports as files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::export::ExportStats;
use super::import::{ImportOptions, ImportStats};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

const BUFFER: usize = 1 << 20;

impl Store {
    /// As [`Store::export`], into a file. It gets its name, and takes the place of what had it,
    /// once it is whole and on disk; a death before leaves one named `.NAME.new` beside it, which
    /// the next export to the same place overwrites. What is there and no file, such as a pipe, is
    /// written as it comes.
    pub fn export_file(
        &self,
        topics: &[&str],
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ExportStats> {
        into_file(path.as_ref(), |to| self.export(topics, to, progress))
    }

    /// As [`Store::import`], from a file, whose bytes `progress` is told.
    pub fn import_file(
        &self,
        path: impl AsRef<Path>,
        options: &ImportOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<ImportStats> {
        out_of_file(path.as_ref(), options, |from, options| {
            self.import(from, options, progress)
        })
    }
}

/// Writes a file that gets its name once it is whole and on disk; or what is there and no file.
pub(super) fn into_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<ExportStats>,
) -> Result<ExportStats> {
    if path.metadata().is_ok_and(|known| !known.is_file()) {
        let opened = File::options().write(true).open(path);
        let file = opened.map_err(|e| Error::io("open", path, e))?;
        let mut to = BufWriter::with_capacity(BUFFER, file);
        return write(&mut to);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        let message = format!("{} is not the path of a file", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    };
    let temporary = folder.join(format!(".{}.new", name.to_string_lossy()));
    let made = File::create(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
    let mut to = BufWriter::with_capacity(BUFFER, made);
    let written = write(&mut to).and_then(|stats| {
        let failed = |e| Error::io("write", &temporary, e);
        to.flush().map_err(failed)?;
        to.get_ref().sync_all().map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(|e| Error::io("rename", &temporary, e))?;
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let synced = File::open(folder).and_then(|opened| opened.sync_all());
        synced.map_err(|e| Error::io("sync the folder", folder, e))?;
        Ok(stats)
    });
    if written.is_err() {
        // Room on a full disk is given back; if that fails too, the next export does it.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Reads a file, whose length is known.
pub(super) fn out_of_file(
    path: &Path,
    options: &ImportOptions,
    read: impl FnOnce(&mut dyn Read, &ImportOptions) -> Result<ImportStats>,
) -> Result<ImportStats> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let known = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    let bytes = known.is_file().then_some(known.len());
    let options = ImportOptions {
        bytes: options.bytes.or(bytes),
        ..*options
    };
    let mut from = BufReader::with_capacity(BUFFER, file);
    read(&mut from, &options).map_err(|error| error.context(path.display()))
}
