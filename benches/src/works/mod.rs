//! The workloads, each beside its limit and the peers: rounds alternate, and the best of each
//! counts.

mod cold;
mod group;
mod latency;
mod limits;
mod pair;
mod receive;
mod send;
mod synced;

use std::path::Path;
use std::time::Duration;

pub(crate) use cold::run as cold;
pub(crate) use group::{groups, several, shared};
pub(crate) use latency::{PARTS, run as latency};
pub(crate) use limits::run as limits;
pub(crate) use pair::run as pair;
pub(crate) use receive::run as receive;
pub(crate) use send::{batches, single};
pub(crate) use synced::run as synced;

use crate::peers::Peers;
use crate::report::{Entry, Kind, Row, Table};
use crate::workers::Program;
use crate::{Outcome, Scale};

/// What every workload goes by.
pub(crate) struct Context<'a> {
    /// On the disk that is measured.
    pub(crate) folder: &'a Path,
    pub(crate) scale: Scale,
    /// The languages.
    pub(crate) programs: &'a [Program],
    pub(crate) peers: &'a Peers,
}

/// Something that is measured in every round: how many messages, and how long they took.
type Case<'a> = Box<dyn FnMut() -> Outcome<(usize, Duration)> + 'a>;

/// Runs all of them in turn, so many rounds; of each the least nanoseconds for a message. What was
/// written before each is on disk first: the kernel holds back who writes until then.
fn alternate(rounds: usize, cases: &mut [Case<'_>]) -> Outcome<Vec<f64>> {
    let mut least = vec![f64::MAX; cases.len()];
    for _ in 0..rounds {
        for (least, case) in least.iter_mut().zip(&mut *cases) {
            rustix::fs::sync();
            let (count, took) = case()?;
            *least = least.min(took.as_nanos().max(1) as f64 / count as f64);
        }
    }
    Ok(least)
}

/// How a size is called.
pub(crate) fn named(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

/// Enters a rate; the time for a message and that of its limit in nanoseconds.
fn rate<'t>(
    table: &'t mut Table,
    kind: Kind,
    (what, size): (&str, usize),
    who: &'static str,
    each: f64,
    limit: Option<(f64, &'static str)>,
) -> &'t mut Entry {
    let row = Row {
        name: format!("{what}, {}", named(size)),
        who: who.into(),
        value: 1e9 / each,
        unit: "messages/s",
        ratio: limit.map(|(least, name)| (each / least, name.into())),
    };
    let entry = table.add(kind, Some(size), row);
    entry.durability = (kind == Kind::Libqueue).then(|| "process".into());
    entry
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Case, alternate, named};

    #[test]
    fn the_best_round_of_each_counts() {
        let mut slow = 30;
        let mut cases: Vec<Case<'_>> = vec![
            Box::new(|| {
                slow -= 10;
                Ok((10, Duration::from_nanos(slow)))
            }),
            Box::new(|| Ok((1, Duration::from_nanos(7)))),
        ];
        assert_eq!(alternate(2, &mut cases).expect("measured"), [1.0, 7.0]);
        let mut failing: Vec<Case<'_>> =
            vec![Box::new(|| Err("what came is not what was sent".into()))];
        assert!(alternate(1, &mut failing).is_err());
    }

    #[test]
    fn sizes_have_names() {
        let names = [10, 1024, 65_536, 16 << 20].map(named);
        assert_eq!(names, ["10 B", "1 KiB", "64 KiB", "16 MiB"]);
    }
}
