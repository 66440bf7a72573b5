//! W1 and W2: sending without syncs, one by one and in batches of 100, against the bare probe. From
//! Python one by one against a call that does nothing with the same arguments, and batches against
//! Rust's.

use std::time::Duration;

use super::{Case, Context, alternate, rate};
use crate::peers::Asked;
use crate::report::{Kind, Table};
use crate::scale::{BATCH, Scale};
use crate::workers::{Bench, Program, Worker, clocked, sent, together};
use crate::{Outcome, probe};

pub(crate) fn single(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        run(of, ("W1", "one by one"), *size, 1, table)?;
    }
    Ok(())
}

pub(crate) fn batches(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of
        .scale
        .sizes
        .iter()
        .filter(|size| Scale::has_batches(**size))
    {
        run(of, ("W2", "batches of 100"), *size, BATCH, table)?;
    }
    Ok(())
}

fn run(
    of: &Context<'_>,
    (work, what): (&'static str, &str),
    size: usize,
    batch: usize,
    table: &mut Table,
) -> Outcome<()> {
    let count = of.scale.count(size);
    let python = of
        .programs
        .iter()
        .find(|one| one.who == "Python" && batch == 1);
    let mut cases: Vec<Case<'_>> = vec![Box::new(move || {
        Ok((count, probe::append(of.folder, size, count, batch)?))
    })];
    for program in of.programs {
        cases.push(Box::new(move || once(of, program, size, batch)));
    }
    if let Some(python) = python {
        cases.push(Box::new(move || empty(python, size, count)));
    }
    let each = alternate(of.scale.rounds, &mut cases)?;
    let of_whom = |row: &Program| match (row.who, batch) {
        ("Python", 1) => Some((each[each.len() - 1], "an empty PyO3 call")),
        ("Python", _) => Some((each[1], "Rust")),
        _ => Some((each[0], "probe")),
    };
    rate(table, Kind::Limit, (what, size), "probe", each[0], None);
    if python.is_some() {
        let call = each[each.len() - 1];
        rate(
            table,
            Kind::Limit,
            (what, size),
            "empty PyO3 call",
            call,
            None,
        );
    }
    let mut ours = Vec::new();
    for (program, each) in of.programs.iter().zip(&each[1..]) {
        let limit = of_whom(program);
        rate(
            table,
            Kind::Libqueue,
            (what, size),
            program.who,
            *each,
            limit,
        );
        ours.push((program.who, *each));
    }
    let asked = Asked::new(work, size, batch);
    of.peers.rows(of, &asked, what, &ours, table)
}

/// One round: messages and time.
pub(super) fn once(
    of: &Context<'_>,
    program: &Program,
    size: usize,
    batch: usize,
) -> Outcome<(usize, Duration)> {
    // Whole batches, or none would be of the size that the row is about.
    let count = program.share(of.scale.count(size)).next_multiple_of(batch);
    let bench = Bench::new(of.folder)?;
    let worker = sender(program, &bench, "process", size, count, batch, 0)?;
    let (said, _) = together(vec![worker], Vec::new())?;
    let sum = sent(&said);
    if sum.count != count as u64 || sum.bytes != (count * size) as u64 {
        return Err(format!(
            "{}: {count} messages of {size} B to send, {sum:?}",
            program.who
        )
        .into());
    }
    bench.check(sum)?;
    bench.remove()?;
    Ok((count, clocked(&said)))
}

/// A worker that sends.
pub(super) fn sender(
    program: &Program,
    bench: &Bench,
    durability: &str,
    size: usize,
    count: usize,
    batch: usize,
    pace: u32,
) -> Outcome<Worker> {
    let numbers = [size, count, batch, pace as usize].map(|one| one.to_string());
    let [size, count, batch, pace] = numbers.each_ref().map(String::as_str);
    let role = ["send", bench.at()?, durability, size, count, batch, pace];
    Worker::start(program, &role)
}

fn empty(python: &Program, size: usize, count: usize) -> Outcome<(usize, Duration)> {
    let (size, count) = (size.to_string(), python.share(count));
    let worker = Worker::start(python, &["empty", &size, &count.to_string()])?;
    let (said, _) = together(vec![worker], Vec::new())?;
    match sent(&said).count == count as u64 {
        true => Ok((count, clocked(&said))),
        false => Err(format!("{count} calls were to be made").into()),
    }
}
