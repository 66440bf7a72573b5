//! One run: sets the peer up, lets the processes go at once, and says what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::{Members, alone};
use crate::link::{Order, Report, Say};
use crate::peer::{Installed, Outcome, Peer};
use crate::peers::PEERS;
use crate::tally::{Tally, difference, latencies, now_ns};
use crate::works::{Plan, Role};

/// Consumers that all wait are told that there is no more when nothing came for so long, though
/// messages are missing: they are lost.
const STALL: Duration = Duration::from_secs(30);
/// All have to have everything open within this.
const READY: Duration = Duration::from_secs(120);
/// A look at what is said while it is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// How a run ended.
pub(crate) enum Ended {
    /// The line says what came of it, and whether every message came once.
    Measured { line: String, wrong: Option<String> },
    /// The peer is not here or cannot do this work.
    Without { reason: String },
}

/// What was measured.
struct Measured {
    took: Duration,
    wrong: Option<String>,
    waits: Option<[u64; 4]>,
}

/// Measures; leaves the folder as empty as it was, also where it fails.
pub(crate) fn run(plan: &Plan) -> Outcome<Ended> {
    let (name, work) = (plan.peer.name(), plan.work.name);
    let version = match plan.peer.installed() {
        Installed::Yes { version } => version,
        Installed::No { reason } => return Ok(Ended::Without { reason }),
    };
    if !plan.peer.works().contains(&work) {
        let note = plan.peer.note().unwrap_or("it is not made for it");
        let reason = format!("{name} cannot do {work}: {note}");
        return Ok(Ended::Without { reason });
    }
    let dir = &plan.setup.dir;
    if std::fs::read_dir(dir)?.next().is_some() {
        return Err(format!("{}: expected an empty folder", dir.display()).into());
    }
    let measured = measure(plan);
    let emptied = empty(dir);
    let measured = measured?;
    emptied?;
    Ok(Ended::Measured {
        line: line(plan, &version, &measured),
        wrong: measured.wrong,
    })
}

/// One JSON line a peer.
pub(crate) fn list() -> String {
    let lines: Vec<String> = PEERS.iter().map(|peer| listed(*peer)).collect();
    lines.join("\n")
}

fn listed(peer: &dyn Peer) -> String {
    let (installed, version) = match peer.installed() {
        Installed::Yes { version } => (true, quoted(&version)),
        Installed::No { .. } => (false, "null".to_owned()),
    };
    let works: Vec<String> = peer.works().iter().map(|work| quoted(work)).collect();
    format!(
        "{{\"peer\": {}, \"language\": \"Rust\", \"installed\": {installed}, \
         \"version\": {version}, \"works\": [{}], \"note\": {}}}",
        quoted(peer.name()),
        works.join(", "),
        peer.note().map_or("null".to_owned(), quoted),
    )
}

fn measure(plan: &Plan) -> Outcome<Measured> {
    // Dropped last: what takes part ends before its server.
    let _prepared = plan.peer.prepare(&plan.setup)?;
    let sent = Tally::of_first(plan.setup.count as u64);
    if plan.work.preloaded {
        alone(plan, Role::Loader)?;
    }
    let mut roles: Vec<Role> = (0..plan.senders).map(Role::Sender).collect();
    roles.extend((0..plan.consumers).map(|_| Role::Consumer));
    let mut members = Members::start(plan, &roles, plan.peer.processes())?;
    let (began, reports) = lead(&mut members, plan, roles.len())?;
    drop(members);

    // Consumers say what came; where there are none, the producers tell when they were through.
    let (producers, consumers) = reports.split_at(plan.senders);
    let timed = if consumers.is_empty() {
        producers
    } else {
        consumers
    };
    let end = timed.iter().map(|report| report.end).max().unwrap_or(began);
    let came = if consumers.is_empty() {
        let held = alone(plan, Role::Reader)?.tally.count;
        // The numbers are the producers' own; what a peer holds it only counts.
        Tally {
            count: held,
            ..together(producers)
        }
    } else {
        together(consumers)
    };
    Ok(Measured {
        took: Duration::from_nanos(end.saturating_sub(began)),
        wrong: difference(sent, came),
        waits: consumers.first().and_then(|report| report.waits),
    })
}

