//! The shm layer.
