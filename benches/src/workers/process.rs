//! Starting workers, letting them go at once, and believing them.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::Sum;
use crate::Outcome;

/// A worker that says nothing for so long hangs.
const LONG: Timespec = Timespec {
    tv_sec: 300,
    tv_nsec: 0,
};

/// Who plays the roles in a language.
#[derive(Clone)]
pub(crate) struct Program {
    /// The language.
    pub(crate) who: &'static str,
    command: Vec<OsString>,
}

impl Program {
    /// Fewer messages make a round of the same length in a language that takes longer for each.
    pub(crate) fn share(&self, count: usize) -> usize {
        match self.who {
            "Python" => crate::scale::whole(count / 4),
            _ => count,
        }
    }
}

/// Rust first; C where `LIBQUEUE_BENCH_C` names the program, Python where `LIBQUEUE_PYTHON` names
/// the interpreter.
pub(crate) fn programs() -> Outcome<Vec<Program>> {
    let own = std::env::current_exe()?.into_os_string();
    let mut found = vec![Program {
        who: "Rust",
        command: vec![own, "child".into(), "worker".into()],
    }];
    match std::env::var_os("LIBQUEUE_BENCH_C") {
        Some(program) => found.push(Program {
            who: "C",
            command: vec![program],
        }),
        None => eprintln!("C is left out: LIBQUEUE_BENCH_C names no program"),
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench.py");
    match std::env::var_os("LIBQUEUE_PYTHON") {
        Some(python) => found.push(Program {
            who: "Python",
            command: vec![python, script.into()],
        }),
        None => eprintln!("Python is left out: LIBQUEUE_PYTHON names no interpreter"),
    }
    Ok(found)
}

/// What the programs but Rust's are compiled with or interpreted by.
pub(crate) fn versions(programs: &[Program]) -> Vec<(&'static str, String)> {
    let of = |program: &Program| {
        let mut command = Command::new(&program.command[0]);
        let output = command
            .args(&program.command[1..])
            .arg("version")
            .output()
            .ok()?;
        let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !said.is_empty()).then_some((program.who, said))
    };
    let foreign = programs.iter().filter(|program| program.who != "Rust");
    foreign.filter_map(of).collect()
}

/// What a worker says of its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) sum: Sum,
    /// By the monotonic clock, in nanoseconds.
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// A process that plays a role.
pub(crate) struct Worker {
    what: String,
    process: Child,
    /// Let go of to end its input.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    is_ready: bool,
}

impl Worker {
    /// Starts it; it may take its time until it is ready.
    pub(crate) fn start(program: &Program, role: &[&str]) -> Outcome<Self> {
        let mut process = Command::new(&program.command[0])
            .args(&program.command[1..])
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the worker's output")?;
        Ok(Self {
            what: format!("{} {}", program.who, role.join(" ")),
            input: process.stdin.take(),
            process,
            output: BufReader::new(output),
            is_ready: false,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Until it has opened everything, which it says once.
    pub(crate) fn ready(&mut self) -> Outcome<()> {
        if self.is_ready {
            return Ok(());
        }
        match self.line()?.as_str() {
            "ready" => self.is_ready = true,
            other => return Err(format!("{}: not ready but {other:?}", self.what).into()),
        }
        Ok(())
    }

    pub(crate) fn go(&mut self) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("its input has ended")?;
        input.write_all(b"+")?;
        Ok(input.flush()?)
    }

    /// Nothing more will come.
    pub(crate) fn no_more(&mut self) {
        self.input = None;
    }

    /// What it did, once it has.
    pub(crate) fn end(mut self) -> Outcome<Said> {
        let line = self.line()?;
        let said = parse(&line).ok_or_else(|| format!("{}: said {line:?}", self.what))?;
        self.input = None;
        match self.process.wait()?.success() {
            true => Ok(said),
            false => Err(format!("{}: failed", self.what).into()),
        }
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.buffer().is_empty() {
            let mut wanted = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
            if poll(&mut wanted, Some(&LONG))? == 0 {
                return Err(format!("{}: nothing for {} s", self.what, LONG.tv_sec).into());
            }
        }
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("{}: ended without a word", self.what).into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Worker {
    /// After an error nobody waits for the others.
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn parse(line: &str) -> Option<Said> {
    let numbers: Option<Vec<u64>> = line.split(' ').map(|one| one.parse().ok()).collect();
    let [count, sum, bytes, began, ended] = numbers?[..] else {
        return None;
    };
    let sum = Sum { count, sum, bytes };
    (began <= ended).then_some(Said { sum, began, ended })
}

/// Lets all go at once: those who send, and those who receive until the others have ended and
/// nothing is left. What each said, in order.
pub(crate) fn together(
    mut senders: Vec<Worker>,
    mut receivers: Vec<Worker>,
) -> Outcome<(Vec<Said>, Vec<Said>)> {
    // Started before any of them is waited for: they get ready side by side.
    for worker in receivers.iter_mut().chain(&mut senders) {
        worker.ready()?;
    }
    for worker in receivers.iter_mut().chain(&mut senders) {
        worker.go()?;
    }
    let sent = senders
        .into_iter()
        .map(Worker::end)
        .collect::<Outcome<_>>()?;
    receivers.iter_mut().for_each(Worker::no_more);
    let received = receivers.into_iter().map(Worker::end);
    Ok((sent, received.collect::<Outcome<_>>()?))
}

/// From the first call of any to the last message of all.
pub(crate) fn clocked<'a>(said: impl IntoIterator<Item = &'a Said>) -> Duration {
    let (mut began, mut ended) = (u64::MAX, 0);
    for one in said {
        began = began.min(one.began);
        ended = ended.max(one.ended);
    }
    Duration::from_nanos(ended.saturating_sub(began))
}

/// What they sent or received, all together.
pub(crate) fn sent<'a>(said: impl IntoIterator<Item = &'a Said>) -> Sum {
    let mut all = Sum::default();
    said.into_iter().for_each(|one| all.join(one.sum));
    all
}

#[cfg(test)]
mod tests {
    use super::{clocked, parse, sent};

    #[test]
    fn what_a_worker_says_is_five_numbers() {
        let one = parse("10 45 1000 7 9").expect("said");
        assert_eq!((one.sum.count, one.sum.sum, one.sum.bytes), (10, 45, 1000));
        for wrong in [
            "",
            "1 2 3 4",
            "1 2 3 5 4",
            "1 2 3 4 x",
            "1 2 3 4 5 6",
            "-1 2 3 4 5",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
        let other = parse("1 1 1 3 8").expect("said");
        assert_eq!(clocked([&one, &other]).as_nanos(), 6);
        assert_eq!(sent([&one, &other]).count, 11);
    }
}
