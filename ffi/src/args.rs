//! Checks of what a C program passes: pointers, lengths, texts, times.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use libqueue::{Error, ErrorKind, Result};

/// An error of kind `InvalidArgument`.
#[cold]
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cold]
fn null(what: &str) -> Error {
    invalid(format!("{what} is NULL; expected an address"))
}

#[cold]
fn misaligned<T>(what: &str, found: *const T) -> Error {
    invalid(format!(
        "{what} is {found:?}; expected a multiple of {}",
        align_of::<T>()
    ))
}

/// Where a result goes. Made before the work begins, so that a bad address fails early.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `to`, unless it is NULL, is valid for writing one `T` until the call returns.
    #[inline]
    pub(crate) unsafe fn new(to: *mut T, what: &str) -> Result<Self> {
        match to {
            to if to.is_null() => Err(null(what)),
            to if !to.is_aligned() => Err(misaligned(what, to)),
            to => Ok(Self(to)),
        }
    }

    #[inline]
    pub(crate) fn set(self, value: T) {
        // SAFETY: valid for writing as `new` demands, not NULL and aligned as it checked.
        unsafe { self.0.write(value) }
    }
}

/// One thing that has to be there.
///
/// # Safety
/// `at`, unless it is NULL, is valid for reading one `T` until the call returns.
pub(crate) unsafe fn one<'a, T>(at: *const T, what: &str) -> Result<&'a T> {
    if at.is_null() {
        return Err(null(what));
    }
    if !at.is_aligned() {
        return Err(misaligned(what, at));
    }
    // SAFETY: valid as demanded above; not NULL and aligned as checked.
    Ok(unsafe { &*at })
}

/// A C array; NULL only where it is empty.
///
/// # Safety
/// `at`, unless it is NULL, is valid for reading `len` of `T` until the call returns.
#[inline]
pub(crate) unsafe fn slice<'a, T>(at: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    check_array(at, len, what)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: valid as demanded above; not NULL, aligned and of a possible size as checked.
    Ok(unsafe { std::slice::from_raw_parts(at, len) })
}

/// A C array to write to; NULL only where it is empty.
///
/// # Safety
/// `at`, unless it is NULL, is valid for writing `len` of `T` until the call returns.
pub(crate) unsafe fn slice_mut<'a, T>(at: *mut T, len: usize, what: &str) -> Result<&'a mut [T]> {
    check_array(at, len, what)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as in `slice`.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, len) })
}

#[inline]
fn check_array<T>(at: *const T, len: usize, what: &str) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    if at.is_null() {
        let message = format!("{what} is NULL with a length of {len}; expected an address");
        return Err(invalid(message));
    }
    if !at.is_aligned() {
        return Err(misaligned(what, at));
    }
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        let message = format!("{what} has a length of {len}, more than memory can hold");
        return Err(invalid(message));
    }
    Ok(())
}

/// A C string that has to be there, as the name of something.
///
/// # Safety
/// `text`, unless it is NULL, is a C string until the call returns.
pub(crate) unsafe fn name<'a>(text: *const c_char, what: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(null(what));
    }
    // SAFETY: a C string, as demanded above.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| {
        let found = text.to_string_lossy();
        let message = format!("{what} is {found:?}, which is not UTF-8; expected a name in UTF-8");
        Error::new(ErrorKind::InvalidName, message)
    })
}

/// A C string that says why, if it is there. What is not UTF-8 in it is replaced: a reason in an
/// odd encoding is better than none.
///
/// # Safety
/// `text`, unless it is NULL, is a C string until the call returns.
pub(crate) unsafe fn reason<'a>(text: *const c_char) -> Option<Cow<'a, str>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: a C string, as demanded above.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

/// A text for C. What the library's names and messages are made of has no NUL inside.
pub(crate) fn c_text(text: impl Into<Vec<u8>>) -> CString {
    let mut bytes: Vec<u8> = text.into();
    bytes.retain(|byte| *byte != 0);
    CString::new(bytes).unwrap_or_default()
}

/// How long to wait, in milliseconds: -1 for ever, which is `None`.
pub(crate) fn timeout(ms: i64) -> Result<Option<Duration>> {
    match u64::try_from(ms) {
        Ok(ms) => Ok(Some(Duration::from_millis(ms))),
        Err(_) if ms == -1 => Ok(None),
        Err(_) => Err(invalid(format!(
            "timeout_ms is {ms}; expected 0 or more, or LQ_FOREVER (-1)"
        ))),
    }
}

/// How many at most.
pub(crate) fn at_least_one(max: usize) -> Result<usize> {
    match max {
        0 => Err(invalid("max is 0; expected at least 1")),
        max => Ok(max),
    }
}
