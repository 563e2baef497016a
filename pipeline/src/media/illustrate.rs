//! Pictures that stand for a video: posters, a thumbnail for each shot, and a storyboard, out of one decode.
//!
//! One thread decodes the video once, all but pictures that no other one needs, and scales each frame to a tiny copy. Everything is found on the tiny copies; a few frames a
//! second are looked at in the size of a poster. What is kept is bounded whatever the video is: a few seconds of candidates,
//! the best dozen of them, and the tiny pictures of [`thumbnails::MOST`] shots.
//!
//! # Layout
//! - [`walk`]: the decode; [`planes`]: pictures as plain bytes; [`jpeg`]: their encoder
//! - [`prints`]: what a frame looks like in a few numbers; [`shots`], [`fades`]: where shots begin; without any I/O, as
//! - [`scores`]: how good a picture is; [`gallery`], [`thumbnails`]: which ones are kept
//! - [`storyboard`]: which moments a storyboard shows; [`budget`]: how many bytes all of it may take

use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{Error, Sink};
use schemas::source::Media;

pub mod budget;
pub mod fades;
pub mod gallery;
pub mod jpeg;
pub mod planes;
pub mod prints;
pub mod scores;
pub mod shots;
pub mod storyboard;
pub mod thumbnails;
pub mod walk;

#[cfg(test)]
mod tests;

use budget::Budget;
use gallery::{Candidate, Gallery};
use planes::Planes;
use prints::Print;
use shots::Shots;
use storyboard::Board;
use walk::{Pace, Walk};

/// Name of everything that decides which pictures come out of a source: changes whenever the same source would give others.
pub const RECIPE: &str = "pictures-v1";

/// Frames between two reports of progress.
const REPORT_EVERY: u64 = 24;

/// Time between two frames that are looked at closely, microseconds, and the shortest in a video that is short itself.
const LOOK_EVERY_US: i64 = 500_000;
const LOOK_OFTEN_US: i64 = 100_000;

/// Fewest and most frames that are looked at closely at regular times, as far as those times allow.
const LOOKS: (i64, i64) = (20, 2_000);

/// Transitions that are told.
const MOST_TRANSITIONS: usize = 10_000;

/// Pictures of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What the file contains.
    pub media: Media,
    /// Bytes that all pictures together may take; a poster is made whatever it says.
    pub budget_bytes: u64,
}

/// Which pictures were made. Their bytes come in this order: posters, the sheet, thumbnails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Illustrated {
    /// Frames that were looked at.
    pub frames: u64,
    /// Damaged packets or frames.
    pub damaged: u64,
    /// Shots.
    pub shots: u32,
    /// Where one shot goes over into the next, in order; at most ten thousand.
    pub transitions: Vec<Transition>,
    /// The poster, then its alternatives.
    pub posters: Vec<Still>,
    /// The storyboard.
    pub sheet: Option<Sheet>,
    /// Thumbnails in order.
    pub thumbnails: Vec<Thumb>,
}

/// Where one shot goes over into the next. Times are microseconds from the beginning of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The first frame that is not wholly of the old shot.
    pub start_us: i64,
    /// The first frame that is wholly of the new shot: for a cut the same.
    pub end_us: i64,
}

/// One picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Still {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When it is shown, microseconds.
    pub at_us: i64,
    /// How good it is, 0 to 1.
    pub score: f64,
}

/// The picture of a shot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thumb {
    /// The picture.
    pub still: Still,
    /// Where the shot begins, microseconds.
    pub start_us: i64,
    /// Where the shot ends.
    pub end_us: i64,
}

/// Tiles on one sheet, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// Width of a tile in pixels.
    pub tile_width: u32,
    /// Height of a tile in pixels.
    pub tile_height: u32,
    /// Tiles in a row.
    pub columns: u32,
    /// Where the time of each tile begins, microseconds; the last one's ends with the video.
    pub starts_us: Vec<i64>,
}

/// Makes the pictures of `task`; their bytes go to `sink`.
pub fn illustrate(source: Source, task: &Task, sink: &mut dyn Sink) -> Result<Illustrated, Error> {
    let budget = Budget::new(task.budget_bytes);
    let tiny = planes::fitting(&task.media.video, planes::TINY_BOX);
    let large = planes::fitting(&task.media.video, budget.poster_box());
    let mut walk = Walk::open(source, &task.media, tiny, Pace::Brisk)?;
    let mut finder = Finder::new(task, &budget, tiny);
    let passed = |at_us: i64| {
        let share = at_us as f64 / task.media.duration_us.max(1) as f64;
        (task.media.video.frames as f64 * share.clamp(0.0, 1.0)) as u64
    };
    while let Some(seen) = walk.step()? {
        let at_us = seen.at_us;
        if finder.wants(&seen.print, seen.at_us) {
            let picture = walk.enlarged(large)?;
            finder.look(picture, &seen.tiny, seen.at_us, seen.is_damaged);
        }
        finder.pass(seen.tiny, seen.print, seen.at_us);
        if walk.frames.is_multiple_of(REPORT_EVERY) {
            sink.progress(passed(at_us))?;
        }
    }
    sink.progress(task.media.video.frames)?;
    let made = finder.finish(task.media.duration_us);
    hand_over(&budget, made, walk.frames, walk.damaged(), sink)
}

