//! Which kind of content a video is, and how much moves in it: decided from what was measured, and from nothing else.
//!
//! Each clue is a feature that speaks for a kind, or against it: from nothing to all of its weight between two values. The kind
//! for which most speaks is told; how sure that is follows from how much less speaks for the others.

/// Name of everything that is decided here: changes whenever the same numbers would give other labels.
pub const RECIPE: &str = "kinds-v1";

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Slides, windows, text: what a computer shows to people who work.
    Screen,
    /// Drawn or computed pictures that move.
    Animation,
    /// What a camera has seen.
    Camera,
    /// One picture all the time.
    Still,
    /// Nothing that could be made out.
    Dark,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Screen, Self::Animation, Self::Camera, Self::Still, Self::Dark];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Screen => "screen",
            Self::Animation => "animation",
            Self::Camera => "camera",
            Self::Still => "still",
            Self::Dark => "dark",
        }
    }

    fn clues(self) -> &'static [Clue] {
        match self {
            Self::Screen => &SCREEN,
            Self::Animation => &ANIMATION,
            Self::Camera => &CAMERA,
            Self::Still => &STILL,
            Self::Dark => &DARK,
        }
    }
}

/// A feature that speaks against a kind at one value, for it at another one, and as much in proportion between.
struct Clue {
    feature: &'static str,
    against: f64,
    speaks_for: f64,
    weight: f64,
}

const fn clue(feature: &'static str, against: f64, speaks_for: f64, weight: f64) -> Clue {
    Clue { feature, against, speaks_for, weight }
}

impl Clue {
    /// How much `value` speaks for the kind: from minus to plus the weight.
    fn says(&self, value: f64) -> f64 {
        let share = ((value - self.against) / (self.speaks_for - self.against)).clamp(0.0, 1.0);
        self.weight * (2.0 * share - 1.0)
    }
}

const SCREEN: [Clue; 9] = [
    clue("edges", 0.006, 0.025, 3.0),
    clue("palette", 60.0, 12.0, 2.0),
    clue("texture", 0.35, 0.08, 1.5),
    clue("flat", 0.3, 0.7, 1.5),
    clue("still", 0.0, 0.4, 1.5),
    clue("spread", 0.45, 0.25, 1.0),
    clue("changed", 0.3, 0.1, 2.0),
    clue("saturation", 0.35, 0.15, 1.5),
    clue("straight", 0.05, 0.2, 0.5),
];

const ANIMATION: [Clue; 7] = [
    clue("still", 0.95, 0.5, 2.0),
    clue("edges", 0.03, 0.008, 1.5),
    clue("texture", 0.55, 0.3, 1.5),
    clue("saturation", 0.05, 0.4, 2.0),
    clue("changed", 0.05, 0.4, 1.5),
    clue("spread", 0.03, 0.2, 1.0),
    clue("noise", 0.4, 0.1, 1.0),
];

const CAMERA: [Clue; 6] = [
    clue("texture", 0.25, 0.55, 3.0),
    clue("palette", 15.0, 100.0, 3.0),
    clue("noise", 0.05, 0.4, 2.0),
    clue("alive", 0.2, 0.7, 1.5),
    clue("flat", 0.5, 0.1, 1.0),
    clue("still", 0.6, 0.1, 2.0),
];

const STILL: [Clue; 5] = [
    clue("still", 0.75, 0.95, 4.0),
    clue("texture", 0.05, 0.25, 2.0),
    clue("palette", 15.0, 60.0, 2.0),
    clue("shots_per_minute", 3.0, 0.0, 1.5),
    clue("lit", 0.02, 0.1, 1.0),
];

const DARK: [Clue; 2] = [clue("lit", 0.06, 0.005, 8.0), clue("dark", 0.85, 0.99, 3.0)];

/// Features that are told as reasons.
const REASONS: usize = 3;

/// Something that is said of a video.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<T> {
    /// What.
    pub what: T,
    /// How sure it is, 0 to 1.
    pub confidence: f64,
    /// The features that speak most for it, with their values.
    pub because: Vec<(&'static str, f64)>,
}

