//! Which moments of a video are walked.

/// Longest video that is walked from end to end, microseconds; of a longer one as much is walked.
const WHOLE_US: i64 = 30_000_000;

/// Moments of a longer one.
const MOMENTS: i64 = 24;

/// Time between two looks in a video that is walked from end to end, microseconds: the shortest.
const LOOK_OFTEN_US: i64 = 400_000;

/// Moments of a video, each for a while. Times are microseconds from the beginning of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where they begin; the first one at 0.
    pub starts_us: Vec<i64>,
    /// How long each is.
    pub length_us: i64,
    /// Time between two looks in a moment.
    pub look_every_us: i64,
}

impl Plan {
    /// The plan for a video of `duration_us`; one whose keyframes cannot be found is walked from its beginning.
    pub fn new(duration_us: i64, can_jump: bool) -> Self {
        let duration_us = duration_us.max(1);
        if duration_us <= WHOLE_US || !can_jump {
            let walked_us = duration_us.min(WHOLE_US);
            let look_every_us = (walked_us / MOMENTS).max(LOOK_OFTEN_US);
            // The last frame may be shown later than it should.
            let length_us = if duration_us <= WHOLE_US { i64::MAX } else { WHOLE_US };
            return Self { starts_us: vec![0], length_us, look_every_us };
        }
        let starts_us = (0..MOMENTS).map(|number| duration_us / MOMENTS * number).collect();
        let length_us = WHOLE_US / MOMENTS;
        Self { starts_us, length_us, look_every_us: length_us }
    }

    /// How many frames are looked at closely, as far as there are frames.
    pub fn looks(&self) -> u64 {
        let in_each = self.length_us.min(WHOLE_US).div_euclid(self.look_every_us.max(1)).max(1);
        self.starts_us.len() as u64 * in_each.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_is_walked_than_of_a_short_video(duration_us in -5_i64..100_000_000_000, can_jump: bool) {
            let plan = Plan::new(duration_us, can_jump);
            prop_assert_eq!(plan.starts_us[0], 0);
            prop_assert!(plan.starts_us.windows(2).all(|pair| pair[1] - pair[0] >= plan.length_us), "{:?}", plan);
            prop_assert!(plan.starts_us.iter().all(|start| *start < duration_us.max(1)));
            let walked = plan.length_us.min(duration_us.max(1)) * plan.starts_us.len() as i64;
            prop_assert!(walked <= WHOLE_US && plan.looks() <= 80, "{:?}", plan);
        }
    }

    #[test]
    fn a_long_video_is_seen_all_over_and_a_short_one_whole() {
        let film = Plan::new(7_200_000_000, true);
        assert_eq!((film.starts_us.len(), film.starts_us[23], film.length_us), (24, 6_900_000_000, 1_250_000));
        assert_eq!(Plan::new(20_000_000, true), Plan { starts_us: vec![0], length_us: i64::MAX, look_every_us: 833_333 });
        assert_eq!(Plan::new(7_200_000_000, false).starts_us, [0], "nobody knows where its keyframes are");
    }
}
