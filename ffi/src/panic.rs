//! The border that no panic crosses.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libqueue::{Error, ErrorKind, Result};

use crate::error::{LQ_OK, lq_status, remember};

/// Runs an entry point: its status, with the error kept for `lq_last_error_message`.
#[inline]
pub(crate) fn call(body: impl FnOnce() -> Result<()>) -> lq_status {
    match caught(body) {
        Ok(()) => LQ_OK,
        Err(error) => remember(error),
    }
}

/// Runs an entry point that returns a value instead of a status: `otherwise` on an error.
#[inline]
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    match caught(body) {
        Ok(value) => value,
        Err(error) => {
            remember(error);
            otherwise
        }
    }
}

#[inline]
fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic leaves behind is the library's own state, which guards itself: locks of the
    // store are owner words that the next taker repairs, and handles are only entered and left.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(internal(&*panic)))
}

#[cold]
fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    let message = format!(
        "a bug in libqueue: {text}; the call may be half done; please report it with this message"
    );
    Error::new(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;
    use crate::error::{LQ_INTERNAL, lq_last_error_message, lq_last_error_status};

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        let status = call(|| panic!("number {}", 7));
        assert_eq!(status, LQ_INTERNAL);
        assert_eq!(lq_last_error_status(), LQ_INTERNAL);
        // SAFETY: the message is a C string until this thread's next failing call.
        let message = unsafe { CStr::from_ptr(lq_last_error_message()) };
        let message = message.to_str().expect("UTF-8");
        assert!(message.contains("number 7"), "{message}");
        assert_eq!(value(9, || panic!("no")), 9);
    }
}
