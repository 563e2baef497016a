//! Which of the frames that were looked at stand for the video: candidates wait until it is known to which shot they belong, then the
//! best of each shot and the best of all are kept.

use std::collections::VecDeque;

use super::Transition;
use super::planes::Planes;
use super::scores;
use super::thumbnails::{OfShot, Thumbnails};

/// Candidates that wait at most; beyond it the oldest is taken for what it seems.
const WAITING: usize = 48;

/// Candidates kept for the poster and its alternatives.
const POOL: usize = 12;

/// Alternatives to the poster at most.
pub const ALTERNATIVES: usize = 3;

/// Pictures that share more than this with another one are no alternative to it.
const ALIKE: f64 = 0.6;

/// An alternative is at least this good, as a share of the poster.
const WORTH: f64 = 0.6;

/// What a picture within a fade is worth.
const FADING: f64 = 0.02;

/// So near to a fade a picture may still show some of it, microseconds.
const FADE_MARGIN_US: i64 = 120_000;

/// A shot is tried anew for posters after so long at least, microseconds, and so many times in a video at most.
const SLOT_US: i64 = 4_000_000;
const SLOTS: i64 = 16;

/// A frame that was looked at.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// When it is shown, microseconds.
    pub at_us: i64,
    /// How good it is.
    pub score: f64,
    /// The frame in the size of a poster.
    pub picture: Planes,
    /// The frame in the size of a thumbnail.
    pub tiny: Planes,
}

/// The frames that stand for a video.
pub struct Gallery {
    waiting: VecDeque<Candidate>,
    thumbnails: Thumbnails,
    /// The best of the shot that goes on.
    shot: Option<OfShot>,
    shot_start_us: i64,
    /// Where the last fade ended.
    fade_end_us: i64,
    shots: u32,
    /// The best of the slot that goes on.
    slot: Option<Candidate>,
    slot_start_us: i64,
    slot_us: i64,
    pool: Vec<Candidate>,
}

impl Gallery {
    /// An empty gallery of a video of `duration_us`.
    pub fn new(duration_us: i64) -> Self {
        Self {
            waiting: VecDeque::new(),
            thumbnails: Thumbnails::default(),
            shot: None,
            shot_start_us: 0,
            fade_end_us: i64::MIN,
            shots: 0,
            slot: None,
            slot_start_us: 0,
            slot_us: SLOT_US.max(duration_us / SLOTS),
            pool: Vec::new(),
        }
    }

