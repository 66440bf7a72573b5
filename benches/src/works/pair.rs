//! W5: one producer process and one consumer process as fast as they go. What they do takes at
//! least as long as the slower of sending one by one and receiving in batches, each alone.

use std::time::Duration;

use super::receive::receiver;
use super::send::sender;
use super::{Case, Context, alternate, rate, receive, send};
use crate::Outcome;
use crate::peers::Asked;
use crate::report::{Kind, Table};
use crate::scale::BATCH;
use crate::workers::{Bench, Program, clocked, same, sent, together};

const WHAT: &str = "one producer, one consumer";

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        of_size(of, *size, table)?;
    }
    Ok(())
}

fn of_size(of: &Context<'_>, size: usize, table: &mut Table) -> Outcome<()> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for program in of.programs {
        cases.push(Box::new(move || send::once(of, program, size, 1)));
        cases.push(Box::new(move || receive::once(of, program, size, BATCH)));
        cases.push(Box::new(move || once(of, program, size)));
    }
    let each = alternate(of.scale.few(), &mut cases)?;
    let mut ours = Vec::new();
    for (program, took) in of.programs.iter().zip(each.chunks(3)) {
        let limit = Some((took[0].max(took[1]), "the slower of W1 and W4 alone"));
        rate(
            table,
            Kind::Libqueue,
            (WHAT, size),
            program.who,
            took[2],
            limit,
        );
        ours.push((program.who, took[2]));
    }
    let asked = Asked {
        consumers: 1,
        ..Asked::new("W5", size, BATCH)
    };
    of.peers.rows(of, &asked, WHAT, &ours, table)
}

/// One round: messages and time.
pub(super) fn once(of: &Context<'_>, program: &Program, size: usize) -> Outcome<(usize, Duration)> {
    let count = program.share(of.scale.count(size));
    let bench = Bench::new(of.folder)?;
    let consumer = receiver(program, &bench, "work", (size, count, BATCH), "sleep", "-")?;
    let producer = sender(program, &bench, "process", size, count, 1, 0)?;
    let (gone, came) = together(vec![producer], vec![consumer])?;
    same(sent(&gone), sent(&came))?;
    bench.remove()?;
    Ok((count, clocked(gone.iter().chain(&came))))
}
