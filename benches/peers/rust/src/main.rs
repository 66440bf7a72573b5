//! `libqueue-peers`: what a user would pick instead of libqueue, at the works that `make bench`
//! measures libqueue at. README.md beside it tells the peers, the works and the protocol.
//!
//! ```text
//! libqueue-peers list
//! libqueue-peers run --peer NAME --work W1|W2|W3|W4|W5|W6|W7 --dir FOLDER [--size BYTES]
//!                    [--count N] [--batch B] [--senders S] [--consumers C] [--rate R]
//! ```
#![deny(unsafe_code)]

mod beanstalkd;
mod child;
mod driver;
mod link;
#[expect(
    unsafe_code,
    reason = "LMDB maps its file, which its crate leaves to the user to answer for"
)]
mod lmdb;
mod nats;
mod okaywal;
mod options;
mod peer;
mod peers;
mod rabbitmq;
mod redis;
mod server;
mod sqlite;
mod tally;
mod walrus;
mod works;
mod yaque;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use driver::Ended;
use peer::Outcome;
use works::Plan;

/// The peer, or this work of it, is not to be had here.
const WITHOUT: u8 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("list") => {
            println!("{}", driver::list());
            Ok(ExitCode::SUCCESS)
        }
        Some("run") => run(&args),
        Some("child") => child::child(&args[1..]).map(|()| ExitCode::SUCCESS),
        _ => Err("expected `list` or `run --peer NAME --work WORK --dir FOLDER ...`".into()),
    };
    done.unwrap_or_else(|why| {
        eprintln!("libqueue-peers: {why}");
        ExitCode::FAILURE
    })
}

fn run(args: &[String]) -> Outcome<ExitCode> {
    let plan = options::plan(&args[1..])?;
    with_environment(&plan, args)?;
    match driver::run(&plan)? {
        Ended::Without { reason } => {
            eprintln!("{reason}");
            Ok(ExitCode::from(WITHOUT))
        }
        Ended::Measured { line, wrong } => {
            println!("{line}");
            wrong.map_or(Ok(ExitCode::SUCCESS), |wrong| Err(wrong.into()))
        }
    }
}

/// Starts the program anew where the peer wants something in its environment that is not there: a
/// process cannot change its own safely.
fn with_environment(plan: &Plan, args: &[String]) -> Outcome<()> {
    let wanted = plan.peer.environment(&plan.setup);
    let missing = |(name, value): &(&str, _)| std::env::var_os(name).as_ref() != Some(value);
    if !wanted.iter().any(missing) {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.args(args).envs(wanted).exec().into())
}
