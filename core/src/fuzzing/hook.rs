//! Which panics end a fuzzer.

use std::panic::{PanicHookInfo, set_hook};
use std::sync::Once;

/// Where a panic over a damaged window may begin: `store/windows.rs` catches it and tells of damage
/// (P18). libFuzzer's own hook would end the process before it is caught.
const CAUGHT: [&str; 2] = ["src/group/", "src/shm/map.rs"];

/// Ends the process at every panic but those, also in housekeeping's thread, where it would go
/// unseen.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(look)));
}

fn look(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or("", std::panic::Location::file);
    if !CAUGHT.iter().any(|room| place.contains(room)) {
        eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }
}
