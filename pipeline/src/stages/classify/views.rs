//! What an image model says of some pictures of a video, summed up.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join_all;
use schemas::event::{Label, Origin};

use crate::media::signals::Shown;
use crate::ml;
use crate::ml::listener::Model;
use crate::ml::mobilenet::{self, Picture};
use crate::ml::viewer::Viewer;
use crate::stage::StageError;

/// Labels of a picture that count.
const OF_EACH: usize = 5;
/// Labels of a video that are told.
const TOLD: usize = 5;
/// A label that has less of the confidence in all pictures is not told.
const LEAST: f64 = 0.05;
/// What models that were trained with it call nothing at all.
const BACKGROUND: &str = "background";

/// What came of it.
#[derive(Debug)]
pub enum Seen {
    /// Labels, most certain first.
    Labels {
        /// Whose.
        model: Model,
        /// Which.
        labels: Vec<Label>,
    },
    /// Why there are none.
    Nothing(String),
}

/// Shows `pictures`, which have the sizes of `shown`, to `viewer`. One that breaks down is worth one more attempt; then the labels
/// that there are have to do.
pub async fn see(viewer: &dyn Viewer, shown: &[Shown], pictures: Vec<Bytes>, attempt: u32) -> Result<Seen, StageError> {
    let model = match viewer.model().await {
        Ok(model) => model,
        Err(absent) => return Ok(Seen::Nothing(absent.to_string())),
    };
    if pictures.is_empty() {
        return Ok(Seen::Nothing("no picture of the video shows anything".to_owned()));
    }
    let picture = |(shown, rgb): (&Shown, Bytes)| Picture {
        width: shown.width,
        height: shown.height,
        rgb: rgb.to_vec(),
        most: OF_EACH,
    };
    let asked = shown.iter().zip(pictures).map(picture).map(|picture| viewer.look(picture));
    let mut views = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(labels) => views.push(labels),
            Err(error @ (ml::Error::Gone(_) | ml::Error::Compute(_))) if attempt <= 1 => {
                return Err(StageError::retry("model_failed", format!("look at a picture: {error}")));
            }
            Err(error) => return Ok(Seen::Nothing(format!("{} cannot be used: {error}", model.name))),
        }
    }
    Ok(Seen::Labels { model, labels: sum_up(&views) })
}

/// The mean confidence of each label over all pictures.
fn sum_up(views: &[Vec<mobilenet::Label>]) -> Vec<Label> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for label in views.iter().flatten().filter(|label| label.name != BACKGROUND && label.confidence.is_finite()) {
        *sums.entry(&label.name).or_default() += f64::from(label.confidence);
    }
    let count = views.len().max(1) as f64;
    let mut labels: Vec<(&str, f64)> = sums.into_iter().map(|(name, sum)| (name, sum / count)).collect();
    labels.sort_by(|one, other| other.1.total_cmp(&one.1));
    labels.retain(|(_, confidence)| *confidence >= LEAST);
    let label = |(name, confidence): (&str, f64)| Label {
        name: name.to_owned(),
        confidence: (confidence.clamp(0.0, 1.0) * 1e4).round() / 1e4,
        origin: Origin::Model,
        because: String::new(),
    };
    labels.into_iter().take(TOLD).map(label).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(labels: &[(&str, f32)]) -> Vec<mobilenet::Label> {
        let label = |(index, (name, confidence)): (usize, &(&str, f32))| mobilenet::Label {
            name: (*name).to_owned(),
            index,
            confidence: *confidence,
        };
        labels.iter().enumerate().map(label).collect()
    }

    #[test]
    fn what_is_in_many_pictures_counts_more_than_what_is_in_one() {
        let views = [
            view(&[("cat", 0.5), ("background", 0.4)]),
            view(&[("cat", 0.5)]),
            view(&[("dog", 0.8)]),
            view(&[("cup", 0.1)]),
        ];
        let labels = sum_up(&views);
        let told: Vec<(&str, f64)> = labels.iter().map(|label| (label.name.as_str(), label.confidence)).collect();
        assert_eq!(told, [("cat", 0.25), ("dog", 0.2)]);
        assert!(labels.iter().all(|label| label.origin == Origin::Model));
    }

    proptest! {
        #[test]
        fn no_more_is_told_than_fits_and_the_surest_first(views in prop::collection::vec(prop::collection::vec(("[a-f]", 0.0..1.0_f32), 0..6), 0..9)) {
            let views: Vec<_> = views
                .iter()
                .map(|labels| view(&labels.iter().map(|(name, confidence)| (name.as_str(), *confidence)).collect::<Vec<_>>()))
                .collect();
            let labels = sum_up(&views);
            prop_assert!(labels.len() <= TOLD);
            prop_assert!(labels.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
            prop_assert!(labels.iter().all(|label| label.confidence >= LEAST && label.confidence <= 1.0));
        }
    }
}
