//! What a user would pick instead, at the same work in the same run.
//!
//! Each family of peers is a program in a folder that the ordinary build never touches. `list` has
//! it print one object of JSON a peer, and `run` has it do a work and print one object about it; it
//! verifies what came by count and by sum. A program that is not there is left out, as is a work
//! that it cannot do; one that fails, or whose messages were not those that were sent, is shown as
//! failed.

mod run;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub(crate) use run::Asked;
use run::Found;

use crate::Outcome;
use crate::report::{Kind, Row, Table};
use crate::works::{Context, named};

/// Those that figures are named for.
const SIZES: [usize; 2] = [100, 1024];

/// How the name of a program of peers begins.
const PROGRAM: &str = "libqueue-peers";

/// A peer as its program lists it.
struct Peer {
    program: PathBuf,
    name: String,
    language: String,
    version: String,
    works: Vec<String>,
}

/// All that are there.
#[derive(Default)]
pub(crate) struct Peers {
    list: Vec<Peer>,
    /// Programs that did not say what they have, and what they said instead.
    failed: Vec<(String, String)>,
}

impl Peers {
    /// What the programs in a folder have installed; nothing where there is no folder. Servers may
    /// be in it too: only what is named as a program of peers is run.
    pub(crate) fn of(folder: &Path) -> Outcome<Self> {
        let mut peers = Self::default();
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(peers);
        };
        let mut programs = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Outcome<Vec<PathBuf>>>()?;
        programs.sort();
        for program in programs {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let about = std::fs::metadata(&program)?;
            let runs = about.is_file() && about.permissions().mode() & 0o111 != 0;
            if runs && name.starts_with(PROGRAM) {
                match list(&program) {
                    Ok(list) => peers.list.extend(list),
                    Err(error) => peers.failed.push((name.into_owned(), error.to_string())),
                }
            }
        }
        Ok(peers)
    }

    /// Enters the programs that failed before they did anything.
    pub(crate) fn failures(&self, table: &mut Table) {
        if !self.failed.is_empty() {
            table.part("peers", "programs that do not say what they have");
        }
        for (name, why) in &self.failed {
            fail(table, None, "list", name.clone(), why);
        }
    }

    /// Has each do the work, and compares the best with ours: the language and nanoseconds each.
    pub(crate) fn rows(
        &self,
        of: &Context<'_>,
        asked: &Asked,
        what: &str,
        ours: &[(&'static str, f64)],
        table: &mut Table,
    ) -> Outcome<()> {
        if !SIZES.contains(&asked.size) {
            return Ok(());
        }
        let mut done = Vec::new();
        for peer in &self.list {
            if !peer.works.iter().any(|work| work == asked.work) {
                continue;
            }
            let who = format!("{} {} ({})", peer.name, peer.version, peer.language);
            match run::best(of, &peer.program, &peer.name, asked)? {
                Ok(Some(found)) => {
                    enter(table, asked, what, &who, &found);
                    done.push((peer, found));
                }
                Ok(None) => {}
                Err(why) => fail(table, Some(asked.size), what, who, &why),
            }
        }
        for (who, each) in ours {
            against(table, asked, what, (who, *each), &done);
        }
        Ok(())
    }
}

/// Asks a program what it has installed.
fn list(program: &Path) -> Outcome<Vec<Peer>> {
    let output = Command::new(program).arg("list").output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{}: {said}", output.status).into());
    }
    let mut list = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Value = serde_json::from_str(line)?;
        if said["installed"] != true {
            continue;
        }
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let works = said["works"].as_array().ok_or("a peer without works")?;
        list.push(Peer {
            program: program.to_owned(),
            name: text("peer").ok_or("a peer without a name")?,
            language: text("language").ok_or("a peer without a language")?,
            version: text("version").unwrap_or_default(),
            works: works
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        });
    }
    Ok(list)
}

fn fail(table: &mut Table, size: Option<usize>, what: &str, who: String, why: &str) {
    let row = Row {
        name: size.map_or(what.to_owned(), |size| format!("{what}, {}", named(size))),
        who: who.into(),
        value: f64::NAN,
        unit: "",
        ratio: None,
    };
    table.add(Kind::Peer, size, row).note = Some(why.to_owned());
}

fn enter(table: &mut Table, asked: &Asked, what: &str, who: &str, found: &Found) {
    let size = named(asked.size);
    let values = match &found.latency {
        None => vec![(format!("{what}, {size}"), 1e9 / found.each, "messages/s")],
        Some(latency) => latency
            .iter()
            .map(|(part, ns)| (format!("{what}, {part}, {size}"), ns / 1000.0, "us"))
            .collect(),
    };
    for (name, value, unit) in values {
        let row = Row {
            name,
            who: who.to_owned().into(),
            value,
            unit,
            ratio: None,
        };
        let entry = table.add(Kind::Peer, Some(asked.size), row);
        entry.durability = Some(found.durability.clone());
        entry.note = found.note.clone();
    }
}

/// What one of our languages is compared with: its own peers. Those of languages that libqueue is
/// not called from stand beside Rust.
fn is_of(language: &str, who: &str) -> bool {
    match language {
        "Python" => who == "Python",
        "C" | "C++" => who == "C" || who == "Rust",
        "Rust" => who == "Rust" || who == "C",
        _ => who == "Rust",
    }
}

/// libqueue's rate to the best peer's of the same durability, for each language that peers are in;
/// where it is a time on the way, the median's.
fn against(
    table: &mut Table,
    asked: &Asked,
    what: &str,
    (who, each): (&'static str, f64),
    done: &[(&Peer, Found)],
) {
    let same = |found: &Found| found.durability == asked.durability();
    // Those of Rust and C are one: what either is built on can be called from both.
    let class = |language: &str| match language {
        "C" | "C++" | "Rust" => "native",
        _ => "other",
    };
    let rivals = done
        .iter()
        .filter(|(peer, found)| is_of(&peer.language, who) && same(found));
    let mut best: Vec<(&str, &Peer, f64)> = Vec::new();
    for (peer, found) in rivals {
        let of = match class(&peer.language) {
            "native" => "native",
            _ => peer.language.as_str(),
        };
        match best.iter_mut().find(|(known, _, _)| *known == of) {
            Some(known) if found.time() < known.2 => (known.1, known.2) = (peer, found.time()),
            Some(_) => {}
            None => best.push((of, peer, found.time())),
        }
    }
    for (_, peer, time) in best {
        let row = Row {
            name: format!("{what}, {}", named(asked.size)),
            who: format!("{who} / {} ({})", peer.name, peer.language).into(),
            value: time / each,
            unit: "times",
            ratio: None,
        };
        let entry = table.add(Kind::Against, Some(asked.size), row);
        entry.durability = Some(asked.durability().to_owned());
        let so = "libqueue / best peer of the same durability and language";
        entry.note = Some(match asked.pace {
            0 => so.to_owned(),
            _ => format!("{so}, p50"),
        });
    }
}

#[cfg(test)]
mod tests;
