//! W6, W7 and W8: four consumers of one group, with four producers beside them, and ten groups on
//! one topic. Each against the same work with one consumer.

use std::time::Duration;

use super::receive::receiver;
use super::send::sender;
use super::{Case, Context, alternate, pair, rate, receive};
use crate::Outcome;
use crate::peers::Asked;
use crate::report::{Kind, Table};
use crate::scale::{BATCH, Scale};
use crate::workers::{Bench, Program, clocked, same, sent, together};

const CONSUMERS: usize = 4;
const PRODUCERS: usize = 4;
const GROUPS: usize = 10;
/// Enough that no consumer waits for another one's key.
const KEYS: usize = 1000;

/// W6: preloaded, without keys and with.
pub(crate) fn shared(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes {
        for (how, batch) in [("one by one", 1), ("batches of 100", BATCH)] {
            if batch > 1 && !Scale::has_batches(*size) {
                continue;
            }
            let mut cases: Vec<Case<'_>> = Vec::new();
            for program in of.programs {
                cases.push(Box::new(move || receive::once(of, program, *size, batch)));
                cases.push(Box::new(move || competing(of, program, (*size, batch), 0)));
                cases.push(Box::new(move || {
                    competing(of, program, (*size, batch), KEYS)
                }));
            }
            let each = alternate(of.scale.few(), &mut cases)?;
            for (at, keys) in [(1, "no keys"), (2, "1,000 keys")] {
                let what = format!("4 consumers, {keys}, {how}");
                let mut ours = Vec::new();
                for (program, took) in of.programs.iter().zip(each.chunks(3)) {
                    let base = Some((took[0], "one consumer"));
                    rate(
                        table,
                        Kind::Libqueue,
                        (&what, *size),
                        program.who,
                        took[at],
                        base,
                    );
                    ours.push((program.who, took[at]));
                }
                if at == 1 {
                    let asked = Asked {
                        senders: 0,
                        consumers: CONSUMERS,
                        ..Asked::new("W6", *size, batch)
                    };
                    of.peers.rows(of, &asked, &what, &ours, table)?;
                }
            }
        }
    }
    Ok(())
}

fn competing(
    of: &Context<'_>,
    program: &Program,
    (size, batch): (usize, usize),
    keys: usize,
) -> Outcome<(usize, Duration)> {
    let count = program.share(of.scale.count(size));
    let bench = Bench::new(of.folder)?;
    let loaded = bench.load(size, count, keys)?;
    let workers =
        (0..CONSUMERS).map(|_| receiver(program, &bench, "work", (size, 0, batch), "sleep", "-"));
    let (_, came) = together(Vec::new(), workers.collect::<Outcome<_>>()?)?;
    same(loaded, sent(&came))?;
    bench.remove()?;
    Ok((count, clocked(&came)))
}

/// W7: four producers, one by one, and four consumers, in batches, at once.
pub(crate) fn several(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    let what = "4 producers, 4 consumers";
    for size in of.scale.sizes {
        let mut cases: Vec<Case<'_>> = Vec::new();
        for program in of.programs {
            cases.push(Box::new(move || pair::once(of, program, *size)));
            cases.push(Box::new(move || four_and_four(of, program, *size)));
        }
        let each = alternate(of.scale.few(), &mut cases)?;
        let mut ours = Vec::new();
        for (program, took) in of.programs.iter().zip(each.chunks(2)) {
            let base = Some((took[0], "W5"));
            rate(
                table,
                Kind::Libqueue,
                (what, *size),
                program.who,
                took[1],
                base,
            );
            ours.push((program.who, took[1]));
        }
        let asked = Asked {
            senders: PRODUCERS,
            consumers: CONSUMERS,
            ..Asked::new("W7", *size, BATCH)
        };
        of.peers.rows(of, &asked, what, &ours, table)?;
    }
    Ok(())
}

fn four_and_four(of: &Context<'_>, program: &Program, size: usize) -> Outcome<(usize, Duration)> {
    let count = (program.share(of.scale.count(size)) / PRODUCERS).max(1);
    let bench = Bench::new(of.folder)?;
    let consumers =
        (0..CONSUMERS).map(|_| receiver(program, &bench, "work", (size, 0, BATCH), "sleep", "-"));
    let consumers = consumers.collect::<Outcome<_>>()?;
    let producers = (0..PRODUCERS).map(|_| sender(program, &bench, "process", size, count, 1, 0));
    let (gone, came) = together(producers.collect::<Outcome<_>>()?, consumers)?;
    same(sent(&gone), sent(&came))?;
    bench.remove()?;
    Ok((count * PRODUCERS, clocked(gone.iter().chain(&came))))
}

/// W8: one producer, and ten groups that each get all of it, with a consumer process each. What is
/// counted is what is handed out.
pub(crate) fn groups(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    let what = "10 groups, 1 producer, deliveries";
    for size in of.scale.sizes {
        let mut cases: Vec<Case<'_>> = Vec::new();
        for program in of.programs {
            cases.push(Box::new(move || pair::once(of, program, *size)));
            cases.push(Box::new(move || ten(of, program, *size)));
        }
        let each = alternate(of.scale.few(), &mut cases)?;
        for (program, took) in of.programs.iter().zip(each.chunks(2)) {
            let base = Some((took[0], "W5, one group"));
            rate(
                table,
                Kind::Libqueue,
                (what, *size),
                program.who,
                took[1],
                base,
            );
        }
    }
    Ok(())
}

fn ten(of: &Context<'_>, program: &Program, size: usize) -> Outcome<(usize, Duration)> {
    let all = program.share(of.scale.count(size));
    let count = (all / GROUPS * 2).max(1);
    let bench = Bench::new(of.folder)?;
    let names: Vec<String> = (0..GROUPS)
        .map(|number| format!("group-{number}"))
        .collect();
    let consumers = names
        .iter()
        .map(|name| receiver(program, &bench, name, (size, count, BATCH), "sleep", "-"));
    let consumers = consumers.collect::<Outcome<_>>()?;
    let producer = sender(program, &bench, "process", size, count, 1, 0)?;
    let (gone, came) = together(vec![producer], consumers)?;
    for one in &came {
        same(sent(&gone), one.sum)?;
    }
    bench.remove()?;
    Ok((count * GROUPS, clocked(gone.iter().chain(&came))))
}
