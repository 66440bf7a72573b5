//! A small file system of a test's own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Names the folder of that file system to the process that has it.
pub const CHILD: &str = "LIBQUEUE_TEST_SMALL_DISK";
/// Names, with commas, what no test may leave out where the machine does not let it.
const REQUIRE: &str = "LIBQUEUE_TEST_REQUIRE";

/// Runs a test of this program again in a mount namespace with a file system of a few MiB. False
/// where the machine lets nobody have one, which is said, and an error where that is required.
pub fn on_a_small_disk(test: &str, mebibytes: u32) -> bool {
    let folder = TempDir::new().unwrap();
    let script = r#"mount -t tmpfs -o size="$1"m none "$2" || exit 77
        exec env "$3=$2" "$4" --exact "$5" --nocapture --test-threads 1"#;
    let program = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh", &mebibytes.to_string()])
        .args([
            folder.path().as_os_str(),
            CHILD.as_ref(),
            program.as_os_str(),
        ])
        .arg(test)
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => true,
        Ok(Some(1 | 77)) | Err(_) if !may_mount(folder.path()) => {
            eprintln!("LEFT OUT here, small_disk: {test}; the machine lets nobody mount one");
            let required = std::env::var(REQUIRE).unwrap_or_default();
            let required = required.split(',').any(|one| one == "small_disk");
            assert!(!required, "small_disk is required ({REQUIRE})");
            false
        }
        other => panic!("{test} on a small disk: {other:?}"),
    }
}

fn may_mount(folder: &Path) -> bool {
    let script = r#"mount -t tmpfs none "$1""#;
    let tried = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(folder)
        .output();
    tried.is_ok_and(|done| done.status.success())
}
