//! The whole program, seen from outside: real files in over HTTP, playable video out.
//!
//! Every input is drawn by ffmpeg at test time ([`clip`], [`kinds`]) so that each frame carries its number and each
//! second a flash and a beep; [`measure`] reads them back from what the server plays and [`check`] compares.
//! The tests share two cores, so they take turns ([`turn`]): what one measures is not another's noise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod captions;
mod check;
mod client;
mod clip;
mod content;
mod crash;
mod hostile;
mod inputs;
mod keys;
mod kinds;
mod load;
mod measure;
mod patch;
mod pictures;
mod playback;
mod process;
mod quality;
mod refusals;
mod server;
mod sound;
#[allow(dead_code, reason = "the suite of captions uses the rest")]
#[path = "../captions/clips.rs"]
mod speech;
mod verifier;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this program runs.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// A small generator of pseudo-random numbers (splitmix64), so that a failure can be run again from its seed.
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same way for one `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// Fails with every problem at once, so that one run shows everything.
fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n  {}", problems.len(), problems.join("\n  "));
}
