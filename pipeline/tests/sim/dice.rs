//! Chance that comes from a seed and from nowhere else.

use std::cell::RefCell;
use std::ops::Range;

use schemas::JobId;

/// A generator of numbers (SplitMix64): small, and the same for ever, so that a seed keeps its meaning.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5eed_0f5e_ed00_1234)
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `range`, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        let width = range.end - range.start;
        range.start + ((u128::from(self.draw()) * u128::from(width)) >> 64) as u64
    }

    /// An index below `count`, which is not zero.
    pub fn index(&mut self, count: usize) -> usize {
        self.within(0..count as u64) as usize
    }

    /// Yes, so many times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.within(0..1000) < per_mille
    }

    /// One of `these`.
    pub fn pick<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.index(these.len())]
    }
}

thread_local! {
    /// What the product draws: waits between attempts and names of jobs. A simulation has a thread of its own.
    static DRAWS: RefCell<Dice> = RefCell::new(Dice::new(0));
}

/// Lets everything that this thread draws follow from `seed`.
pub fn seed_draws(seed: u64) {
    DRAWS.with(|draws| *draws.borrow_mut() = Dice::new(seed ^ 0xd1ce));
}

/// A number from 0 up to 1.
pub fn draw() -> f64 {
    DRAWS.with(|draws| (draws.borrow_mut().draw() >> 11) as f64 / (1_u64 << 53) as f64)
}

/// The name of a job that begins at `unix_ms`.
pub fn new_job(unix_ms: u64) -> JobId {
    DRAWS.with(|draws| {
        let mut draws = draws.borrow_mut();
        JobId::from_parts(unix_ms, (u128::from(draws.draw()) << 64) | u128::from(draws.draw()))
    })
}
