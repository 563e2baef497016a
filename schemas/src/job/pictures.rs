//! The pictures of a job as users see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{address, rfc3339};
use crate::JobId;
use crate::event::{Picture, SourceIllustrated};

/// Pictures of a job, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Pictures)]
pub struct PicturesView {
    /// Why there are none.
    #[schema(required)]
    pub unavailable: Option<String>,
    /// The picture that stands for the video.
    #[schema(required)]
    pub poster: Option<PictureView>,
    /// Others that may stand for it, best first.
    pub alternatives: Vec<PictureView>,
    /// What a player shows while somebody seeks.
    #[schema(required)]
    pub storyboard: Option<StoryboardView>,
    /// Shots in the video.
    pub shots: u32,
    /// A picture of each shot, or of neighbouring shots the better one: at most 64. Left out where jobs are listed.
    pub thumbnails: Vec<ThumbnailView>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What made them, with its version.
    pub maker: String,
    /// When they were made: RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub made_at: String,
}

/// A JPEG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Picture)]
pub struct PictureView {
    /// Its address.
    pub url: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes.
    pub bytes: u64,
    /// When it is shown, seconds from the beginning.
    pub time_s: f64,
}

/// A picture that stands for a shot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Thumbnail)]
pub struct ThumbnailView {
    /// The picture.
    #[serde(flatten)]
    pub picture: PictureView,
    /// Where its shot begins, seconds.
    pub start_s: f64,
    /// Where its shot ends, seconds.
    pub end_s: f64,
}

/// A sheet of tiles, and the cues that say which is for which time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Storyboard)]
pub struct StoryboardView {
    /// Address of the WebVTT.
    pub url: String,
    /// Address of the sheet, a JPEG.
    pub sprite: String,
    /// Width of the sheet in pixels.
    pub width: u32,
    /// Height of the sheet in pixels.
    pub height: u32,
    /// Width of a tile in pixels.
    pub tile_width: u32,
    /// Height of a tile in pixels.
    pub tile_height: u32,
    /// Tiles on it, row by row.
    pub tiles: u32,
    /// Bytes of sheet and cues.
    pub bytes: u64,
}

impl PicturesView {
    /// The view of `event`; addresses begin with `public_path`.
    pub fn of(event: &SourceIllustrated, public_path: &str) -> Self {
        let at = |file: &str| address(public_path, event.job, file);
        let poster = |number: usize| if number == 0 { at("poster.jpg") } else { at(&format!("posters/{number}.jpg")) };
        let posters = event.posters.iter().enumerate().map(|(number, one)| PictureView::of(one, poster(number)));
        let mut posters = posters.collect::<Vec<_>>().into_iter();
        let thumbnail = |(number, one): (usize, &crate::event::Thumbnail)| ThumbnailView {
            picture: PictureView::of(&one.picture, at(&format!("thumbnails/{number}.jpg"))),
            start_s: seconds(one.start_us),
            end_s: seconds(one.end_us),
        };
        Self {
            unavailable: event.reason.clone(),
            poster: posters.next(),
            alternatives: posters.collect(),
            storyboard: event.storyboard.as_ref().map(|board| StoryboardView {
                url: at("storyboard.vtt"),
                sprite: at("storyboard.jpg"),
                width: board.width,
                height: board.height,
                tile_width: board.tile_width,
                tile_height: board.tile_height,
                tiles: board.tiles,
                bytes: board.sprite.size + board.cues.size,
            }),
            shots: event.shots,
            thumbnails: event.thumbnails.iter().enumerate().map(thumbnail).collect(),
            bytes: event.bytes(),
            maker: event.maker.clone(),
            made_at: rfc3339(event.made_at),
        }
    }
}

impl PictureView {
    fn of(picture: &Picture, url: String) -> Self {
        let Picture { jpeg, width, height, at_us } = picture;
        Self { url, width: *width, height: *height, bytes: jpeg.size, time_s: seconds(*at_us) }
    }
}

/// Address of the poster of `job`, and of its storyboard.
pub(super) fn addresses(
    event: Option<&SourceIllustrated>,
    job: JobId,
    public_path: &str,
) -> (Option<String>, Option<String>) {
    let has = |there: bool, file: &str| there.then(|| address(public_path, job, file));
    (
        has(event.is_some_and(|event| !event.posters.is_empty()), "poster.jpg"),
        has(event.is_some_and(|event| event.storyboard.is_some()), "storyboard.vtt"),
    )
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example(text: &str) -> SourceIllustrated {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pictures_look_as_documented() {
        let event = example(include_str!("../../examples/source.illustrated/v1/whole.json"));
        let base = format!("/v/api/stream/{}", event.job);
        assert_eq!(
            serde_json::to_value(PicturesView::of(&event, "/v/")).unwrap(),
            json!({
                "unavailable": null,
                "poster": { "url": format!("{base}/poster.jpg"), "width": 1280, "height": 720, "bytes": 41022, "time_s": 4.2 },
                "alternatives":
                    [{ "url": format!("{base}/posters/1.jpg"), "width": 1280, "height": 720, "bytes": 39871, "time_s": 61.0 }],
                "storyboard": { "url": format!("{base}/storyboard.vtt"), "sprite": format!("{base}/storyboard.jpg"),
                    "width": 1600, "height": 900, "tile_width": 160, "tile_height": 90, "tiles": 100, "bytes": 108_496 },
                "shots": 12,
                "thumbnails": [{ "url": format!("{base}/thumbnails/0.jpg"), "width": 160, "height": 90, "bytes": 4100,
                    "time_s": 4.2, "start_s": 0.0, "end_s": 31.0 }],
                "bytes": 193_489, "maker": "ffmpeg 5.1.9, pictures-v1", "made_at": "2026-11-23T10:00:09.5Z",
            })
        );
        assert_eq!(addresses(Some(&event), event.job, "/v").0, Some(format!("{base}/poster.jpg")));
    }

    #[test]
    fn what_is_not_there_is_not_promised() {
        let event = example(include_str!("../../examples/source.illustrated/v1/unavailable.json"));
        let view = PicturesView::of(&event, "/");
        assert_eq!(view.unavailable.as_deref(), Some("no picture of the video can be decoded"));
        assert_eq!((view.poster, view.storyboard, view.bytes), (None, None, 0));
        assert_eq!(addresses(Some(&event), event.job, "/"), (None, None));
        assert_eq!(addresses(None, event.job, "/"), (None, None));
    }
}
