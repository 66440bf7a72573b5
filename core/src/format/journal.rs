//! Layout constants of journal.
