//! W5, paced: how long a message is on its way from one process to another, against a bare word in
//! shared memory: with a futex where the consumer sleeps, without where it spins. A consumer spins
//! by receiving with a timeout of 0 again and again.

use super::receive::receiver;
use super::send::sender;
use super::{Context, named};
use crate::Outcome;
use crate::peers::Asked;
use crate::probe::{self, Hand};
use crate::report::{Kind, Row, Table, grouped};
use crate::scale::BATCH;
use crate::workers::{Bench, Program, same, sent, together};

/// Those that figures are named for.
const SIZES: [usize; 2] = [100, 1024];
pub(crate) const PARTS: [(&str, f64); 4] = [
    ("p50", 0.5),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];
/// Of a peer at this pace, as the others saturate at a higher one.
const PEERS_PACE: u32 = 10_000;

/// Nanoseconds at each of `PARTS`.
type Waits = [f64; 4];

/// How the consumer waits, what that is called, and what the limit of it is.
const HOWS: [(&str, &str, Hand, &str); 2] = [
    ("sleep", "sleeping", Hand::Futex, "futex hand-over"),
    ("spin", "spinning", Hand::Spin, "spin hand-over"),
];

pub(crate) fn run(of: &Context<'_>, table: &mut Table) -> Outcome<()> {
    for size in of.scale.sizes.iter().filter(|size| SIZES.contains(size)) {
        for pace in of.scale.paces {
            for (how, called, hand, limit) in HOWS {
                let name = format!("{called}, {} a second", grouped(f64::from(*pace)));
                let count = (f64::from(*pace) * of.scale.paced.as_secs_f64()) as usize;
                let paced = Paced {
                    size: *size,
                    count,
                    pace: *pace,
                    how,
                };
                let (least, ours) = measure(of, &paced, hand)?;
                enter(table, Kind::Limit, &name, *size, limit, &least, None);
                let mut medians = Vec::new();
                for (program, waits) in of.programs.iter().zip(&ours) {
                    let against = Some((&least, limit));
                    enter(
                        table,
                        Kind::Libqueue,
                        &name,
                        *size,
                        program.who,
                        waits,
                        against,
                    );
                    medians.push((program.who, waits[0]));
                }
                if how == "sleep" && *pace == PEERS_PACE {
                    let asked = Asked {
                        consumers: 1,
                        pace: *pace,
                        ..Asked::new("W5", *size, BATCH)
                    };
                    of.peers.rows(of, &asked, &name, &medians, table)?;
                }
            }
        }
    }
    Ok(())
}

struct Paced {
    size: usize,
    count: usize,
    pace: u32,
    how: &'static str,
}

/// The limit's and each program's, in alternating rounds; the least of each part counts.
fn measure(of: &Context<'_>, paced: &Paced, hand: Hand) -> Outcome<(Waits, Vec<Waits>)> {
    let mut least = [f64::MAX; 4];
    let mut ours = vec![[f64::MAX; 4]; of.programs.len()];
    for _ in 0..of.scale.few() {
        let waits = probe::hand_over(hand, paced.count, paced.pace)?;
        lower(&mut least, parts(waits)?);
        for (program, ours) in of.programs.iter().zip(&mut ours) {
            lower(ours, parts(once(of, program, paced)?)?);
        }
    }
    Ok((least, ours))
}

fn lower(least: &mut Waits, found: Waits) {
    for (least, found) in least.iter_mut().zip(found) {
        *least = least.min(found);
    }
}

fn parts(mut waits: Vec<u64>) -> Outcome<Waits> {
    waits.sort_unstable();
    let last = waits.len().checked_sub(1).ok_or("nothing was timed")?;
    let at = |part: f64| waits[((waits.len() as f64 * part) as usize).min(last)];
    Ok(PARTS.map(|(_, part)| at(part).max(1) as f64))
}

/// One round: how long each message was on its way.
fn once(of: &Context<'_>, program: &Program, paced: &Paced) -> Outcome<Vec<u64>> {
    let Paced {
        size,
        count,
        pace,
        how,
    } = *paced;
    let bench = Bench::new(of.folder)?;
    let file = of.folder.join("waits");
    let waits = file.to_str().ok_or("the folder's name is no text")?;
    let consumer = receiver(program, &bench, "work", (size, count, BATCH), how, waits)?;
    let producer = sender(program, &bench, "process", size, count, 1, pace)?;
    let (gone, came) = together(vec![producer], vec![consumer])?;
    same(sent(&gone), sent(&came))?;
    bench.remove()?;
    let bytes = std::fs::read(&file)?;
    std::fs::remove_file(file)?;
    let (waits, rest) = bytes.as_chunks::<8>();
    match waits.len() == count && rest.is_empty() {
        true => Ok(waits.iter().map(|one| u64::from_le_bytes(*one)).collect()),
        false => Err(format!("{} of {count} messages were timed", waits.len()).into()),
    }
}

fn enter(
    table: &mut Table,
    kind: Kind,
    name: &str,
    size: usize,
    who: &'static str,
    waits: &Waits,
    limit: Option<(&Waits, &'static str)>,
) {
    for (at, (part, _)) in PARTS.iter().enumerate() {
        let row = Row {
            name: format!("{name}, {part}, {}", named(size)),
            who: who.into(),
            value: waits[at] / 1000.0,
            unit: "us",
            ratio: limit.map(|(least, limit)| (waits[at] / least[at], limit.into())),
        };
        table.add(kind, Some(size), row);
    }
}

#[cfg(test)]
mod tests {
    use super::{lower, parts};

    #[test]
    fn parts_are_of_the_sorted_waits() {
        let mut found = parts((1..=10_000).rev().collect()).expect("parts");
        assert_eq!(found, [5001.0, 9901.0, 9991.0, 10_000.0]);
        lower(&mut found, [6000.0, 9000.0, 1.0, 20_000.0]);
        assert_eq!(found, [5001.0, 9000.0, 1.0, 10_000.0]);
        assert!(parts(Vec::new()).is_err());
        assert_eq!(parts(vec![7]).expect("one"), [7.0; 4]);
    }
}
