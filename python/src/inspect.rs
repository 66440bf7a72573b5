//! Verifying a store and decoding its files.

use std::io::{self, Write};
use std::path::PathBuf;

use libqueue::{Error, ErrorKind, inspect};
use pyo3::prelude::*;
use pyo3::types::PyDict;

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

/// Check every byte of the store in a folder, which is neither joined nor written.
///
/// `progress` is called now and then with the bytes that are done and those there are. All damage
/// is listed with its file and position; a tail that a power loss tore, and that the next open
/// cuts, is none. Raises `NotAStore` or `NotFound` where there is no store.
#[pyfunction]
#[pyo3(signature = (path, progress=None))]
pub(crate) fn verify<'py>(
    py: Python<'py>,
    path: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut progress = Progress {
        call: progress,
        raised: None,
    };
    let found = py.detach(|| inspect::verify(&path, &mut |done, total| progress.tell(done, total)));
    if let Some(raised) = progress.raised {
        return Err(raised);
    }
    let report = found.or_raise(py)?;
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
    let damage = pyo3::types::PyList::empty(py);
    for one in report.damage {
        let entry = PyDict::new(py);
        entry.set_item("file", one.file)?;
        entry.set_item("position", one.position)?;
        entry.set_item("what", one.what)?;
        damage.append(entry)?;
    }
    dict.set_item("damage", damage)?;
    Ok(dict)
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
