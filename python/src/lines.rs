//! Exports and imports as JSON lines.

use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use libqueue::ImportOptions;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyIterator, PyString};

use crate::copy::{exported, imported};
use crate::inspect::with_progress;
use crate::store::Store;

/// Bytes of lines that are handed over at once.
const BUFFER: usize = 256 * 1024;

/// Where lines go to: a path, or what has `write` and takes text.
#[derive(FromPyObject)]
pub(crate) enum Target {
    Path(PathBuf),
    File(Py<PyAny>),
}

/// What takes text; remembers what it raised.
struct TextFile {
    write: Py<PyAny>,
    raised: Option<PyErr>,
    /// The beginning of a character, or of a line.
    held: Vec<u8>,
}

impl Write for TextFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        // Whole lines: nobody sees a part of one.
        let whole = self.held.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole.map(|last| last + 1) else {
            return Ok(bytes.len());
        };
        let written = Python::attach(|py| {
            let text = std::str::from_utf8(&self.held[..end])
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            self.write.call1(py, (PyString::new(py, text),)).map(drop)
        });
        self.held.drain(..end);
        written.map_err(|raised| {
            self.raised = Some(raised);
            io::Error::other("the file raised")
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where lines come from: a path, or lines one by one.
#[derive(FromPyObject)]
pub(crate) enum Origin {
    Path(PathBuf),
    Lines(Py<PyAny>),
}

/// Lines that come one by one; remembers what was raised.
struct LinesOf {
    lines: Py<PyIterator>,
    raised: Option<PyErr>,
    line: Vec<u8>,
    taken: usize,
}

impl LinesOf {
    /// The next line, with an end, and none in it: between the parts of an object it means no more
    /// than a space, and within a text it cannot be.
    fn fill(&mut self, py: Python<'_>) -> PyResult<()> {
        self.line.clear();
        self.taken = 0;
        let Some(next) = self.lines.bind(py).clone().next() else {
            return Ok(());
        };
        let next = next?;
        if next.is_instance_of::<PyString>() {
            // What is no UTF-8 is refused as such, with the number of its line.
            let encoded =
                next.call_method1(intern!(next.py(), "encode"), ("utf-8", "surrogatepass"))?;
            self.line.extend_from_slice(encoded.extract()?);
        } else if let Ok(bytes) = next.cast::<PyBytes>() {
            self.line.extend_from_slice(bytes.as_bytes());
        } else if let Ok(bytes) = next.cast::<PyByteArray>() {
            self.line.extend_from_slice(&bytes.to_vec());
        } else {
            let what = format!(
                "a line is of {}; expected text or bytes",
                next.get_type().name()?
            );
            return Err(PyTypeError::new_err(what));
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        for byte in &mut self.line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.line.push(b'\n');
        Ok(())
    }
}

impl Read for LinesOf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.line.len()
            && let Err(raised) = Python::attach(|py| self.fill(py))
        {
            self.raised = Some(raised);
            return Err(io::Error::other("the lines raised"));
        }
        let some = (self.line.len() - self.taken).min(buffer.len());
        buffer[..some].copy_from_slice(&self.line[self.taken..self.taken + some]);
        self.taken += some;
        Ok(some)
    }
}

/// Write topics, or all, as JSON lines; as `Store.export_topics` otherwise.
///
/// `to` is a path, or anything with `write` that takes text. `progress` as of `Store.backup`. The
/// `bytes` of the result are those of the lines.
///
///     lines.export_lines(store, sys.stdout, ["orders"])
#[pyfunction]
#[pyo3(signature = (store, to, topics=None, *, progress=None))]
pub(crate) fn export_lines<'py>(
    py: Python<'py>,
    store: &Store,
    to: Target,
    topics: Option<Vec<String>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let topics = topics.unwrap_or_default();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let store = store.of_core();
    let made = match to {
        Target::Path(path) => with_progress(py, progress, |tell| {
            store.export_lines_file(&names, path, tell)
        })?,
        Target::File(file) => {
            let file = TextFile {
                write: file.getattr(py, "write")?,
                raised: None,
                held: Vec::new(),
            };
            let mut to = BufWriter::with_capacity(BUFFER, file);
            let made = with_progress(py, progress, |tell| {
                store.export_lines(&names, &mut to, tell)
            });
            // What is not written yet is nobody's after an error.
            if let Some(raised) = to.into_parts().0.raised {
                return Err(raised);
            }
            made?
        }
    };
    exported(py, &made)
}

/// Make the topics of JSON lines; as `Store.import_topics` otherwise.
///
/// `source` is a path, or lines one by one, as text or bytes. All lines are read before anything
/// is made. A bad one raises `InvalidArgument`, a `ValueError`, with its number, and then nothing
/// is. For `progress` reading them is the first half.
///
///     lines.import_lines(store, ['{"topic": "orders", "payload": "paid"}'])
#[pyfunction]
#[pyo3(signature = (store, source, *, append=false, progress=None))]
pub(crate) fn import_lines<'py>(
    py: Python<'py>,
    store: &Store,
    source: Origin,
    append: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = ImportOptions {
        append,
        bytes: None,
    };
    let store = store.of_core();
    let made = match source {
        Origin::Path(path) => with_progress(py, progress, |tell| {
            store.import_lines_file(path, &options, tell)
        })?,
        Origin::Lines(lines) => {
            let mut from = LinesOf {
                lines: lines.bind(py).try_iter()?.unbind(),
                raised: None,
                line: Vec::new(),
                taken: 0,
            };
            let made = with_progress(py, progress, |tell| {
                store.import_lines(&mut from, &options, tell)
            });
            if let Some(raised) = from.raised {
                return Err(raised);
            }
            made?
        }
    };
    imported(py, &made)
}