    /// Adds a candidate; times ascend.
    pub fn offer(&mut self, candidate: Candidate) {
        self.shots = self.shots.max(1);
        self.waiting.push_back(candidate);
        if self.waiting.len() > WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.take(oldest);
        }
    }

    /// A shot ends in `transition`, and the next one begins. Transitions come in order, before what lies behind them is settled.
    pub fn transition(&mut self, transition: Transition) {
        let is_fade = transition.start_us < transition.end_us;
        let margin_us = if is_fade { FADE_MARGIN_US } else { 0 };
        self.settle(transition.start_us - margin_us);
        while let Some(mut candidate) = self.next_before(transition.end_us) {
            candidate.score *= FADING;
            self.take(candidate);
        }
        let middle_us = transition.start_us + (transition.end_us - transition.start_us) / 2;
        self.end_shot(middle_us);
        if is_fade {
            self.fade_end_us = transition.end_us;
        }
        self.shots += 1;
    }

    /// Everything about frames before `until_us` is known.
    pub fn settle(&mut self, until_us: i64) {
        while let Some(candidate) = self.next_before(until_us) {
            self.take(candidate);
        }
    }

    /// The video ends at `duration_us`.
    pub fn finish(&mut self, duration_us: i64) {
        self.settle(i64::MAX);
        self.end_shot(duration_us);
    }

    /// How many shots there are, the poster and its alternatives, and the thumbnails.
    pub fn chosen(self) -> (u32, Vec<Candidate>, Vec<OfShot>) {
        let mut pool = self.pool;
        pool.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.at_us.cmp(&b.at_us)));
        let mut chosen: Vec<Candidate> = Vec::new();
        for candidate in pool {
            let is_other = chosen.iter().all(|known| scores::likeness(&known.tiny, &candidate.tiny) < ALIKE);
            let is_worth = chosen.first().is_none_or(|best| candidate.score >= WORTH * best.score);
            if is_other && is_worth && chosen.len() <= ALTERNATIVES {
                chosen.push(candidate);
            }
        }
        (self.shots, chosen, self.thumbnails.finish())
    }

    fn next_before(&mut self, until_us: i64) -> Option<Candidate> {
        let is_before = self.waiting.front().is_some_and(|waits| waits.at_us < until_us);
        if is_before { self.waiting.pop_front() } else { None }
    }

    fn take(&mut self, mut candidate: Candidate) {
        if candidate.at_us < self.fade_end_us.saturating_add(FADE_MARGIN_US) {
            candidate.score *= FADING;
        }
        if self.shot.as_ref().is_none_or(|best| candidate.score > best.score) {
            self.shot = Some(OfShot {
                tiny: candidate.tiny.clone(),
                at_us: candidate.at_us,
                score: candidate.score,
                start_us: self.shot_start_us,
                end_us: self.shot_start_us,
            });
        }
        if candidate.at_us - self.slot_start_us >= self.slot_us {
            self.end_slot(candidate.at_us);
        }
        if self.slot.as_ref().is_none_or(|best| candidate.score > best.score) {
            self.slot = Some(candidate);
        }
    }

    fn end_shot(&mut self, end_us: i64) {
        self.end_slot(end_us);
        if let Some(best) = self.shot.take() {
            self.thumbnails.push(OfShot { end_us: end_us.max(best.start_us), ..best });
        }
        self.shot_start_us = end_us;
    }

    fn end_slot(&mut self, at_us: i64) {
        self.slot_start_us = at_us;
        let Some(best) = self.slot.take() else { return };
        self.pool.push(best);
        if self.pool.len() > POOL
            && let Some(worst) = (0..self.pool.len()).min_by(|a, b| self.pool[*a].score.total_cmp(&self.pool[*b].score))
        {
            self.pool.remove(worst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(at_us: i64, score: f64, shade: u8) -> Candidate {
        let picture = Planes::plain(2, 2, [shade, 128, 128]);
        Candidate { at_us, score, tiny: picture.clone(), picture }
    }

    fn offer(gallery: &mut Gallery, candidates: &[(i64, f64, u8)]) {
        candidates.iter().for_each(|(at_us, score, shade)| gallery.offer(candidate(*at_us, *score, *shade)));
    }

    fn cut(at_us: i64) -> Transition {
        Transition { start_us: at_us, end_us: at_us }
    }

    #[test]
    fn the_best_of_each_shot_is_its_thumbnail_and_the_best_of_all_the_poster() {
        let mut gallery = Gallery::new(3_000_000);
        offer(
            &mut gallery,
            &[(0, 0.3, 10), (500_000, 0.6, 20), (1_000_000, 0.9, 90), (1_500_000, 0.8, 100), (2_500_000, 0.7, 180)],
        );
        gallery.transition(cut(1_000_000));
        gallery.transition(cut(2_000_000));
        gallery.finish(3_000_000);
        let (shots, chosen, thumbnails) = gallery.chosen();
        assert_eq!(shots, 3);
        assert_eq!(chosen.iter().map(|one| one.at_us).collect::<Vec<_>>(), [1_000_000, 2_500_000, 500_000]);
        let spans: Vec<_> = thumbnails.iter().map(|one| (one.at_us, one.start_us, one.end_us)).collect();
        assert_eq!(
            spans,
            [(500_000, 0, 1_000_000), (1_000_000, 1_000_000, 2_000_000), (2_500_000, 2_000_000, 3_000_000)]
        );
    }

    #[test]
    fn a_frame_of_a_fade_is_taken_only_where_there_is_no_other() {
        let fade = Transition { start_us: 1_000_000, end_us: 2_000_000 };
        let mut gallery = Gallery::new(3_000_000);
        offer(&mut gallery, &[(500_000, 0.4, 10), (1_500_000, 0.9, 90), (2_050_000, 0.8, 120), (2_500_000, 0.5, 180)]);
        gallery.transition(fade);
        gallery.finish(3_000_000);
        let (_, chosen, thumbnails) = gallery.chosen();
        assert_eq!(chosen[0].at_us, 2_500_000);
        assert_eq!(thumbnails.iter().map(|one| one.at_us).collect::<Vec<_>>(), [500_000, 2_500_000]);
        let mut gallery = Gallery::new(3_000_000);
        gallery.offer(candidate(1_500_000, 0.9, 90));
        gallery.transition(fade);
        gallery.finish(3_000_000);
        assert_eq!(gallery.chosen().1[0].at_us, 1_500_000);
    }

    #[test]
    fn alternatives_look_different_and_are_worth_it() {
        let mut gallery = Gallery::new(64_000_000);
        offer(&mut gallery, &[(0, 0.9, 50), (5_000_000, 0.89, 52), (10_000_000, 0.7, 90), (15_000_000, 0.1, 200)]);
        gallery.finish(64_000_000);
        let (shots, chosen, _) = gallery.chosen();
        assert_eq!((shots, chosen.iter().map(|one| one.at_us).collect::<Vec<_>>()), (1, vec![0, 10_000_000]));
    }

    #[test]
    fn what_waits_and_what_is_kept_is_bounded() {
        let mut gallery = Gallery::new(1_000_000);
        for at in 0..500 {
            gallery.offer(candidate(at * 5_000_000, at as f64 / 500.0, 0));
            assert!(gallery.waiting.len() <= WAITING && gallery.pool.len() <= POOL);
        }
        gallery.finish(2_500_000_000);
        assert_eq!(gallery.chosen().1[0].at_us, 499 * 5_000_000);
        assert_eq!(Gallery::new(1).chosen().0, 0, "no frame, no shot");
    }
}
