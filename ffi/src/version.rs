//! Versions of the library and of its binary interface.

use std::ffi::{CStr, c_char};

/// The binary interface that this header declares: the number at the end of libqueue.so.N. Raised
/// only when a program built against an earlier header would break.
pub const LQ_ABI_VERSION: u32 = 0;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// The version of the library that is loaded, as in "0.1.0".
///
/// Returns: a string that lives for ever; never NULL.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn lq_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The binary interface of the library that is loaded. It is the LQ_ABI_VERSION of this header,
/// unless a library of another version was put in its place.
///
/// Returns: the number.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn lq_abi_version() -> u32 {
    LQ_ABI_VERSION
}
