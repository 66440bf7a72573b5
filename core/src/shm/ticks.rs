//! The processor's own counter, for who wants the time more often than the kernel is to be asked.

#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the counter runs evenly, on all processors alike: where the kernel itself goes by it.
#[cfg(target_arch = "x86_64")]
pub fn ticks_count_time() -> bool {
    // No lock that a fork could leave held: who comes while it is being found out finds it too.
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;
    match KNOWN.load(Ordering::Relaxed) {
        UNKNOWN => {
            let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
            let name = std::fs::read_to_string(source);
            let found = name.is_ok_and(|name| name.trim_end() == "tsc");
            KNOWN.store(if found { YES } else { NO }, Ordering::Relaxed);
            found
        }
        known => known == YES,
    }
}

/// What the counter says; not in the order of what is loaded and stored around it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: each processor of this kind has the instruction, which touches no memory. A process
    // that asked the kernel to be ended by it (`PR_SET_TSC`) is ended by the kernel's own clock in
    // user space as well.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Not used here: what the kernel says is asked for.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks_count_time() -> bool {
    false
}

/// Nothing: nobody asks.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    0
}
