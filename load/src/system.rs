//! What the guest's kernel says of itself and of us.

use std::fs::read_to_string;

/// The kernel's mark of this boot (`random(4)`).
pub(crate) fn boot_id() -> Option<String> {
    Some(read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// How long the guest has been up, in seconds.
pub(crate) fn uptime_seconds() -> Option<f64> {
    read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()
}

/// How much of us is in memory.
pub(crate) fn resident_bytes() -> Option<u64> {
    kib("/proc/self/status", "VmRSS:")
}

/// How much could be allocated without swapping.
pub(crate) fn available_bytes() -> Option<u64> {
    kib("/proc/meminfo", "MemAvailable:")
}

/// A line `KEY  12345 kB` of a file, in bytes.
fn kib(path: &str, key: &str) -> Option<u64> {
    let text = read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
