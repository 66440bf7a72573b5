//! How many instructions a message costs on its way: counted one by one in a child that is stepped
//! through, so that the figure is nearly the same on a busy machine as on an idle one. One that is
//! above its bound ends the run with an error: a slow-down is seen without a quiet machine.
//!
//! A step takes about a thousand times as long as the instruction, so what is done once in a
//! millisecond, as moving on the clock of leases, is done for each message here.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use libc::c_int;

use crate::parts::hot;
use crate::report::{Row, Table};
use crate::{Outcome, Scale};

/// What the child stops with at each mark.
const MARK: c_int = libc::SIGUSR1;

/// The most instructions for each message of 100 B, on x86-64.
const MOST: [(&str, f64); 4] = [
    ("send", 1_450.0),
    ("send 100", 750.0),
    ("take", 4_000.0),
    ("take 100", 950.0),
];

/// Instructions for each message, of each work.
pub(crate) fn count_steps(folder: &Path, _: Scale, table: &mut Table) -> Outcome<()> {
    for (work, most) in MOST {
        let count = if work.ends_with(" 100") { 200 } else { 20 };
        let Some(steps) = steps_of(folder, work, 100, count)? else {
            eprintln!("steps: left out, this machine lets nobody be traced");
            return Ok(());
        };
        let each = steps as f64 / count as f64;
        if cfg!(target_arch = "x86_64") && each > most {
            let what = format!("{work:?} takes {each:.0} instructions a message, at most {most}");
            return Err(what.into());
        }
        table.push(Row {
            name: format!("{work}, 100 B"),
            who: "Rust".into(),
            value: each,
            unit: "instr.",
            ratio: None,
        });
    }
    Ok(())
}

/// The child: FOLDER WORK SIZE COUNT, and `unmarked` where nobody steps through it, but a profiler
/// watches.
pub(crate) fn steps_child(args: &[String]) -> Outcome<()> {
    let (args, marked) = match args {
        [args @ .., last] if last == "unmarked" => (args, false),
        args => (args, true),
    };
    let [folder, work, size, count] = args else {
        return Err("steps takes FOLDER WORK SIZE COUNT [unmarked]".into());
    };
    let mark = || {
        if !marked {
            return;
        }
        // SAFETY: a signal to this thread itself, which whoever steps through it takes.
        unsafe { libc::raise(MARK) };
    };
    hot::run(
        Path::new(folder),
        work,
        size.parse()?,
        count.parse()?,
        &mark,
    )
}

/// From now on the stopped child ends where this thread does, however that ends: else it would go
/// on alone, up to a mark that nobody takes from it.
fn end_with_this_thread(id: libc::pid_t) -> Outcome<()> {
    let options = libc::c_long::from(libc::PTRACE_O_EXITKILL);
    // SAFETY: the child is stopped and traced by this thread.
    match unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, id, 0, options) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// Instructions of the child's first thread between its two marks; `None` where it may not be
/// traced.
fn steps_of(folder: &Path, work: &str, size: usize, count: usize) -> Outcome<Option<u64>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", "steps"])
        .arg(folder)
        .args([work, &size.to_string(), &count.to_string()])
        .stdout(Stdio::null());
    // SAFETY: between fork and exec one system call, which takes nothing of this process.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(None),
        started => started?,
    };
    let id = child.id() as libc::pid_t;
    let (mut steps, mut marks) = (0_u64, 0);
    let mut bound = false;
    loop {
        let mut status = 0;
        // SAFETY: the child is this one's, and nobody else waits for it; the status is on this
        // stack.
        if unsafe { libc::waitpid(id, &raw mut status, 0) } != id {
            return Err(std::io::Error::last_os_error().into());
        }
        if !libc::WIFSTOPPED(status) {
            let status = std::process::ExitStatus::from_raw(status);
            return match (status.success(), marks) {
                (true, 2) => Ok(Some(steps)),
                _ => Err(format!("work {work:?}: {status} after {marks} of 2 marks").into()),
            };
        }
        if !bound {
            end_with_this_thread(id)?;
            bound = true;
        }
        let signal = match libc::WSTOPSIG(status) {
            MARK => {
                marks += 1;
                0
            }
            // A step, or the start of the program.
            libc::SIGTRAP => 0,
            other => other,
        };
        let counting = marks == 1;
        steps += u64::from(counting);
        let how = match counting {
            true => libc::PTRACE_SINGLESTEP,
            false => libc::PTRACE_CONT,
        };
        // SAFETY: the child is stopped and traced by this thread.
        if unsafe { libc::ptrace(how, id, 0, signal) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
    }
}
