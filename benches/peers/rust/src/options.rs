//! The options of a run: from the command line, and back onto that of the processes of it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use crate::peer::{Outcome, Setup};
use crate::peers::PEERS;
use crate::tally::LEAST;
use crate::works::{Plan, Role, WORKS};

/// Where the command line says nothing.
const SIZE: usize = 100;
const COUNT: usize = 100_000;

/// A run by its options; what is not said is as usual for the work.
pub(crate) fn plan(args: &[String]) -> Outcome<Plan> {
    let options = Options { args };
    options.check()?;
    let name: String = options.needed("--peer")?;
    let Some(peer) = PEERS.into_iter().find(|peer| peer.name() == name) else {
        return Err(format!("no peer {name:?} is known; see `libqueue-peers list`").into());
    };
    let name: String = options.needed("--work")?;
    let Some(work) = WORKS.iter().find(|work| work.name == name) else {
        return Err(format!("no work {name:?}, expected one of W1 to W7").into());
    };
    let plan = Plan {
        peer,
        work,
        senders: options.one("--senders")?.unwrap_or(work.senders),
        consumers: options.one("--consumers")?.unwrap_or(work.consumers),
        rate: options.one("--rate")?.unwrap_or(0),
        setup: Setup {
            dir: options.needed::<PathBuf>("--dir")?,
            sync: work.sync,
            size: options.one("--size")?.unwrap_or(SIZE),
            count: options.one("--count")?.unwrap_or(COUNT),
            batch: options.one("--batch")?.unwrap_or(work.batch),
        },
    };
    // A work is of producers, of consumers or of both: their number may change, that may not.
    for (usual, wanted, who) in [
        (work.senders, plan.senders, "--senders"),
        (work.consumers, plan.consumers, "--consumers"),
    ] {
        if (usual == 0) != (wanted == 0) {
            return Err(format!("{}: {who} {wanted} does not fit", work.name).into());
        }
    }
    let Setup {
        size, count, batch, ..
    } = plan.setup;
    if size < LEAST || count == 0 || batch == 0 {
        return Err(format!(
            "--size is {size}, expected {LEAST} or more; --count {count} and --batch {batch}, \
             expected 1 or more"
        )
        .into());
    }
    Ok(plan)
}

/// The command line of a process that takes part in it.
pub(crate) fn child_arguments(plan: &Plan, role: Role, parent: i32) -> Vec<OsString> {
    let (name, place) = match role {
        Role::Sender(place) => ("sender", place),
        Role::Consumer => ("consumer", 0),
        Role::Loader => ("loader", 0),
        Role::Reader => ("reader", 0),
    };
    let setup = &plan.setup;
    let mut args: Vec<OsString> = ["child", name].map(Into::into).into();
    args.extend([place.to_string().into(), parent.to_string().into()]);
    for (option, value) in [
        ("--peer", plan.peer.name().to_owned()),
        ("--work", plan.work.name.to_owned()),
        ("--size", setup.size.to_string()),
        ("--count", setup.count.to_string()),
        ("--batch", setup.batch.to_string()),
        ("--senders", plan.senders.to_string()),
        ("--consumers", plan.consumers.to_string()),
        ("--rate", plan.rate.to_string()),
    ] {
        args.extend([option.into(), value.into()]);
    }
    args.extend(["--dir".into(), setup.dir.clone().into()]);
    args
}

/// A role by its name on the command line.
pub(crate) fn role_of(name: &str, place: usize) -> Outcome<Role> {
    match name {
        "sender" => Ok(Role::Sender(place)),
        "consumer" => Ok(Role::Consumer),
        "loader" => Ok(Role::Loader),
        "reader" => Ok(Role::Reader),
        other => Err(format!("no role {other:?}").into()),
    }
}

/// Pairs of names and values.
struct Options<'a> {
    args: &'a [String],
}

impl Options<'_> {
    fn check(&self) -> Outcome<()> {
        const KNOWN: [&str; 9] = [
            "--peer",
            "--work",
            "--size",
            "--count",
            "--batch",
            "--senders",
            "--consumers",
            "--rate",
            "--dir",
        ];
        for pair in self.args.chunks(2) {
            match pair {
                [name, _] if KNOWN.contains(&name.as_str()) => {}
                [name, ..] => {
                    return Err(format!("{name:?}: expected one of {KNOWN:?} and a value").into());
                }
                [] => {}
            }
        }
        Ok(())
    }

    fn one<T: FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        let Some(pair) = self.args.chunks_exact(2).find(|pair| pair[0] == name) else {
            return Ok(None);
        };
        let wrong = || format!("{name} {:?} is not understood", pair[1]);
        Ok(Some(pair[1].parse().map_err(|_| wrong())?))
    }

    fn needed<T: FromStr>(&self, name: &str) -> Outcome<T> {
        Ok(self
            .one(name)?
            .ok_or_else(|| format!("{name} is missing"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_usual_numbers_of_a_work_stand_where_none_are_given() {
        let plan = plan(&words("--peer sqlite --work W7 --dir /nowhere")).expect("a plan");
        assert_eq!((plan.senders, plan.consumers, plan.rate), (4, 4, 0));
        assert_eq!((plan.setup.size, plan.setup.batch), (SIZE, 100));
        assert!(!plan.setup.sync);
    }

    #[test]
    fn a_process_of_a_run_gets_the_run_as_it_was_asked_for() {
        let line = "--peer lmdb --work W3 --dir /a/b --size 64 --count 9 --batch 1 --senders 8";
        let asked = plan(&words(line)).expect("a plan");
        let args = child_arguments(&asked, Role::Sender(7), 42);
        let args: Vec<String> = args
            .into_iter()
            .map(|arg| arg.into_string().expect("text"))
            .collect();
        assert_eq!(args[..4], ["child", "sender", "7", "42"]);
        assert_eq!(role_of(&args[1], 7).expect("a role"), Role::Sender(7));
        let got = plan(&args[4..]).expect("a plan");
        assert_eq!(format!("{:?}", got.setup), format!("{:?}", asked.setup));
        assert_eq!((got.senders, got.consumers, got.rate), (8, 0, 0));
        assert!(got.setup.sync, "W3 is of synced sends");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for line in [
            "--peer none --work W1 --dir /a",
            "--peer sqlite --work W9 --dir /a",
            "--peer sqlite --work W1",
            "--peer sqlite --work W1 --dir /a --size 15",
            "--peer sqlite --work W1 --dir /a --consumers 1",
            "--peer sqlite --work W5 --dir /a --senders 0",
            "--peer sqlite --work W1 --dir /a --count",
            "--peer sqlite --work W1 --dir /a --cuont 5",
            "--peer sqlite --work W1 --dir /a --count five",
        ] {
            assert!(plan(&words(line)).is_err(), "{line}");
        }
    }
}
