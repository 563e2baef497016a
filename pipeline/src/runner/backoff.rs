//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter: each wait is drawn evenly between nothing and a ceiling that doubles.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first ceiling.
    pub base: Duration,
    /// The highest ceiling.
    pub cap: Duration,
    /// Draws a number from 0 up to 1; a simulation draws from its seed.
    pub draw: fn() -> f64,
}

impl Backoff {
    /// Waits that begin below `base`, stay below `cap` and differ by chance.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, draw: rand::random::<f64> }
    }

    /// Longest wait after `failures` failures in a row.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A wait after `failures` failures in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64((self.draw)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let ceilings: Vec<u128> = [1, 2, 3, 7, 8, 200].map(|failures| backoff.ceiling(failures).as_millis()).into();
        assert_eq!(ceilings, [500, 1_000, 2_000, 30_000, 30_000, 30_000]);
        assert!((0..100).all(|_| backoff.wait(3) <= Duration::from_secs(2)));
    }
}
