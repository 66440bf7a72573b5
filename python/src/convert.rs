//! Times and bytes between Python and the core.

use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors::invalid;

/// How long a wait goes on before signals are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// Seconds, not negative, as a duration.
pub(crate) fn seconds(py: Python<'_>, name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        invalid(
            py,
            format!("{name} is {value}; expected seconds, 0 or more"),
        )
    })
}

/// As `seconds`, where `None` waits for ever and so does infinity.
pub(crate) fn timeout(py: Python<'_>, value: Option<f64>) -> PyResult<Option<Duration>> {
    match value {
        None => Ok(None),
        Some(value) if value == f64::INFINITY => Ok(None),
        Some(value) => seconds(py, "timeout", value).map(Some),
    }
}

/// An argument as what it has to be.
pub(crate) fn typed<'a, 'py, T: FromPyObject<'a, 'py>>(
    name: &str,
    expected: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<T> {
    value.extract().map_err(|_| mistyped(name, expected, value))
}

/// `TypeError`, which tells the argument, what it is and what was expected.
#[cold]
fn mistyped(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let shown = value.repr().and_then(|shown| shown.extract::<String>());
    let shown = shown.unwrap_or_else(|_| value.get_type().to_string());
    let shown: String = shown.chars().take(80).collect();
    PyTypeError::new_err(format!("{name} is {shown}; expected {expected}"))
}

/// An argument of seconds, not negative, as a duration.
pub(crate) fn named_seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    seconds(value.py(), name, typed(name, "seconds", value)?)
}

/// An argument that is a whole number, not negative and not too large.
pub(crate) fn named_whole<T: TryFrom<u64>>(name: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    let py = value.py();
    let found = match value.extract::<u64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => None,
        Err(_) => return Err(mistyped(name, "a whole number", value)),
        Ok(found) => T::try_from(found).ok(),
    };
    found.ok_or_else(|| {
        let most = u64::MAX >> (64 - 8 * size_of::<T>());
        invalid(py, format!("{name} is {value}; expected 0 to {most}"))
    })
}

/// One function for each argument, since an error has to tell its name.
macro_rules! whole_arguments {
    ($($name:ident)*; or_none $($maybe:ident)*) => {
        $(pub(crate) fn $name<T: TryFrom<u64>>(value: &Bound<'_, PyAny>) -> PyResult<T> {
            named_whole(stringify!($name), value)
        })*
        $(pub(crate) fn $maybe<T: TryFrom<u64>>(value: &Bound<'_, PyAny>) -> PyResult<Option<T>> {
            (!value.is_none()).then(|| named_whole(stringify!($maybe), value)).transpose()
        })*
    };
}

whole_arguments!(
    max_messages min_messages mode offset;
    or_none partition limit max_bytes
);

/// A partition that has to be named.
pub(crate) fn in_partition(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    named_whole("partition", value)
}

/// Bytes of anything with the buffer protocol: the object itself where it is `bytes`, which never
/// change, else a copy.
#[inline]
pub(crate) fn bytes<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) => copied(name, value),
    }
}

#[cold]
fn copied<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let Ok(view) = PyMemoryView::from(value) else {
        let found = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "{name} is a {found}; expected bytes or another object with the buffer protocol"
        )));
    };
    let copy = view.call_method0(intern!(value.py(), "tobytes"))?;
    Ok(copy.cast_into::<PyBytes>()?)
}

/// Waits in slices without the interpreter, answering signals in between: `step` waits at most as
/// long as it is told and says whether it has anything.
pub(crate) fn in_slices<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut step: impl FnMut(Duration) -> libqueue::Result<T> + Send,
    done: impl Fn(&T) -> bool,
) -> PyResult<T> {
    // A time beyond all clocks is for ever.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map_or(SLICE, |at| at.saturating_duration_since(Instant::now()));
        let found = py.detach(|| step(left.min(SLICE)));
        let found = crate::errors::OrRaise::or_raise(found, py)?;
        if done(&found) || left < SLICE {
            return Ok(found);
        }
        py.check_signals()?;
    }
}
