//! Layout constants of window.
