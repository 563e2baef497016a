//! `/api/stream/{id}/poster.jpg`, `storyboard.vtt` and other pictures, out of what `illustrate` has told.

use headers::HeaderMap;
use schemas::event::SourceIllustrated;
use schemas::job::State;
use schemas::manifest::Part;
use schemas::{Claim, JobId};
use warp::http::{Method, StatusCode};

use super::Edge;
use super::deliver::{Content, Representation};
use super::play::{Answer, FOR_GOOD};
use super::problem::Problem;
use super::query;
use super::range::Validators;

/// The newest pictures win, and they may be made anew.
const FOR_A_MINUTE: &str = "public, max-age=60";

/// A picture, or what goes with pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The poster, or an alternative to it, from 1.
    Poster(usize),
    /// The thumbnail with this number, from 0.
    Thumbnail(usize),
    /// The sheet of the storyboard.
    Sprite,
    /// Its cues.
    Cues,
}

impl Wanted {
    /// What `name` below a job's address stands for.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "poster.jpg" => Some(Self::Poster(0)),
            "storyboard.jpg" => Some(Self::Sprite),
            "storyboard.vtt" => Some(Self::Cues),
            _ => None,
        }
    }

    /// What `file` in `folder` below a job's address stands for.
    pub fn numbered(folder: &str, file: &str) -> Option<Self> {
        let number = || {
            let digits = file.strip_suffix(".jpg")?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            // What is no number is none of a picture that there is.
            Some(digits.parse().ok().filter(|_| is_number).unwrap_or(usize::MAX))
        };
        match folder {
            "posters" => Some(Self::Poster(number().unwrap_or(usize::MAX))),
            "thumbnails" => Some(Self::Thumbnail(number().unwrap_or(usize::MAX))),
            _ => None,
        }
    }

    fn of(self, event: &SourceIllustrated) -> Option<&Claim> {
        match self {
            Self::Poster(number) => event.posters.get(number).map(|picture| &picture.jpeg),
            Self::Thumbnail(number) => event.thumbnails.get(number).map(|thumbnail| &thumbnail.picture.jpeg),
            Self::Sprite => event.storyboard.as_ref().map(|board| &board.sprite),
            Self::Cues => event.storyboard.as_ref().map(|board| &board.cues),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Poster(_) | Self::Thumbnail(_) | Self::Sprite => "image/jpeg",
            Self::Cues => "text/vtt; charset=utf-8",
        }
    }
}

impl Edge {
    /// Sends `wanted` of `job`.
    pub(super) async fn picture(
        &self,
        job: JobId,
        wanted: Wanted,
        asked: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        let (row, _) = self.known(job).await?;
        match row.state() {
            State::Failed => return Err(Problem::not_found("the job has failed, so it has no pictures")),
            State::Cancelled => return Err(Problem::not_found("the job was cancelled, so it has no pictures")),
            State::Received | State::Processing | State::Ready => {}
        }
        let Some(event) = row.illustrated.as_ref().map(|fact| &fact.event) else {
            return Err(Problem::not_ready("the pictures of the video are not made yet"));
        };
        if let Some(reason) = &event.reason {
            return Err(Problem::not_found(format!("the video has no pictures: {reason}")));
        }
        let Some(claim) = wanted.of(event) else {
            return Err(Problem::not_found("the video has no such picture"));
        };
        let is_this_one = query::value(asked, "v").is_some_and(|v| v.len() >= 8 && claim.sha256.starts_with(&*v));
        let validators = Validators::new(&claim.sha256, event.made_at).ok_or_else(|| {
            tracing::error!(%job, "a picture has a hash that cannot be sent");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the picture cannot be served")
        })?;
        let key = self.doors.blobs.resolve(&claim.uri)?;
        let representation = Representation {
            content: Content::Parts(vec![Part { key, offset: 0, size: claim.size }]),
            media_type: wanted.media_type(),
            caching: if is_this_one { FOR_GOOD } else { FOR_A_MINUTE },
            validators,
        };
        self.deliver(job, representation, method, headers).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_pictures() {
        assert_eq!(Wanted::named("poster.jpg"), Some(Wanted::Poster(0)));
        assert_eq!(Wanted::named("720p"), None);
        assert_eq!(Wanted::numbered("posters", "2.jpg"), Some(Wanted::Poster(2)));
        assert_eq!(Wanted::numbered("thumbnails", "0.jpg"), Some(Wanted::Thumbnail(0)));
        for file in ["-1.jpg", "+1.jpg", "x", "99999999999999999999.jpg", ".jpg"] {
            assert_eq!(Wanted::numbered("thumbnails", file), Some(Wanted::Thumbnail(usize::MAX)), "{file}");
        }
        assert_eq!(Wanted::numbered("720p", "seg-0.m4s"), None);
    }
}
