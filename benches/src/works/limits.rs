//! What the hardware gives in this run: copies in memory, and waiting for the disk. The other
//! limits stand beside the workloads that they are the limits of.

use super::{Case, Context, alternate, rate};
use crate::report::{Kind, Table};
use crate::{Outcome, probe};

/// What one `fdatasync` is for.
const SYNCED: usize = 4096;

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        let count = of.scale.bytes * 4 / size;
        let mut cases: Vec<Case<'_>> = vec![Box::new(|| Ok((count, probe::copy(*size, count))))];
        let each = alternate(of.scale.rounds, &mut cases)?;
        rate(
            table,
            Kind::Limit,
            ("memcpy", *size),
            "hardware",
            each[0],
            None,
        );
    }
    let count = of.scale.synced(SYNCED);
    let mut cases: Vec<Case<'_>> = vec![Box::new(|| {
        Ok((count, probe::fdatasync(of.folder, SYNCED, count)?))
    })];
    let each = alternate(of.scale.few(), &mut cases)?;
    rate(
        table,
        Kind::Limit,
        ("write and fdatasync", SYNCED),
        "hardware",
        each[0],
        None,
    );
    Ok(())
}
