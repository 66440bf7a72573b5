//! Layout constants of control.
