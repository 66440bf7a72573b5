//! Backups, exports and imports.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use libqueue::{ExportStats, ImportOptions, ImportStats, Store};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::inspect::with_progress;

const BUFFER: usize = 1 << 20;

/// Where an export goes to, or comes from: a path, or what has `write` or `read`.
#[derive(FromPyObject)]
pub(crate) enum Place {
    Path(PathBuf),
    File(Py<PyAny>),
}

/// A Python file; remembers what it raised.
struct Stream {
    call: Py<PyAny>,
    raised: Option<PyErr>,
}

impl Stream {
    fn of(py: Python<'_>, file: &Py<PyAny>, verb: &str) -> PyResult<Self> {
        Ok(Self {
            call: file.getattr(py, verb)?,
            raised: None,
        })
    }

    fn kept<T>(&mut self, done: PyResult<T>) -> io::Result<T> {
        done.map_err(|raised| {
            self.raised = Some(raised);
            io::Error::other("the file raised")
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = Python::attach(|py| {
            let told = self.call.call1(py, (PyBytes::new(py, bytes),))?;
            // A raw file may take a part; others return nothing of interest.
            let some = told.extract::<usize>(py).unwrap_or(bytes.len());
            Ok(some.min(bytes.len()))
        });
        self.kept(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = Python::attach(|py| {
            let found = self.call.call1(py, (buffer.len(),))?;
            let found: &[u8] = found.extract(py)?;
            let some = found.len().min(buffer.len());
            buffer[..some].copy_from_slice(&found[..some]);
            Ok(some)
        });
        self.kept(got)
    }
}

/// As `Store.backup`.
pub(crate) fn backup<'py>(
    py: Python<'py>,
    store: &Store,
    path: &PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let made = with_progress(py, progress, |tell| store.backup(path, tell))?;
    dict(
        py,
        &[
            ("topics", made.topics),
            ("groups", made.groups),
            ("bytes", made.bytes),
        ],
    )
}

/// As `Store.export_topics`.
pub(crate) fn export<'py>(
    py: Python<'py>,
    store: &Store,
    to: &Place,
    topics: &[String],
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let made = match to {
        Place::Path(path) => {
            with_progress(py, progress, |tell| store.export_file(&names, path, tell))?
        }
        Place::File(file) => {
            let stream = Stream::of(py, file, "write")?;
            let mut to = BufWriter::with_capacity(BUFFER, stream);
            let made = with_progress(py, progress, |tell| store.export(&names, &mut to, tell));
            // What is not written yet is nobody's after an error.
            if let Some(raised) = to.into_parts().0.raised {
                return Err(raised);
            }
            made?
        }
    };
    exported(py, &made)
}

/// As `Store.import_topics`.
pub(crate) fn import<'py>(
    py: Python<'py>,
    store: &Store,
    from: &Place,
    append: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = ImportOptions {
        append,
        bytes: None,
    };
    let made = match from {
        Place::Path(path) => {
            with_progress(py, progress, |tell| store.import_file(path, &options, tell))?
        }
        Place::File(file) => {
            let stream = Stream::of(py, file, "read")?;
            let mut from = BufReader::with_capacity(BUFFER, stream);
            let made = with_progress(py, progress, |tell| store.import(&mut from, &options, tell));
            if let Some(raised) = from.into_inner().raised {
                return Err(raised);
            }
            made?
        }
    };
    imported(py, &made)
}

/// What was exported, natively or as lines.
pub(crate) fn exported<'py>(py: Python<'py>, made: &ExportStats) -> PyResult<Bound<'py, PyDict>> {
    dict(
        py,
        &[
            ("topics", made.topics),
            ("groups", made.groups),
            ("messages", made.messages),
            ("bytes", made.bytes),
        ],
    )
}

/// What was imported, natively or from lines.
pub(crate) fn imported<'py>(py: Python<'py>, made: &ImportStats) -> PyResult<Bound<'py, PyDict>> {
    dict(
        py,
        &[
            ("topics", made.topics),
            ("groups", made.groups),
            ("messages", made.messages),
            ("appended", made.appended),
        ],
    )
}

/// Names and numbers.
fn dict<'py>(py: Python<'py>, numbers: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, number) in numbers {
        dict.set_item(name, number)?;
    }
    Ok(dict)
}
