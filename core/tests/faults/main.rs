//! Every file of a store, damaged in every way: cut short, zeroed, one bit of each structure of
//! format.md flipped, exchanged with its like, read-only, gone. The outcome each time is right data
//! or an error that names the file, and what is missing was told of (P3, P18); once the cause is
//! gone, all is there and work goes on.
//!
//! The cases run in processes of their own, so that a signal or a hang is told with its case.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod made;
mod places;
mod used;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use damage::{Case, Fault};
use made::Made;
use tempfile::TempDir;

const ROLE: &str = "LIBQUEUE_TEST_FAULTS";
/// A case takes some tens of milliseconds; one that takes so long hangs.
const BOUND: Duration = Duration::from_secs(60);

/// In memory where there is such a place: no power is lost here.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

/// Runs a test of this program again with all its cases; panics with the one that it ended in.
fn in_a_process(test: &str, before: &[&str]) {
    let program = std::env::current_exe().unwrap();
    let mut command = before
        .iter()
        .map(|word| (*word).to_owned())
        .collect::<Vec<_>>();
    command.push(program.display().to_string());
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, told) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|one| tell.send(one))
    });
    let (mut last, mut wrong, mut cases) = (String::new(), Vec::new(), 0);
    loop {
        match told.recv_timeout(BOUND) {
            Ok(line) if line.starts_with("case ") => {
                cases += 1;
                last = line;
            }
            Ok(line) if line.starts_with("wrong ") => wrong.push(format!("{last}: {line}")),
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("{test}: hangs in {last}");
            }
        }
    }
    let ended = child.wait().unwrap();
    assert!(ended.success(), "{test}: {ended} in or after {last}");
    assert!(wrong.is_empty(), "{} of {cases}: {wrong:#?}", wrong.len());
    assert!(cases > 10, "only {cases} cases");
}

/// Damages a copy, uses it, takes the damage back, uses it again.
fn run(made: &Made, case: &Case) -> Result<(), String> {
    let folder = scratch();
    let path = folder.path().join("store");
    made::copy(&made.path(), &path);
    let cause = case.apply(&path);
    let first = used::all_of_it(&path);
    first.looks_right(made, &case.names())?;
    cause.take_back();
    let second = used::all_of_it(&path);
    second.is_whole(made, &first, &case.names())
}

/// Cases of this very store: which files another one has depends on what housekeeping got to.
fn run_all(made: &Made, cases: &[Case]) {
    for case in cases {
        println!("\ncase {case:?}");
        if let Err(wrong) = run(made, case) {
            println!("wrong {}", wrong.replace('\n', " "));
        }
    }
}

/// The cases of one kind of fault.
fn cases(made: &Path, of: impl Fn(&Fault) -> bool) -> Vec<Case> {
    let mut all = places::cases(made);
    all.retain(|case| of(&case.fault));
    all
}

fn with(test: &str, of: impl Fn(&Fault) -> bool) {
    if std::env::var_os(ROLE).is_none() {
        return in_a_process(test, &[]);
    }
    let made = Made::make(scratch());
    run_all(&made, &cases(&made.path(), of));
}

#[test]
fn p3_p18_one_bit_of_each_structure_flipped() {
    with("p3_p18_one_bit_of_each_structure_flipped", |fault| {
        matches!(fault, Fault::Flip(..))
    });
}

#[test]
fn p3_p18_structures_zeroed_files_cut_short_gone_or_exchanged() {
    let test = "p3_p18_structures_zeroed_files_cut_short_gone_or_exchanged";
    with(test, |fault| {
        !matches!(fault, Fault::Flip(..) | Fault::ReadOnly)
    });
}

#[test]
fn p3_files_that_may_only_be_read() {
    let test = "p3_files_that_may_only_be_read";
    if std::env::var_os(ROLE).is_some() {
        let made = Made::make(scratch());
        let read_only = cases(&made.path(), |fault| matches!(fault, Fault::ReadOnly));
        return run_all(&made, &read_only);
    }
    // Root may write whatever the mode says, but not in a user namespace that does not know it.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    std::fs::set_permissions(&file, mode).unwrap();
    let refused = |before: &[&str]| {
        let script = ["sh", "-c", r#"! { : >>"$0"; } 2>/dev/null"#];
        let words: Vec<&str> = before.iter().copied().chain(script).collect();
        let status = Command::new(words[0]).args(&words[1..]).arg(&file).status();
        status.is_ok_and(|status| status.success())
    };
    for before in [&[][..], &["unshare", "-U"][..]] {
        if refused(before) {
            return in_a_process(test, before);
        }
    }
    println!(
        "this machine lets root write read-only files, in user namespaces too: nothing is run"
    );
}
