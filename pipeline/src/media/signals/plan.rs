//! Which moments of a video are walked.

/// Longest video that is walked from end to end, microseconds; of a longer one as much is walked.
const WHOLE_US: i64 = 30_000_000;

/// Most moments of a longer one.
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
    /// How many frames are looked at closely, as far as there are frames.
    pub looks: u64,
}

impl Plan {
    /// The plan for a video of `duration_us` that can be entered at so many keyframes.
    pub fn new(duration_us: i64, keyframes: u32) -> Self {
        let duration_us = duration_us.max(1);
        let walked_us = duration_us.min(WHOLE_US);
        let look_every_us = (walked_us / MOMENTS).max(LOOK_OFTEN_US);
        let looks = (walked_us / look_every_us).max(1).unsigned_abs();
        if duration_us <= WHOLE_US {
            // The last frame may be shown later than it should.
            return Self { starts_us: vec![0], length_us: i64::MAX, look_every_us, looks };
        }
        // Where there are fewer keyframes than moments, each is longer.
        let moments = i64::from(keyframes).clamp(1, MOMENTS);
        let starts_us = (0..moments).map(|number| duration_us / moments * number).collect();
        Self { starts_us, length_us: WHOLE_US / moments, look_every_us, looks }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_is_walked_than_of_a_short_video(duration_us in -5_i64..100_000_000_000, keyframes in 0_u32..99) {
            let plan = Plan::new(duration_us, keyframes);
            prop_assert_eq!(plan.starts_us[0], 0);
            prop_assert!(plan.starts_us.windows(2).all(|pair| pair[1] - pair[0] >= plan.length_us), "{:?}", plan);
            prop_assert!(plan.starts_us.iter().all(|start| *start < duration_us.max(1)));
            let walked = plan.length_us.min(duration_us.max(1)) * plan.starts_us.len() as i64;
            prop_assert!(walked <= WHOLE_US && (1..=75).contains(&plan.looks), "{:?}", plan);
        }
    }

    #[test]
    fn a_long_video_is_seen_all_over_and_a_short_one_whole() {
        let film = Plan::new(7_200_000_000, 3_000);
        assert_eq!((film.starts_us.len(), film.starts_us[23], film.length_us), (24, 6_900_000_000, 1_250_000));
        assert_eq!(
            Plan::new(20_000_000, 9),
            Plan { starts_us: vec![0], length_us: i64::MAX, look_every_us: 833_333, looks: 24 }
        );
        for keyframes in [0, 1] {
            let plan = Plan::new(7_200_000_000, keyframes);
            assert_eq!(
                (plan.starts_us, plan.length_us),
                (vec![0], WHOLE_US),
                "it can be entered at its beginning alone"
            );
        }
        assert_eq!(Plan::new(7_200_000_000, 3).length_us, WHOLE_US / 3);
    }
}
