//! Structs that begin with their size, so that fields can be added at their end.
//!
//! A program may be older than the library (its struct is shorter) or newer (longer, with fields
//! that this library does not know). All structs here still have their first size, which is the
//! least that a program can have.

use libqueue::{Error, ErrorKind, Result};

use crate::args::{invalid, one, slice};

/// No struct is ever larger; a size above it is not a size.
const SIZE_MAX: usize = 4096;

/// A struct that begins with its size.
///
/// # Safety
/// `repr(C)`, with a first field `size: usize`, and good with any bytes in all other fields.
pub(crate) unsafe trait Measured: Copy {
    /// The C name.
    const NAME: &'static str;
    /// What NULL stands for: the defaults.
    const INIT: Self;
}

/// The size that the caller's struct says it has.
///
/// # Safety
/// `at`, unless it is NULL, is valid for reading one `usize`.
unsafe fn size_at<T: Measured>(at: *const T) -> Result<usize> {
    // SAFETY: valid as demanded above.
    let size = *unsafe { one(at.cast::<usize>(), T::NAME) }?;
    if (size_of::<T>()..=SIZE_MAX).contains(&size) {
        return Ok(size);
    }
    Err(invalid(format!(
        "the size in {} is {size}; expected {} or more: begin it with its _INIT macro",
        T::NAME,
        size_of::<T>()
    )))
}

/// The caller's options; the defaults for NULL. Fields that only a newer library knows have to be
/// zero, which leaves them out.
///
/// # Safety
/// `at`, unless it is NULL, is valid for reading as many bytes as the size that it begins with.
pub(crate) unsafe fn read<T: Measured>(at: *const T) -> Result<T> {
    if at.is_null() {
        return Ok(T::INIT);
    }
    // SAFETY: valid as demanded above.
    let size = unsafe { size_at(at) }?;
    // SAFETY: valid as demanded above.
    let bytes = unsafe { slice(at.cast::<u8>(), size, T::NAME) }?;
    if bytes[size_of::<T>()..].iter().any(|byte| *byte != 0) {
        let message = format!(
            "{} of {size} bytes has fields that this library, which knows {}, does not have; \
             leave them out, or load the library that comes with the header",
            T::NAME,
            size_of::<T>()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    // SAFETY: not NULL and aligned as `size_at` checked (each begins with a usize, and has nothing
    // that is aligned more), at least as long as T, and good with any bytes.
    Ok(unsafe { at.read() })
}

/// Where a struct goes that the caller gave room for.
pub(crate) struct Room<T> {
    at: *mut T,
    size: usize,
}

impl<T: Measured> Room<T> {
    /// # Safety
    /// `at`, unless it is NULL, is valid for reading its size, and for writing as many bytes, until
    /// the call returns.
    pub(crate) unsafe fn new(at: *mut T) -> Result<Self> {
        const { assert!(align_of::<T>() == align_of::<usize>()) }
        // SAFETY: valid as demanded above.
        let size = unsafe { size_at(at.cast_const()) }?;
        Ok(Self { at, size })
    }

    /// Writes all but the size, which stays the caller's; what only a newer header knows stays too.
    pub(crate) fn set(self, value: T) {
        // SAFETY: `size_at` found room for one T, not NULL, aligned; the size is its first field.
        unsafe {
            self.at.write(value);
            self.at.cast::<usize>().write(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::lq_topic_options;

    #[repr(C)]
    struct Newer {
        known: lq_topic_options,
        added: u64,
    }

    fn newer(added: u64) -> Newer {
        let mut known = lq_topic_options::INIT;
        known.size = size_of::<Newer>();
        known.partitions = 3;
        Newer { known, added }
    }

    #[test]
    fn a_newer_struct_is_read_while_it_asks_for_nothing_new() {
        let at = |of: &Newer| std::ptr::from_ref(of).cast::<lq_topic_options>();
        // SAFETY: as long as its size says.
        let read_it = |of: &Newer| unsafe { read(at(of)) };
        assert_eq!(read_it(&newer(0)).expect("nothing new").partitions, 3);
        let error = read_it(&newer(1)).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_newer_struct_is_written_as_far_as_it_is_known() {
        let mut to = newer(9);
        // SAFETY: as long as its size says.
        let room = unsafe { Room::new(std::ptr::from_mut(&mut to).cast::<lq_topic_options>()) };
        let mut value = lq_topic_options::INIT;
        value.partitions = 5;
        room.expect("room").set(value);
        assert_eq!((to.known.partitions, to.added), (5, 9));
        assert_eq!(to.known.size, size_of::<Newer>());
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for size in [
            0,
            8,
            size_of::<lq_topic_options>() - 1,
            SIZE_MAX + 1,
            usize::MAX,
        ] {
            let mut options = lq_topic_options::INIT;
            options.size = size;
            // SAFETY: only its size is looked at.
            let error = unsafe { read(&raw const options) }.err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
