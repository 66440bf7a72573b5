//! The native module `libqueue._native`: the core's nouns as Python classes.
//!
//! Calls that may wait let go of the interpreter and come back every tenth of a second to answer
//! signals. A send that need not wait keeps it: letting go would cost more than the send.

mod consumer;
mod convert;
mod copy;
mod delivery;
mod errors;
mod filter;
mod group;
mod inspect;
mod lines;
mod message;
mod options;
mod peek;
mod probe;
mod producer;
mod reader;
mod receiving;
mod seek;
mod send;
mod stats;
mod store;
mod topic;
mod transaction;
mod wanted;

use pyo3::prelude::*;

/// Stores, topics, consumers and readers of libqueue.
#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::consumer::Consumer;
    #[pymodule_export]
    use crate::delivery::{Delivery, ReadMessage};
    #[pymodule_export]
    use crate::group::{DeadLetter, Group};
    #[pymodule_export]
    use crate::inspect::{dump, recover, verify};
    #[pymodule_export]
    use crate::lines::{export_lines, import_lines};
    #[pymodule_export]
    use crate::message::{Message, MessageId};
    #[pymodule_export]
    use crate::peek::{ConsumerStats, Peeked};
    #[pymodule_export]
    use crate::producer::Producer;
    #[pymodule_export]
    use crate::reader::Reader;
    #[pymodule_export]
    use crate::receiving::Receiving;
    #[pymodule_export]
    use crate::seek::{SeekPartition, Snapshot};
    #[pymodule_export]
    use crate::store::{Store, open};
    #[pymodule_export]
    use crate::topic::Topic;
    #[pymodule_export]
    use crate::transaction::Transaction;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // Set and not added: it is no name of the module's `__all__`.
        module.setattr("_probe", wrap_pyfunction!(crate::probe::_probe, module)?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
