//! The processor's own counter, for who wants the time more often than the kernel is to be asked.

/// Whether the counter runs evenly, on all processors alike: where the kernel itself goes by it.
#[cfg(target_arch = "x86_64")]
pub fn ticks_count_time() -> bool {
    static KNOWN: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        std::fs::read_to_string(source).is_ok_and(|name| name.trim_end() == "tsc")
    });
    *KNOWN
}

/// What the counter says; not in the order of what is loaded and stored around it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: each processor of this kind has the instruction, which touches no memory. Where a
    // process may not use it the kernel ends the process, as it would for asking for the time.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Asking the kernel is as quick here.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks_count_time() -> bool {
    false
}

/// Nothing: nobody asks.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    0
}
