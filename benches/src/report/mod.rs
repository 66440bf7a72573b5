//! What a run found, for people and for programs: a table, JSON, a plot, and the machine it ran on.

mod date;
mod json;
mod machine;
mod plot;
mod table;

pub(crate) use json::json;
pub(crate) use machine::Machine;
pub(crate) use plot::svg;
pub(crate) use table::{Entry, Kind, Row, Table, grouped};
