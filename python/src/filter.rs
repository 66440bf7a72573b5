//! Filters as Python has them: a mapping, or a text of JSON.

use libqueue::{Error, ErrorKind, Filter};
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyMapping, PyString, PyTuple};

use crate::errors::OrRaise;

/// The filter that an argument is.
pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Filter> {
    let py = value.py();
    let text = match value.cast::<PyString>() {
        Ok(text) => text.to_str()?.to_owned(),
        Err(_) if value.cast::<PyMapping>().is_ok() => text_of(value)?,
        Err(_) => {
            let found = value.get_type().name()?;
            return bad(
                py,
                format!("filter is a {found}; expected a mapping or JSON"),
            );
        }
    };
    Filter::parse(&text).or_raise(py)
}

/// What `config` shows of it: the mapping, which is empty where all messages are taken.
pub(crate) fn shown<'py>(py: Python<'py>, filter: Option<&Filter>) -> PyResult<Bound<'py, PyAny>> {
    let text = filter.map_or("{}", Filter::as_str);
    py.import("json")?
        .call_method1(intern!(py, "loads"), (text,))
}

fn text_of<'py>(value: &Bound<'py, PyAny>) -> PyResult<String> {
    let py = value.py();
    let with = PyDict::new(py);
    with.set_item("ensure_ascii", false)?;
    with.set_item("default", PyCFunction::new_closure(py, None, None, plain)?)?;
    let text = py
        .import("json")?
        .call_method(intern!(py, "dumps"), (value,), Some(&with));
    match text.and_then(|text| text.extract()) {
        Err(error)
            if error.is_instance_of::<PyTypeError>(py)
                || error.is_instance_of::<PyValueError>(py)
                || error.is_instance_of::<PyRecursionError>(py) =>
        {
            let what = error.value(py).str()?;
            bad(py, format!("filter cannot be written as JSON: {what}"))
        }
        text => text,
    }
}

/// Bytes as the object that stands for them, and mappings that are no dicts, for `json.dumps`.
fn plain(args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>) -> PyResult<Py<PyAny>> {
    let (py, value) = (args.py(), args.get_item(0)?);
    let dict = PyDict::new(py);
    if let Ok(mapping) = value.cast::<PyMapping>() {
        dict.update(mapping)?;
    } else {
        let text = py
            .import("base64")?
            .call_method1(intern!(py, "b64encode"), (&value,))?;
        dict.set_item("base64", text.call_method0(intern!(py, "decode"))?)?;
    }
    Ok(dict.into_any().unbind())
}

fn bad<T>(py: Python<'_>, message: String) -> PyResult<T> {
    Err(Error::new(ErrorKind::InvalidFilter, message)).or_raise(py)
}