/// Everything that is found while frames pass.
struct Finder {
    shots: Shots,
    gallery: Gallery,
    board: Option<Board>,
    transitions: Vec<Transition>,
    duration_us: i64,
    look_every_us: i64,
    /// When the next frame is looked at, at the latest.
    look_at_us: i64,
    /// How much the last frame differed from the one before it.
    motion: f64,
}

/// What was found.
struct Made {
    gallery: Gallery,
    board: Option<Board>,
    transitions: Vec<Transition>,
}

impl Finder {
    fn new(task: &Task, budget: &Budget, tiny: (u32, u32)) -> Self {
        let duration_us = task.media.duration_us.max(1);
        let times = storyboard::times(duration_us, task.media.video.frames, budget.tiles());
        Self {
            shots: Shots::new(),
            gallery: Gallery::new(duration_us),
            board: Board::new(times, tiny),
            transitions: Vec::new(),
            duration_us,
            look_every_us: (duration_us / LOOKS.0).clamp(LOOK_OFTEN_US, LOOK_EVERY_US).max(duration_us / LOOKS.1),
            look_at_us: 0,
            motion: 0.0,
        }
    }

    /// Whether the frame shall be looked at closely: at regular times, and soon after something new came.
    fn wants(&mut self, print: &Print, at_us: i64) -> bool {
        self.motion = self.shots.step_to(print);
        let is_new = self.shots.has_jumped() && self.motion < shots::JUMP;
        is_new || at_us >= self.look_at_us
    }

    fn look(&mut self, picture: Planes, tiny: &Planes, at_us: i64, is_damaged: bool) {
        self.look_at_us = at_us + self.look_every_us;
        let marks = scores::Marks::of(&picture);
        let place = scores::place(at_us, self.duration_us);
        let score = marks.score() * place * scores::stillness(self.motion) * if is_damaged { 0.1 } else { 1.0 };
        self.gallery.offer(Candidate { at_us, score, picture, tiny: tiny.clone() });
    }

    fn pass(&mut self, tiny: Planes, print: Print, at_us: i64) {
        self.shots.push(at_us, print);
        if let Some(board) = &mut self.board {
            board.pass(tiny, at_us);
        }
        let settled = self.shots.settled();
        self.settle(settled);
    }

    fn settle(&mut self, (until_us, transitions): (i64, Vec<Transition>)) {
        for transition in &transitions {
            self.gallery.transition(*transition);
        }
        self.gallery.settle(until_us);
        let room = MOST_TRANSITIONS.saturating_sub(self.transitions.len());
        self.transitions.extend(transitions.into_iter().take(room));
    }

    fn finish(mut self, duration_us: i64) -> Made {
        let rest = self.shots.finish();
        self.settle((i64::MAX, rest));
        self.gallery.finish(duration_us);
        let board = self.board.take().and_then(Board::finish);
        Made { gallery: self.gallery, board, transitions: self.transitions }
    }
}

/// Encodes what was found, within the budget.
fn hand_over(
    budget: &Budget,
    made: Made,
    frames: u64,
    damaged: u64,
    sink: &mut dyn Sink,
) -> Result<Illustrated, Error> {
    let Made { gallery, board, transitions } = made;
    let (shots, chosen, thumbs) = gallery.chosen();
    let mut answer =
        Illustrated { frames, damaged, shots, transitions, posters: Vec::new(), sheet: None, thumbnails: Vec::new() };
    let mut chosen = chosen.into_iter();
    let Some(best) = chosen.next() else { return Ok(answer) };
    let mut index = 0;
    let mut give = |bytes: &[u8]| {
        index += 1;
        sink.bytes(index - 1, bytes)
    };
    let (poster, jpeg) = budget.poster(best)?;
    give(&jpeg)?;
    answer.posters.push(poster);
    let mut left = budget.bytes.saturating_sub(jpeg.len() as u64);
    // Encoded before the alternatives, which are worth less, and handed over after them.
    let sheet = board.map(|board| budget.sheet(board, left)).transpose()?.flatten();
    left = left.saturating_sub(sheet.as_ref().map_or(0, |(_, jpeg, cues)| jpeg.len() as u64 + cues));
    let thumbs = budget.thumbs(thumbs, left)?;
    left = left.saturating_sub(thumbs.iter().map(|(_, jpeg)| jpeg.len() as u64).sum());
    for (still, jpeg) in budget.alternatives(chosen, (poster.width, poster.height), left)? {
        give(&jpeg)?;
        answer.posters.push(still);
    }
    if let Some((sheet, jpeg, _)) = sheet {
        give(&jpeg)?;
        answer.sheet = Some(sheet);
    }
    for (thumb, jpeg) in thumbs {
        give(&jpeg)?;
        answer.thumbnails.push(thumb);
    }
    Ok(answer)
}
