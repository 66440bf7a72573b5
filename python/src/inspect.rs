//! Verifying a store, decoding its files, and copying out what can be read of it.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;

use libqueue::inspect::{self, Damage, RecoverOptions, Report};
use libqueue::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::OrRaise;

/// Calls back into Python now and then; remembers what that raised.
struct Progress {
    call: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Progress {
    fn tell(&mut self, done: u64, total: u64) -> libqueue::Result<()> {
        let told = Python::attach(|py| -> PyResult<()> {
            py.check_signals()?;
            match &self.call {
                Some(call) => call.call1(py, (done, total)).map(|_| ()),
                None => Ok(()),
            }
        });
        told.map_err(|raised| {
            self.raised = Some(raised);
            Error::new(ErrorKind::Internal, "progress raised")
        })
    }
}

/// Runs what tells of its progress; an exception of the callable, or of a signal, ends it.
pub(crate) fn with_progress<T: Send>(
    py: Python<'_>,
    call: Option<Py<PyAny>>,
    work: impl FnOnce(&mut inspect::Progress<'_>) -> libqueue::Result<T> + Send,
) -> PyResult<T> {
    let mut progress = Progress { call, raised: None };
    let found = py.detach(|| work(&mut |done, total| progress.tell(done, total)));
    match progress.raised {
        Some(raised) => Err(raised),
        None => found.or_raise(py),
    }
}

/// Check all of a store that carries a message or a position; it is neither joined nor written.
///
/// `progress` is called now and then with the bytes that are done and those there are. All damage
/// is listed with its file and position; a tail that a power loss tore, and that the next open
/// cuts, is none. For each partition it says which offsets can be read, and copied by `recover`,
/// and which are lost, as pairs of the first and the last. Raises `NotAStore` or `NotFound` where
/// there is no store.
#[pyfunction]
#[pyo3(signature = (path, progress=None))]
pub(crate) fn verify<'py>(
    py: Python<'py>,
    path: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let report = with_progress(py, progress, |tell| inspect::verify(&path, tell))?;
    report_dict(py, &report)
}

/// Copy everything readable out of a damaged store into a new one, and tell what was lost.
///
/// The store at `source` is neither joined nor changed; nobody may have it in use. `target` is a
/// new or an empty folder. Messages keep offset, timestamp, key, headers and payload, groups their
/// positions; a group whose window is damaged begins again where all before is settled for sure.
/// With `all` also what stands whole behind the place where a power loss tore a log is copied;
/// a store that is opened cuts it. What was sent under dedup ids and by producers is known as far
/// as its messages are copied, and transactions that had happened are not applied any further;
/// `notes` say how much that concerns.
/// `progress` is called as by `verify`; an exception that it raises ends the copy and leaves
/// nothing. Raises `Busy`, `NotFound`, `NotAStore`, `Incompatible`, `AlreadyExists`,
/// `InvalidArgument` or `DiskFull`.
///
///     lost = libqueue.recover("damaged", "recovered")["losses"]
#[pyfunction]
#[pyo3(signature = (source, target, progress=None, *, all=false))]
pub(crate) fn recover<'py>(
    py: Python<'py>,
    source: PathBuf,
    target: PathBuf,
    progress: Option<Py<PyAny>>,
    all: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let options = RecoverOptions { all };
    let done = with_progress(py, progress, |tell| {
        inspect::recover_with(&source, &target, options, tell)
    })?;
    let dict = PyDict::new(py);
    dict.set_item("id", done.id)?;
    dict.set_item("topics", done.topics)?;
    dict.set_item("groups", done.groups)?;
    dict.set_item("messages", done.messages)?;
    dict.set_item("losses", damage_list(py, &done.losses)?)?;
    dict.set_item("notes", done.notes)?;
    dict.set_item("source", report_dict(py, &done.source)?)?;
    Ok(dict)
}

fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in [
        ("files", report.files),
        ("bytes", report.bytes),
        ("topics", report.topics),
        ("groups", report.groups),
        ("messages", report.messages),
    ] {
        dict.set_item(name, value)?;
    }
    let partitions = PyList::empty(py);
    for one in &report.partitions {
        let entry = PyDict::new(py);
        entry.set_item("topic", &one.topic)?;
        entry.set_item("partition", one.partition)?;
        entry.set_item("messages", one.messages)?;
        entry.set_item("readable", pairs(&one.readable))?;
        entry.set_item("lost", pairs(&one.lost))?;
        partitions.append(entry)?;
    }
    dict.set_item("partitions", partitions)?;
    dict.set_item("damage", damage_list(py, &report.damage)?)?;
    dict.set_item("unknown", &report.unknown)?;
    Ok(dict)
}

fn damage_list<'py>(py: Python<'py>, damage: &[Damage]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for one in damage {
        let entry = PyDict::new(py);
        entry.set_item("file", &one.file)?;
        entry.set_item("position", one.position)?;
        entry.set_item("what", &one.what)?;
        entry.set_item("lost", one.lost.as_ref().map(pair))?;
        list.append(entry)?;
    }
    Ok(list)
}

/// First and last offset.
fn pair(range: &Range<u64>) -> (u64, u64) {
    (range.start, range.end.saturating_sub(1))
}

fn pairs(ranges: &[Range<u64>]) -> Vec<(u64, u64)> {
    ranges.iter().map(pair).collect()
}

/// Hands text on to a Python callable.
struct Writer {
    write: Py<PyAny>,
    raised: Option<PyErr>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let told = Python::attach(|py| {
            py.check_signals()?;
            self.write.call1(py, (text,)).map(|_| ())
        });
        told.map(|()| bytes.len()).map_err(|raised| {
            self.raised = Some(raised);
            io::Error::other("the writer raised")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decode one file of a store for a person; `write` is called with text.
///
/// Raises `InvalidArgument` for a file that is none of a store's.
///
///     libqueue.dump("queue/topics/orders/0/reserve", sys.stdout.write)
#[pyfunction]
pub(crate) fn dump(py: Python<'_>, path: PathBuf, write: Py<PyAny>) -> PyResult<()> {
    let inner = Writer {
        write,
        raised: None,
    };
    // Whole lines, many at a time: the lines of a segment are text, so no character is cut.
    let mut lines = io::LineWriter::with_capacity(64 * 1024, inner);
    let done = py.detach(|| inspect::dump(&path, &mut lines));
    if let Some(raised) = lines.get_mut().raised.take() {
        return Err(raised);
    }
    done.or_raise(py)
}
