//! The group layer.
