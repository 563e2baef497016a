//! What a scrape of the metrics says about the machine: this process's memory and the disk below its data.

use std::path::Path;

use crate::metrics;

/// Samples memory, and the disk of `data` or of the closest folder above it.
pub fn sample(data: &Path) {
    if let Some(bytes) = resident() {
        metrics::memory(bytes);
    }
    let Ok(absolute) = std::path::absolute(data) else { return };
    let Some(folder) = absolute.ancestors().find(|folder| folder.exists()) else { return };
    if let Ok(space) = rustix::fs::statvfs(folder) {
        metrics::disk(space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
    }
}

/// Bytes of this process that are in memory, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}
