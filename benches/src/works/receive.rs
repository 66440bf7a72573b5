//! W4: receiving and acknowledging a preloaded topic, one by one and in batches of 100. The limit
//! is the probe's append of the same messages one by one, and for Python what it takes in Rust.

use std::time::Duration;

use super::{Case, Context, alternate, rate};
use crate::peers::Asked;
use crate::report::{Kind, Table};
use crate::scale::{BATCH, Scale};
use crate::workers::{Bench, Program, Worker, clocked, same, sent, together};
use crate::{Outcome, probe};

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        for (what, batch) in [("one by one", 1), ("batches of 100", BATCH)] {
            if batch == 1 || Scale::has_batches(*size) {
                of_size(of, what, *size, batch, table)?;
            }
        }
    }
    Ok(())
}

fn of_size(
    of: &Context<'_>,
    what: &str,
    size: usize,
    batch: usize,
    table: &mut Table,
) -> Outcome<()> {
    let count = of.scale.count(size);
    let mut cases: Vec<Case<'_>> = vec![Box::new(move || {
        Ok((count, probe::append(of.folder, size, count, 1)?))
    })];
    for program in of.programs {
        cases.push(Box::new(move || once(of, program, size, batch)));
    }
    let each = alternate(of.scale.rounds, &mut cases)?;
    rate(
        table,
        Kind::Limit,
        (what, size),
        "probe's append",
        each[0],
        None,
    );
    let mut ours = Vec::new();
    for (program, took) in of.programs.iter().zip(&each[1..]) {
        let limit = match program.who {
            "Python" => (each[1], "Rust"),
            _ => (each[0], "probe's append"),
        };
        rate(
            table,
            Kind::Libqueue,
            (what, size),
            program.who,
            *took,
            Some(limit),
        );
        ours.push((program.who, *took));
    }
    let asked = Asked::new("W4", size, batch);
    of.peers.rows(of, &asked, what, &ours, table)
}

/// One round: messages and time.
pub(super) fn once(
    of: &Context<'_>,
    program: &Program,
    size: usize,
    batch: usize,
) -> Outcome<(usize, Duration)> {
    let count = program.share(of.scale.count(size));
    let bench = Bench::new(of.folder)?;
    let loaded = bench.load(size, count, 0)?;
    let worker = receiver(program, &bench, "work", (size, count, batch), "sleep", "-")?;
    let (_, said) = together(Vec::new(), vec![worker])?;
    same(loaded, sent(&said))?;
    bench.remove()?;
    Ok((count, clocked(&said)))
}

/// A worker that receives and acknowledges.
pub(super) fn receiver(
    program: &Program,
    bench: &Bench,
    group: &str,
    (size, count, batch): (usize, usize, usize),
    how: &str,
    waits: &str,
) -> Outcome<Worker> {
    let numbers = [size, count, batch].map(|one| one.to_string());
    let [size, count, batch] = numbers.each_ref().map(String::as_str);
    let role = [
        "receive",
        bench.at()?,
        group,
        size,
        count,
        batch,
        how,
        waits,
    ];
    Worker::start(program, &role)
}