fn together(reports: &[Report]) -> Tally {
    let mut all = Tally::default();
    reports.iter().for_each(|report| all.join(report.tally));
    all
}

/// Barrier, start, and the answers to consumers that found nothing. When the clock started, and
/// what each one reported.
fn lead(members: &mut Members, plan: &Plan, count: usize) -> Outcome<(u64, Vec<Report>)> {
    let (mut waiting, opening) = (count, Instant::now());
    while waiting > 0 {
        match members.hear(QUIET)? {
            Some((_, Say::Ready)) => waiting -= 1,
            Some((place, other)) => return Err(unexpected(place, &other)),
            None if opening.elapsed() > READY => {
                return Err(format!("{waiting} of {count} are not ready in {READY:?}").into());
            }
            None => {}
        }
    }
    let began = now_ns();
    for place in 0..count {
        members.order(place, Order::Go)?;
    }
    let mut reports: Vec<Option<Report>> = vec![None; count];
    let mut came = vec![0; count];
    let mut progress = Instant::now();
    while reports.contains(&None) {
        match members.hear(QUIET)? {
            Some((place, Say::Done(report))) => {
                reports[place] = Some(report);
                progress = Instant::now();
            }
            Some((place, Say::Idle(now))) => {
                if came[place] != now {
                    came[place] = now;
                    progress = Instant::now();
                }
                // One that is still busy has not said what came since it was idle last: the others
                // go on looking until it has.
                let all = came.iter().sum::<u64>() >= plan.setup.count as u64;
                let over = all || progress.elapsed() > STALL;
                members.order(place, if over { Order::End } else { Order::Go })?;
            }
            // A producer that has reported ends, which is not early.
            Some((place, Say::Failed(_))) if reports[place].is_some() => {}
            Some((place, other)) => return Err(unexpected(place, &other)),
            None => {}
        }
    }
    Ok((began, reports.into_iter().flatten().collect()))
}

fn unexpected(place: usize, said: &Say) -> Box<dyn std::error::Error> {
    match said {
        Say::Failed(why) => why.clone().into(),
        other => format!("member {place} said {:?} out of turn", other.to_line()).into(),
    }
}

/// Removes what is in the folder.
fn empty(dir: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The line of a run.
fn line(plan: &Plan, version: &str, measured: &Measured) -> String {
    let (peer, setup) = (plan.peer, &plan.setup);
    let note = peer.note().map(|note| match peer.processes() {
        true => note.to_owned(),
        false => format!("threads of one process; {note}"),
    });
    format!(
        "{{\"peer\": {}, \"version\": {}, \"language\": \"Rust\", \"work\": \"{}\", \
         \"size\": {}, \"count\": {}, \"batch\": {}, \"senders\": {}, \"consumers\": {}, \
         \"rate\": {}, \"durability\": \"{}\", \"seconds\": {:.9}, \"checksum\": {}, \
         \"latency_ns\": {}, \"note\": {}}}",
        quoted(peer.name()),
        quoted(version),
        plan.work.name,
        setup.size,
        setup.count,
        setup.batch,
        plan.senders,
        plan.consumers,
        plan.rate,
        peer.durability(setup.sync),
        measured.took.as_secs_f64(),
        measured.wrong.is_none(),
        latencies(measured.waits),
        note.map_or("null".to_owned(), |note| quoted(&note)),
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_for_json() {
        assert_eq!(quoted("a \"b\"\\\n"), r#""a \"b\"\\\u000a""#);
    }

    #[test]
    fn every_peer_is_listed_once_with_works_that_there_are() {
        let lines = list();
        for peer in PEERS {
            let named = format!("{{\"peer\": \"{}\",", peer.name());
            assert_eq!(lines.matches(&named).count(), 1, "{named}");
            for work in peer.works() {
                assert!(crate::works::WORKS.iter().any(|known| known.name == *work));
            }
        }
    }
}
