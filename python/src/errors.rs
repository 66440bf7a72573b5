//! Errors of the core as Python exceptions, which `libqueue._errors` defines by number.

use libqueue::Error;
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::message::MessageId;

static BY_KIND: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

fn class<'py>(py: Python<'py>, code: i32) -> PyResult<Bound<'py, PyType>> {
    let classes = BY_KIND.get_or_try_init(py, || -> PyResult<Py<PyDict>> {
        let module = py.import("libqueue._errors")?;
        Ok(module.getattr("BY_KIND")?.cast_into::<PyDict>()?.unbind())
    })?;
    let found = classes.bind(py).get_item(code)?;
    let class = match found {
        Some(class) => class,
        None => py.import("libqueue._errors")?.getattr("Error")?,
    };
    Ok(class.cast_into::<PyType>()?)
}

/// The exception for an error.
#[cold]
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let raised = match class(py, error.kind().code()) {
        Ok(class) => PyErr::from_type(class, (error.message().to_owned(),)),
        Err(failed) => return failed,
    };
    let Some(code) = error
        .os_code()
        .filter(|_| raised.is_instance_of::<PyOSError>(py))
    else {
        return raised;
    };
    match raised.value(py).setattr(intern!(py, "errno"), code) {
        Ok(()) => raised,
        Err(failed) => failed,
    }
}

/// The exception for stale receipts: `.stale` lists the deliveries that were not settled,
/// `.refused` those whose lease was not extended since it would end beyond the group's bound.
#[cold]
pub(crate) fn raise_stale(py: Python<'_>, error: &Error, deliveries: &[Bound<'_, PyAny>]) -> PyErr {
    let raised = raise(py, error);
    let lists = [
        ("stale", error.stale_places()),
        ("refused", error.refused_places()),
    ];
    for (name, places) in lists {
        let named = places.iter().filter_map(|place| deliveries.get(*place));
        let named: Vec<&Bound<'_, PyAny>> = named.collect();
        if named.is_empty() {
            continue;
        }
        if let Err(failed) = raised.value(py).setattr(name, named) {
            return failed;
        }
    }
    raised
}

/// As `raise`: `.refused` lists the ids that were no dead letters.
#[cold]
pub(crate) fn raise_refused(py: Python<'_>, error: &Error, ids: &[Py<MessageId>]) -> PyErr {
    let raised = raise(py, error);
    let places = error.refused_places().iter();
    let named: Vec<&Py<MessageId>> = places.filter_map(|place| ids.get(*place)).collect();
    if named.is_empty() {
        return raised;
    }
    match raised.value(py).setattr(intern!(py, "refused"), named) {
        Ok(()) => raised,
        Err(failed) => failed,
    }
}

/// Results of the core, as Python sees them.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for libqueue::Result<T> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}

/// An argument that is out of range.
#[cold]
pub(crate) fn invalid(py: Python<'_>, message: String) -> PyErr {
    let error = Error::new(libqueue::ErrorKind::InvalidArgument, message);
    raise(py, &error)
}
