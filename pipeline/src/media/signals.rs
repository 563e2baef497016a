//! What a video is like, in numbers, and a few pictures of it: out of a walk that is sparse where the video is long.
//!
//! A short video is walked from end to end; of a long one, a moment after each of a number of keyframes. Every frame on the way
//! is scaled to a tiny copy, on which motion is measured; now and then two frames in a row are looked at larger. So the work is
//! bounded whatever the video is, and nothing is kept but sums.
//!
//! # Layout
//! - [`plan`]: which moments; [`motion`]: how pictures change; [`look`]: what one is like, and how it differs from the next
//! - the walk itself, tiny copies and shots are those of [`super::illustrate`]

use serde::{Deserialize, Serialize};

use super::illustrate::planes::{self, Planes};
use super::illustrate::walk::{Pace, Seen, Walk};
use super::source::Source;
use super::{Error, Sink};
use schemas::source::Media;

pub mod look;
pub mod motion;
pub mod plan;

#[cfg(test)]
mod tests;

use look::Look;
use motion::{Motion, Watch};
use plan::Plan;

/// Name of everything that is measured: changes whenever the same source would give other numbers.
pub const RECIPE: &str = "signals-v1";

/// Longer side of pictures that are looked at, pixels.
pub const LOOK_BOX: u32 = 640;

/// Most frames of one moment.
const MOST_FRAMES: u64 = 2_000;

/// Frames between two reports of progress.
const REPORT_EVERY: u64 = 24;

/// What is to be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What the file contains.
    pub media: Media,
    /// Keyframes that can be found by their times.
    pub keyframes: u32,
    /// How many pictures are wanted, at most.
    pub pictures: u32,
}

/// What was measured. The bytes of the pictures come in their order: red, green and blue of each pixel, row by row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Frames that were decoded and looked at.
    pub frames: u64,
    /// Damaged packets or frames.
    pub damaged: u64,
    /// How pictures change.
    pub motion: Motion,
    /// What they are like: the mean of all that were looked at.
    pub look: Look,
    /// Pictures, evenly over the video; those that show nothing are left out.
    pub pictures: Vec<Shown>,
}

/// A picture that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// When it is shown, microseconds.
    pub at_us: i64,
}

impl Measured {
    /// Everything that was measured, by name.
    pub fn features(&self) -> Vec<(&'static str, f64)> {
        self.motion.features().into_iter().chain(self.look.features()).collect()
    }
}

/// Measures `task`; the bytes of pictures go to `sink`.
pub fn measure(source: Source, task: &Task, sink: &mut dyn Sink) -> Result<Measured, Error> {
    let plan = Plan::new(task.media.duration_us, task.keyframes);
    let tiny = planes::fitting(&task.media.video, planes::TINY_BOX);
    let mut walk = Walk::open(source, &task.media, tiny, Pace::Every)?;
    let mut meter = Meter::new(task, &plan);
    let mut reached_us = i64::MIN;
    for (number, start_us) in plan.starts_us.iter().enumerate() {
        // Where the file breaks off, what was seen so far has to do.
        if number > 0 && walk.jump(*start_us).is_err() {
            break;
        }
        meter.begin();
        let (mut began_us, mut frames) = (None, 0);
        while let Some(seen) = walk.step()? {
            let began = *began_us.get_or_insert(seen.at_us);
            // Keyframes further apart than moments: this one has been seen.
            let is_over = seen.at_us.saturating_sub(began) >= plan.length_us || frames >= MOST_FRAMES;
            if seen.at_us <= reached_us || is_over {
                break;
            }
            frames += 1;
            reached_us = seen.at_us;
            meter.take(seen, &mut walk, sink)?;
            if walk.frames.is_multiple_of(REPORT_EVERY) {
                sink.progress(walk.frames)?;
            }
        }
        meter.end();
    }
    sink.progress(walk.frames)?;
    Ok(meter.finish(walk.frames, walk.damaged()))
}

/// Everything that is measured while frames pass.
struct Meter {
    large: (u32, u32),
    watch: Watch,
    looks: look::Mean,
    look_every_us: i64,
    /// When the next frame is looked at, at the latest.
    look_at_us: i64,
    /// The frame before this one, when it is looked at with it.
    before: Option<Planes>,
    /// Pictures that are looked at, as far as is planned.
    planned: u64,
    looked: u64,
    wanted: u64,
    pictures: Vec<Shown>,
}

impl Meter {
    fn new(task: &Task, plan: &Plan) -> Self {
        Self {
            large: planes::fitting(&task.media.video, LOOK_BOX),
            watch: Watch::default(),
            looks: look::Mean::default(),
            look_every_us: plan.look_every_us,
            look_at_us: i64::MIN,
            before: None,
            planned: plan.looks,
            looked: 0,
            wanted: u64::from(task.pictures),
            pictures: Vec::new(),
        }
    }

    /// What comes next does not follow what came before.
    fn begin(&mut self) {
        self.look_at_us = i64::MIN;
    }

    fn take(&mut self, seen: Seen, walk: &mut Walk, sink: &mut dyn Sink) -> Result<(), Error> {
        let Seen { at_us, tiny, print, .. } = seen;
        if let Some(before) = self.before.take() {
            self.looks.add(&Look::of(&before, Some(&walk.enlarged(self.large)?)));
        } else if at_us >= self.look_at_us {
            self.look_at_us = at_us.saturating_add(self.look_every_us);
            let picture = walk.enlarged(self.large)?;
            self.looked += 1;
            let due = self.wanted * self.looked / self.planned.max(1);
            if (self.pictures.len() as u64) < due.min(self.wanted) && !print.is_plain() {
                let number = self.pictures.len();
                sink.bytes(number, &picture.rgb())?;
                let (width, height) = self.large;
                self.pictures.push(Shown { width, height, at_us });
            }
            self.before = Some(picture);
        }
        self.watch.push(at_us, tiny, print);
        Ok(())
    }

    fn end(&mut self) {
        self.watch.end();
        // A single frame, or the last one.
        if let Some(last) = self.before.take() {
            self.looks.add(&Look::of(&last, None));
        }
    }

    fn finish(self, frames: u64, damaged: u64) -> Measured {
        Measured { frames, damaged, motion: self.watch.motion(), look: self.looks.look(), pictures: self.pictures }
    }
}
