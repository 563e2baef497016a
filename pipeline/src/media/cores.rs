//! Cores that nobody uses at the moment.
//!
//! Chunks keep the cores busy. At the end of a video, or when it is short, there are fewer chunks than cores, and a chunk may
//! use those that are left. The kernel knows how many threads want to run, those of other workers and other programs
//! included, so nobody has to tell anybody.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::thread::available_parallelism;

/// The cores of this machine.
pub static CORES: LazyLock<Cores> = LazyLock::new(Cores::open);

/// What is known of a machine's cores.
pub struct Cores {
    /// How many this process may use.
    own: usize,
    /// How many the machine has.
    all: i64,
    /// proc_loadavg(5); open since before the sandbox.
    load: Option<File>,
}

impl Cores {
    fn open() -> Self {
        let own = available_parallelism().map_or(1, usize::from);
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let all = online.and_then(|list| count(&list)).unwrap_or(0);
        Self { own, all: all.max(i64::try_from(own).unwrap_or(1)), load: File::open("/proc/loadavg").ok() }
    }

    /// How many this process may use at most.
    pub fn own(&self) -> usize {
        self.own
    }

    /// How many have nothing to do; below zero: how many threads wait for one. Where nobody can say, all but this thread's.
    pub fn idle(&self) -> i64 {
        let mut text = [0; 64];
        let read = self.load.as_ref().and_then(|load| load.read_at(&mut text, 0).ok());
        let running = read.and_then(|length| running(text.get(..length)?));
        self.all - running.unwrap_or(1)
    }
}

/// Threads that run or could, as the fourth figure says: "0.20 0.18 0.12 1/80 11206".
fn running(load: &[u8]) -> Option<i64> {
    let fourth = std::str::from_utf8(load).ok()?.split_ascii_whitespace().nth(3)?;
    fourth.split_once('/')?.0.parse().ok().filter(|running| *running > 0)
}

/// How many numbers a list as "0-3,8" has.
fn count(list: &str) -> Option<i64> {
    list.trim().split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last - first + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_that_run_are_read() {
        assert_eq!(running(b"0.20 0.18 0.12 3/80 11206\n"), Some(3));
        assert_eq!(running(b"0.20 0.18"), None);
        // As some sandboxes answer, where the one who asks does not run.
        assert_eq!(running(b"0.00 0.00 0.00 0/0 0\n"), None);
    }

    #[test]
    fn the_cores_are_counted() {
        assert_eq!(count("0-1\n"), Some(2));
        assert_eq!(count("0-3,8,10-11"), Some(7));
        assert_eq!(count(""), None);
    }

    #[test]
    fn this_thread_is_seen_to_run() {
        let cores = Cores::open();
        assert!(cores.idle() < cores.all, "{} of {}", cores.idle(), cores.all);
    }
}
