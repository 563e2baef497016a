//! Many figures become one.
//!
//! Two pictures that are the same have an infinite PSNR. Here it counts as [`MOST_DB`], so that means stay numbers, and how many
//! such frames there are is said beside them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::psnr::MOST_DB;
use super::{Metric, Summaries, table};

/// Least figure that a harmonic mean takes: below it a figure would have to be divided by.
const LEAST: f64 = 0.001;

/// What the figures of many frames say together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// Frames that were measured.
    pub frames: u64,
    /// Arithmetic mean. Of PSNR it is the mean of decibels; see `pooled` for the other one.
    pub mean: f64,
    /// Harmonic mean, which bad frames pull down further; figures below 0.001 count as that.
    pub harmonic_mean: f64,
    /// 5th percentile by nearest rank: one frame in twenty is this bad or worse.
    pub percentile_5: f64,
    /// The worst frame.
    pub worst: f64,
    /// When that is shown, seconds; the first of several.
    pub worst_at_s: f64,
    /// Number of that frame in the rendition, from 0.
    pub worst_frame: u64,
    /// PSNR of the mean error of all frames, decibels, as encoders and ffmpeg's filter state it; absent for other metrics.
    #[schema(required)]
    pub pooled: Option<f64>,
    /// Frames without any error, of which each counts as 100 dB; absent for other metrics.
    #[schema(required)]
    pub identical: Option<u64>,
}

/// One figure and the frame that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Number of the frame in the rendition, from 0.
    pub frame: u64,
    /// When it is shown, seconds.
    pub at_s: f64,
    /// The figure.
    pub value: f64,
}

/// What `figures` of `metric` say together; absent when there are none.
///
/// PSNR above [`MOST_DB`] counts as that; what is no number is left out.
pub fn summarize(metric: Metric, figures: impl IntoIterator<Item = Figure>) -> Option<Summary> {
    let counted = |figure: Figure| Figure {
        value: match metric {
            Metric::SsimY | Metric::SsimAll => figure.value.clamp(-1.0, 1.0),
            Metric::Vmaf => figure.value.clamp(0.0, 100.0),
            _ => figure.value.clamp(0.0, MOST_DB),
        },
        ..figure
    };
    let mut figures: Vec<Figure> = figures.into_iter().filter(|figure| !figure.value.is_nan()).map(counted).collect();
    figures.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.frame.cmp(&b.frame)));
    let worst = *figures.first()?;
    let count = figures.len();
    let values = || figures.iter().map(|figure| figure.value);
    let mean = |sum: f64| sum / count as f64;
    let rank = count.div_ceil(20).saturating_sub(1);
    let error = mean(values().map(|db| 10_f64.powf(-db / 10.0)).sum());
    Some(Summary {
        frames: count as u64,
        mean: mean(values().sum()),
        harmonic_mean: count as f64 / values().map(|value| value.max(LEAST).recip()).sum::<f64>(),
        percentile_5: figures[rank].value,
        worst: worst.value,
        worst_at_s: worst.at_s,
        worst_frame: worst.frame,
        pooled: metric.is_psnr().then(|| (-10.0 * error.log10()).clamp(0.0, MOST_DB)),
        identical: metric.is_psnr().then(|| values().filter(|db| *db >= MOST_DB).count() as u64),
    })
}

