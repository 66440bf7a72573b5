//! W3: durable sends. One process against an append and `fdatasync` each, and eight against one:
//! how many of them one `fdatasync` is for.

use std::time::Duration;

use super::send::sender;
use super::{Case, Context, alternate, rate};
use crate::peers::Asked;
use crate::report::{Kind, Table};
use crate::workers::{Bench, Program, clocked, sent, together};
use crate::{Outcome, probe};

const PROCESSES: usize = 8;

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        of_size(of, *size, table)?;
    }
    Ok(())
}

fn of_size(of: &Context<'_>, size: usize, table: &mut Table) -> Outcome<()> {
    let count = of.scale.synced(size);
    let mut cases: Vec<Case<'_>> = vec![Box::new(move || {
        Ok((count, probe::synced(of.folder, size, count)?))
    })];
    for program in of.programs {
        cases.push(Box::new(move || once(of, program, size, 1)));
        cases.push(Box::new(move || once(of, program, size, PROCESSES)));
    }
    let each = alternate(of.scale.few(), &mut cases)?;
    let limit = (each[0], "append and fdatasync");
    let (one, eight) = ("1 process", "8 processes");
    rate(table, Kind::Limit, (one, size), limit.1, limit.0, None);
    let mut enter = |what, who, each, base| {
        let row = rate(table, Kind::Libqueue, (what, size), who, each, Some(base));
        row.durability = Some("sync".into());
    };
    let (mut alone, mut at_once) = (Vec::new(), Vec::new());
    for (program, took) in of.programs.iter().zip(each[1..].chunks(2)) {
        enter(one, program.who, took[0], limit);
        enter(eight, program.who, took[1], (took[0], one));
        alone.push((program.who, took[0]));
        at_once.push((program.who, took[1]));
    }
    let asked = Asked::new("W3", size, 1);
    of.peers.rows(of, &asked, one, &alone, table)?;
    let asked = Asked {
        senders: PROCESSES,
        ..asked
    };
    of.peers.rows(of, &asked, eight, &at_once, table)
}

/// One round: messages of all processes, and time.
fn once(
    of: &Context<'_>,
    program: &Program,
    size: usize,
    processes: usize,
) -> Outcome<(usize, Duration)> {
    // Each of eight fewer, or a round of them would last eight times as long.
    let count = (of.scale.synced(size) * 2 / (processes + 1)).max(2);
    let bench = Bench::new(of.folder)?;
    let workers = (0..processes).map(|_| sender(program, &bench, "sync", size, count, 1, 0));
    let (said, _) = together(workers.collect::<Outcome<_>>()?, Vec::new())?;
    let sum = sent(&said);
    if sum.count != (count * processes) as u64 {
        return Err(format!("{}: {sum:?} of {count} from each", program.who).into());
    }
    bench.check(sum)?;
    bench.remove()?;
    Ok((count * processes, clocked(&said)))
}
