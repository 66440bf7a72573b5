//! Copying what a store holds while it is in use: a backup, an export, an import.

mod append;
mod backup;
mod entries;
mod export;
mod files;
mod groups;
mod import;
mod lines;
mod publish;
mod shot;
mod staging;
mod stream;
mod target;

pub use backup::BackupStats;
pub use export::ExportStats;
pub use import::{ImportOptions, ImportStats};