/// Summaries of the frames of a table; `first` is the number of the first one in its rendition.
pub fn of_rows(rows: &[table::Row], first: u64, timescale: u32) -> Summaries {
    let of = |metric: Metric| {
        let figure = |(frame, row): (u64, &table::Row)| {
            let value = row.value(metric)?;
            Some(Figure { frame, at_s: row.pts as f64 / f64::from(timescale.max(1)), value })
        };
        summarize(metric, (first..).zip(rows).filter_map(figure)).map(|summary| (metric, summary))
    };
    Metric::ALL.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(values: &[f64]) -> Vec<Figure> {
        (0..).zip(values).map(|(frame, value)| Figure { frame, at_s: frame as f64 / 25.0, value: *value }).collect()
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(summarize(Metric::PsnrY, []), None);
        assert_eq!(summarize(Metric::SsimAll, figures(&[f64::NAN])), None);
    }

    #[test]
    fn one_frame_is_its_own_mean_and_its_own_worst() {
        let found = summarize(Metric::SsimAll, figures(&[0.9])).unwrap();
        for figure in [found.mean, found.harmonic_mean, found.percentile_5, found.worst] {
            assert!((figure - 0.9).abs() < 1e-12, "{found:?}");
        }
        assert_eq!((found.frames, found.pooled, found.identical), (1, None, None));
    }

    #[test]
    fn identical_pictures_count_as_a_hundred_decibels_and_are_told() {
        let found = summarize(Metric::PsnrY, figures(&[f64::INFINITY, 40.0, f64::INFINITY])).unwrap();
        assert_eq!((found.mean, found.identical, found.worst), (80.0, Some(2), 40.0));
        let pooled = found.pooled.unwrap();
        assert!((pooled - (40.0 + 10.0 * 3_f64.log10())).abs() < 0.001, "a third of the error of one: {pooled}");
        let all = summarize(Metric::PsnrY, figures(&[f64::INFINITY; 3])).unwrap();
        assert_eq!((all.mean, all.pooled, all.identical), (100.0, Some(100.0), Some(3)));
    }

    #[test]
    fn the_worst_is_the_first_of_its_kind_and_has_its_time() {
        let found = summarize(Metric::PsnrY, figures(&[40.0, 30.0, 35.0, 30.0])).unwrap();
        assert_eq!((found.worst, found.worst_frame, found.worst_at_s), (30.0, 1, 0.04));
    }

    #[test]
    fn of_forty_frames_the_second_worst_is_the_fifth_percentile() {
        let values: Vec<f64> = (0..40).map(|n| 30.0 + f64::from(n)).collect();
        assert_eq!(summarize(Metric::PsnrY, figures(&values)).unwrap().percentile_5, 31.0);
    }

    #[test]
    fn a_picture_with_nothing_of_its_source_does_not_divide_by_zero() {
        let found = summarize(Metric::SsimY, figures(&[-0.2, 0.0, 1.0])).unwrap();
        assert!(found.harmonic_mean > 0.0 && found.harmonic_mean < 0.01, "{found:?}");
        assert!(summarize(Metric::PsnrY, figures(&[0.0])).unwrap().harmonic_mean > 0.0);
    }

    proptest! {
        #[test]
        fn the_means_lie_in_their_order_whatever_the_order_of_frames(
            mut values in prop::collection::vec(0.01_f64..100.0, 1..200), seed in any::<usize>()
        ) {
            let found = summarize(Metric::PsnrY, figures(&values)).unwrap();
            let most = values.iter().copied().fold(0.0, f64::max);
            let slack = 1e-9;
            prop_assert!(found.worst <= found.percentile_5 && found.percentile_5 <= most + slack);
            prop_assert!(found.worst <= found.harmonic_mean + slack);
            prop_assert!(found.harmonic_mean <= found.mean + slack && found.mean <= most + slack);
            let pooled = found.pooled.unwrap();
            prop_assert!(found.worst <= pooled + slack && pooled <= found.mean + slack, "{pooled} {}", found.mean);
            let turned = seed % values.len();
            values.rotate_left(turned);
            let again = summarize(Metric::PsnrY, figures(&values)).unwrap();
            prop_assert_eq!(again.percentile_5, found.percentile_5);
            prop_assert_eq!(again.worst, found.worst);
            prop_assert!((again.mean - found.mean).abs() < slack);
        }

        #[test]
        fn a_whole_is_the_mean_of_its_parts(values in prop::collection::vec(0.01_f64..1.0, 2..100), cut in any::<usize>()) {
            let all = figures(&values);
            let (left, right) = all.split_at(1 + cut % (values.len() - 1));
            let of = |part: &[Figure]| summarize(Metric::SsimAll, part.iter().copied()).unwrap();
            let (whole, left, right) = (of(&all), of(left), of(right));
            let weighed = (left.mean * left.frames as f64 + right.mean * right.frames as f64) / whole.frames as f64;
            prop_assert!((whole.mean - weighed).abs() < 1e-9);
            prop_assert_eq!(whole.worst, left.worst.min(right.worst));
        }
    }
}