/// The kind that `features` speak for. One that is missing speaks neither way.
pub fn kind(features: &[(&'static str, f64)]) -> Said<Kind> {
    let value = |name: &str| features.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let speaks = |kind: Kind| -> f64 {
        kind.clues().iter().filter_map(|clue| value(clue.feature).map(|value| clue.says(value))).sum()
    };
    let scores = Kind::ALL.map(|kind| (kind, speaks(kind)));
    let (what, best) = scores
        .into_iter()
        .reduce(|one, other| if other.1 > one.1 { other } else { one })
        .unwrap_or((Kind::Camera, 0.0));
    // As if each were the logarithm of a likelihood.
    let confidence = 1.0 / scores.iter().map(|(_, score)| (score - best).exp()).sum::<f64>();
    let mut reasons: Vec<(f64, &'static str, f64)> = what
        .clues()
        .iter()
        .filter_map(|clue| value(clue.feature).map(|value| (clue.says(value), clue.feature, value)))
        .filter(|(says, ..)| *says > 0.0)
        .collect();
    reasons.sort_by(|one, other| other.0.total_cmp(&one.0));
    let because = reasons.into_iter().take(REASONS).map(|(_, name, value)| (name, value)).collect();
    Said { what, confidence, because }
}

/// How much moves.
pub fn movement(features: &[(&'static str, f64)]) -> Said<&'static str> {
    let value = |name: &str| features.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value);
    let (changed, moving, still) = (value("changed"), value("moving"), value("still"));
    let ramp = |value: f64, from: f64, to: f64| ((value - from) / (to - from)).clamp(0.0, 1.0);
    // Between two words neither is sure.
    let (what, confidence) = if still >= 0.9 && moving <= 0.05 {
        ("no motion", 0.5 + 0.5 * ramp(still, 0.9, 1.0))
    } else if changed < 0.15 {
        ("little motion", 0.5 + 0.5 * ramp(changed, 0.15, 0.05))
    } else {
        ("much motion", 0.5 + 0.5 * ramp(changed, 0.15, 0.4))
    };
    Said { what, confidence, because: vec![("changed", changed), ("moving", moving), ("still", still)] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 18] = [
        "changed",
        "step",
        "still",
        "moving",
        "spread",
        "shots_per_minute",
        "borders",
        "dark",
        "lit",
        "saturation",
        "palette",
        "flat",
        "texture",
        "edges",
        "crisp",
        "straight",
        "alive",
        "noise",
    ];

    fn features(said: &[(&'static str, f64)]) -> Vec<(&'static str, f64)> {
        NAMES
            .map(|name| (name, said.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, value)| *value)))
            .to_vec()
    }

    #[test]
    fn every_clue_is_about_something_that_is_measured() {
        let measured = crate::media::signals::Measured::default().features();
        assert_eq!(measured.iter().map(|(name, _)| *name).collect::<Vec<_>>(), NAMES);
        for clue in Kind::ALL.iter().flat_map(|kind| kind.clues()) {
            assert!(NAMES.contains(&clue.feature), "{}", clue.feature);
            assert!(clue.against != clue.speaks_for && clue.weight > 0.0, "{}", clue.feature);
        }
    }

    #[test]
    fn plain_cases_are_plain() {
        let black = features(&[("still", 1.0), ("dark", 1.0), ("flat", 1.0), ("palette", 1.0)]);
        let slides = features(&[
            ("still", 0.98),
            ("flat", 0.85),
            ("straight", 0.5),
            ("palette", 8.0),
            ("crisp", 0.9),
            ("lit", 0.9),
            ("texture", 0.02),
            ("shots_per_minute", 20.0),
        ]);
        let phone = features(&[
            ("noise", 1.2),
            ("alive", 1.0),
            ("flat", 0.02),
            ("texture", 0.6),
            ("palette", 300.0),
            ("lit", 0.9),
            ("changed", 0.5),
            ("moving", 1.0),
            ("spread", 0.9),
        ]);
        for (features, wanted) in [(black, Kind::Dark), (slides, Kind::Screen), (phone, Kind::Camera)] {
            let said = kind(&features);
            assert!(said.what == wanted && said.confidence > 0.9 && !said.because.is_empty(), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_measured_one_kind_is_told_and_how_sure(values in prop::collection::vec(-1.0..1e4_f64, 18)) {
            let features: Vec<_> = NAMES.into_iter().zip(values).collect();
            let said = kind(&features);
            prop_assert!(said.confidence >= 1.0 / 5.0 - 1e-9 && said.confidence <= 1.0, "{:?}", said);
            prop_assert!(said.because.len() <= REASONS);
            let moves = movement(&features);
            prop_assert!((0.5..=1.0).contains(&moves.confidence), "{:?}", moves);
        }

        #[test]
        fn more_noise_never_makes_a_camera_less_likely(values in prop::collection::vec(0.0..1.0_f64, 18), more in 0.0..2.0_f64) {
            let calm: Vec<_> = NAMES.into_iter().zip(values).collect();
            let noisy: Vec<_> = calm.iter().map(|(name, value)| (*name, if *name == "noise" { value + more } else { *value })).collect();
            if kind(&calm).what == Kind::Camera {
                prop_assert_eq!(kind(&noisy).what, Kind::Camera);
            }
        }

        #[test]
        fn the_order_of_features_and_what_nobody_asks_for_make_no_difference(values in prop::collection::vec(0.0..1.0_f64, 18)) {
            let features: Vec<_> = NAMES.into_iter().zip(values).collect();
            let mut other: Vec<_> = features.iter().rev().copied().collect();
            other.push(("weather", 3.0));
            prop_assert_eq!(kind(&features), kind(&other));
        }
    }
}
