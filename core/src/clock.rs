//! Wall and boot time.
