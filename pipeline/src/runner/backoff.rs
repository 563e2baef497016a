//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter: each wait is drawn evenly between nothing and a ceiling that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first ceiling.
    pub base: Duration,
    /// The highest ceiling.
    pub cap: Duration,
}

impl Backoff {
    /// Longest wait after `failures` failures in a row.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A wait after `failures` failures in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };
        let ceilings: Vec<u128> = [1, 2, 3, 7, 8, 200].map(|failures| backoff.ceiling(failures).as_millis()).into();
        assert_eq!(ceilings, [500, 1_000, 2_000, 30_000, 30_000, 30_000]);
        assert!((0..100).all(|_| backoff.wait(3) <= Duration::from_secs(2)));
    }
}
