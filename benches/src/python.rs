//! The same workloads through the Python package, where one is installed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::report::Table;
use crate::{Outcome, Scale};

/// Runs `benches/bench.py` with the interpreter named by `LIBQUEUE_PYTHON`; says so if there is
/// none. Each line it prints is `NAME<tab>COUNT<tab>NANOSECONDS`.
pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let Some(python) = std::env::var_os("LIBQUEUE_PYTHON") else {
        eprintln!("Python is left out: LIBQUEUE_PYTHON names no interpreter");
        return Ok(());
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .arg((scale.messages / 4).to_string())
        .arg(scale.rounds.to_string())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, count, took] = fields[..] else {
            return Err(format!("unexpected line {line:?}").into());
        };
        let took = Duration::from_nanos(took.parse()?);
        table.rate(name, "Python", count.parse()?, took, None);
    }
    Ok(())
}
