//! One peer at one work: how many messages make a round of the length that is wanted, and whether
//! what it says counts.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::scale::whole;
use crate::works::Context;

/// How many messages say how fast a peer is; where each waits for the disk.
const FEW: usize = 1000;
const FEW_SYNCED: usize = 100;
/// A run that lasts longer has failed.
const LONG: Duration = Duration::from_secs(120);
/// Its exit status where it is not installed, or cannot do the work.
const CANNOT: i32 = 3;
/// Of the rounds the best counts; they are no more than this, as peers are many.
const ROUNDS: usize = 2;
/// And one of a peer that takes so long before and behind its work, as those do that start a
/// server or a virtual machine.
const SLOW: Duration = Duration::from_millis(1500);

/// A work, as the programs know it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) work: &'static str,
    pub(crate) size: usize,
    pub(crate) batch: usize,
    pub(crate) senders: usize,
    pub(crate) consumers: usize,
    /// Messages a second; 0: as fast as it goes.
    pub(crate) pace: u32,
}

impl Asked {
    /// With one process that sends, or one that receives.
    pub(crate) fn new(work: &'static str, size: usize, batch: usize) -> Self {
        let receives = work == "W4";
        Self {
            work,
            size,
            batch,
            senders: usize::from(!receives),
            consumers: usize::from(receives),
            pace: 0,
        }
    }

    /// What a message of ours survives in this work.
    pub(super) fn durability(&self) -> &'static str {
        match self.work {
            "W3" => "sync",
            _ => "process",
        }
    }
}

/// What a peer did.
#[derive(Clone)]
pub(super) struct Found {
    /// Nanoseconds for a message.
    pub(super) each: f64,
    /// Nanoseconds on the way, where the work is paced.
    pub(super) latency: Option<Vec<(&'static str, f64)>>,
    pub(super) durability: String,
    pub(super) note: Option<String>,
}

impl Found {
    /// Of each figure the better one.
    fn or(mut self, other: &Found) -> Found {
        self.each = self.each.min(other.each);
        for (own, (_, ns)) in self
            .latency
            .iter_mut()
            .flatten()
            .zip(other.latency.iter().flatten())
        {
            own.1 = own.1.min(*ns);
        }
        self
    }

    /// What it is compared by.
    pub(super) fn time(&self) -> f64 {
        match self.latency.as_deref() {
            Some([(_, median), ..]) => *median,
            _ => self.each,
        }
    }
}

/// `None` where it cannot do this; an error says how it failed.
type Tried = Result<Option<Found>, String>;

/// The best of some rounds that last as long as is wanted.
pub(super) fn best(of: &Context<'_>, program: &Path, peer: &str, asked: &Asked) -> Outcome<Tried> {
    let few = match (asked.work, asked.pace) {
        ("W3", _) => FEW_SYNCED,
        (_, 0) => FEW,
        (_, pace) => (f64::from(pace) * of.scale.paced.as_secs_f64()) as usize,
    };
    let round = |count| once(of.folder, program, peer, asked, count);
    let began = Instant::now();
    let first = match round(few)? {
        Ok(Some(found)) => found,
        other => return Ok(other),
    };
    if of.scale.rounds == 1 {
        return Ok(Ok(Some(first)));
    }
    let worked = Duration::from_nanos((first.each * few as f64) as u64);
    let rounds = match began.elapsed().saturating_sub(worked) < SLOW {
        true => ROUNDS,
        false => 1,
    };
    let (count, mut best) = match asked.pace {
        // The first was to see how many: it was too short to be compared.
        0 => {
            let fit = of.scale.peer.as_nanos() as f64 / first.each;
            let count = whole((fit as usize).min(of.scale.count(asked.size)).max(few));
            (count, None)
        }
        _ => (few, Some(first)),
    };
    for _ in usize::from(best.is_some())..rounds {
        match round(count)? {
            Ok(Some(found)) => {
                best = Some(best.map_or(found.clone(), |best: Found| best.or(&found)));
            }
            other => return Ok(other),
        }
    }
    Ok(Ok(best))
}

fn once(folder: &Path, program: &Path, peer: &str, asked: &Asked, count: usize) -> Outcome<Tried> {
    let place = tempfile::Builder::new()
        .prefix("peer-")
        .tempdir_in(folder)?;
    let store = place.path().join("store");
    std::fs::create_dir(&store)?;
    let (said, errors) = (place.path().join("said"), place.path().join("errors"));
    let number = |number: usize| number.to_string();
    let mut command = Command::new(program);
    command
        .args(["run", "--peer", peer, "--work", asked.work])
        .args(["--size", &number(asked.size), "--count", &number(count)])
        .args([
            "--batch",
            &number(asked.batch),
            "--senders",
            &number(asked.senders),
        ])
        .args([
            "--consumers",
            &number(asked.consumers),
            "--rate",
            &asked.pace.to_string(),
        ])
        .arg("--dir")
        .arg(&store)
        .stdin(Stdio::null())
        .stdout(File::create(&said)?)
        .stderr(File::create(&errors)?);
    let status = match finish(command)? {
        Some(status) => status,
        None => return Ok(Err(format!("not done within {} s", LONG.as_secs()))),
    };
    if status.code() == Some(CANNOT) {
        return Ok(Ok(None));
    }
    if !status.success() {
        let errors = String::from_utf8_lossy(&std::fs::read(&errors)?).into_owned();
        let last = errors.trim().lines().last().unwrap_or_default().to_owned();
        return Ok(Err(format!("{status}: {last}")));
    }
    let said = String::from_utf8_lossy(&std::fs::read(&said)?).into_owned();
    Ok(parse(&said, asked, count).map(Some))
}

/// How it ended; nothing where it lasted too long and was ended.
fn finish(mut command: Command) -> Outcome<Option<ExitStatus>> {
    let (mut process, began) = (command.spawn()?, Instant::now());
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > LONG {
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a program printed about a run, if it counts.
pub(super) fn parse(said: &str, asked: &Asked, count: usize) -> Result<Found, String> {
    let said: Value =
        serde_json::from_str(said.trim()).map_err(|error| format!("said {said:?}: {error}"))?;
    if said["checksum"] != true {
        return Err("what came was not verified, or is not what was sent".into());
    }
    if said["count"] != count {
        return Err(format!(
            "{count} messages were asked for, it did {}",
            said["count"]
        ));
    }
    let seconds = said["seconds"].as_f64().filter(|seconds| *seconds > 0.0);
    let latency = match asked.pace {
        0 => None,
        _ => {
            let parts = crate::works::PARTS.map(|(part, _)| {
                let ns = said["latency_ns"][part.replace('.', "")].as_f64();
                ns.map(|ns| (part, ns.max(1.0)))
            });
            let parts: Option<Vec<_>> = parts.into_iter().collect();
            Some(parts.ok_or("it did not say how long messages were on their way")?)
        }
    };
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    Ok(Found {
        each: seconds.ok_or("it did not say how long it took")? * 1e9 / count as f64,
        latency,
        durability: text("durability").ok_or("it did not say what a message survives")?,
        note: text("note"),
    })
}
