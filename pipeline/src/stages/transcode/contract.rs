//! The floor of a rung: a chunk below it is encoded again, one step better, as long as its cap leaves room.
//!
//! What is decided follows from what the encoder says in whole hundredths of a decibel and from how many bytes it made, so it
//! is the same on every machine with the same libraries.

use schemas::ladder::{Rung, floor_db};
use schemas::quality::psnr;

use crate::media::EncodedRendition;

/// How often a chunk is encoded again at most.
pub const AT_MOST: u32 = 2;

/// Of its cap, in percent, a chunk spends so much when the cap holds it back: the rate control keeps a little for what may come.
const CAPPED_PERCENT: u64 = 90;

/// What a chunk in one rung calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good, or as good as it gets.
    Keep,
    /// It shall be encoded once more, one step better.
    Again,
    /// It is below the floor, and the cap of its rung leaves no room.
    CapWon,
}

/// What `made`, of `bytes` bytes and encoded `again` times already, calls for in `rung`.
pub fn judge(rung: &Rung, made: &EncodedRendition, bytes: u64, again: u32) -> Verdict {
    let (Some(floor), Some(mean)) = (floor_db(&rung.quality), psnr::mean_hundredths(&made.psnr)) else {
        // Nothing in it, or an encoder that does not say.
        return Verdict::Keep;
    };
    if mean >= u64::from(floor) * 100 {
        Verdict::Keep
    } else if is_capped(rung, made, bytes) {
        Verdict::CapWon
    } else if again < AT_MOST {
        Verdict::Again
    } else {
        Verdict::Keep
    }
}

/// Whether `made` spends what it may.
fn is_capped(rung: &Rung, made: &EncodedRendition, bytes: u64) -> bool {
    let ticks: u64 = made.fragments.iter().map(|fragment| fragment.duration).sum();
    let spent = u128::from(bytes) * 8 * u128::from(made.timescale) * 100;
    let cap = u128::from(rung.max_kbps) * 1000 * u128::from(ticks) * u128::from(CAPPED_PERCENT);
    spent >= cap
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::event::Fragment;

    use super::*;

    fn rung() -> Rung {
        Rung { quality: "360p".into(), width: 640, height: 360, max_kbps: 1000 }
    }

    /// Two seconds with so many decibels.
    fn made(decibels: &[f64]) -> EncodedRendition {
        let samples = decibels.len() as u32;
        let fragment = Fragment { offset: 0, size: 0, header: 0, start: 0, duration: 2000, samples };
        let psnr = psnr::pack(decibels.iter().copied());
        EncodedRendition { timescale: 1000, fragments: vec![fragment], psnr, ..EncodedRendition::default() }
    }

    #[test]
    fn a_chunk_below_the_floor_is_encoded_again_twice_at_most() {
        let low = made(&[32.0, 33.9]);
        assert_eq!(judge(&rung(), &low, 100_000, 0), Verdict::Again);
        assert_eq!(judge(&rung(), &low, 100_000, 1), Verdict::Again);
        assert_eq!(judge(&rung(), &low, 100_000, 2), Verdict::Keep);
        assert_eq!(
            judge(&rung(), &made(&[32.1, 33.9]), 100_000, 0),
            Verdict::Keep,
            "33 dB on average is the floor itself"
        );
    }

    #[test]
    fn where_the_cap_leaves_no_room_it_wins() {
        let low = made(&[20.0; 50]);
        assert_eq!(judge(&rung(), &low, 224_999, 0), Verdict::Again);
        assert_eq!(judge(&rung(), &low, 225_000, 0), Verdict::CapWon, "nine tenths of 1000 kbit/s for two seconds");
        assert_eq!(judge(&rung(), &low, 225_000, 2), Verdict::CapWon);
        assert_eq!(judge(&rung(), &made(&[40.0; 50]), 250_000, 0), Verdict::Keep);
    }

    #[test]
    fn nothing_and_what_the_encoder_does_not_tell_is_kept() {
        assert_eq!(judge(&rung(), &made(&[]), 0, 0), Verdict::Keep);
        assert_eq!(judge(&Rung { quality: "audio".into(), ..rung() }, &made(&[1.0]), 0, 0), Verdict::Keep);
    }

    proptest! {
        #[test]
        fn it_comes_to_an_end(decibels in prop::collection::vec(0.0_f64..100.0, 1..9), bytes in 0_u64..1_000_000) {
            let made = made(&decibels);
            let again = (0..10).take_while(|again| judge(&rung(), &made, bytes, *again) == Verdict::Again).count();
            prop_assert!(again <= AT_MOST as usize);
        }
    }
}
