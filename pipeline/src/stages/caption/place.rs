//! Which speech a text belongs to: what a model says about times is held against what the gate has heard.

use std::ops::Range;

/// A model's time this close to the edge of speech means that edge, milliseconds.
const NEAR: u64 = 500;
/// A shorter piece of other speech is inaccuracy, milliseconds, unless it is most of that speech.
const SLIVER: u64 = 300;

/// The pieces of speech in which each of the texts is said, milliseconds; none for a text that was made up in silence.
///
/// `voiced` is where somebody speaks, `said` when each text is said by the model's account; both in order. Pieces are in order,
/// and no two overlap.
pub fn place(voiced: &[Range<u64>], said: &[Range<u64>]) -> Vec<Vec<Range<u64>>> {
    let mut placed: Vec<Vec<Range<u64>>> = vec![Vec::new(); said.len()];
    let mut free_from = 0;
    for (text, time) in said.iter().enumerate() {
        let overlaps = |run: &&Range<u64>| run.start.max(time.start) < run.end.min(time.end);
        let length = |run: &Range<u64>| run.end.min(time.end).saturating_sub(run.start.max(time.start));
        let longest = voiced.iter().filter(overlaps).map(length).max().unwrap_or(0);
        for run in voiced.iter().filter(overlaps) {
            let is_sliver = length(run) < SLIVER && length(run) * 2 < run.end - run.start;
            if is_sliver && length(run) < longest {
                continue;
            }
            let piece = run.start.max(time.start).max(free_from)..run.end.min(time.end);
            if piece.start < piece.end {
                free_from = piece.end;
                placed[text].push(piece);
            }
        }
    }
    near_speech(voiced, said, &mut placed);
    for run in voiced {
        stretch(run, &mut placed);
    }
    placed
}

/// Gives speech that nobody claims to a text that is beside it.
fn near_speech(voiced: &[Range<u64>], said: &[Range<u64>], placed: &mut [Vec<Range<u64>>]) {
    for text in 0..said.len() {
        if !placed[text].is_empty() {
            continue;
        }
        let before = placed[..text].iter().flatten().map(|piece| piece.end).max().unwrap_or(0);
        let after = placed[text + 1..].iter().flatten().map(|piece| piece.start).min().unwrap_or(u64::MAX);
        let distance =
            |run: &Range<u64>| said[text].start.saturating_sub(run.end).max(run.start.saturating_sub(said[text].end));
        let is_free = |run: &&Range<u64>| run.start >= before && run.end <= after && distance(run) <= NEAR;
        if let Some(run) = voiced.iter().filter(is_free).min_by_key(|run| distance(run)) {
            placed[text].push(run.clone());
        }
    }
}

/// The first and the last piece in `run` reach its edges, when they nearly do.
fn stretch(run: &Range<u64>, placed: &mut [Vec<Range<u64>>]) {
    let is_inside = |piece: &&mut Range<u64>| piece.start >= run.start && piece.end <= run.end;
    let mut inside: Vec<&mut Range<u64>> = placed.iter_mut().flatten().filter(is_inside).collect();
    if let Some(first) = inside.first_mut().filter(|piece| piece.start - run.start <= NEAR) {
        first.start = run.start;
    }
    if let Some(last) = inside.last_mut().filter(|piece| run.end - piece.end <= NEAR) {
        last.end = run.end;
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "speech in one piece is a list of one range")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_that_are_nearly_right_become_right() {
        let voiced = [1_000..3_000, 4_000..9_000];
        let placed = place(&voiced, &[0..3_400, 4_240..6_000, 6_000..8_700]);
        assert_eq!(placed, [vec![1_000..3_000], vec![4_000..6_000], vec![6_000..9_000]]);
    }

    #[test]
    fn one_text_may_be_said_with_a_pause_and_may_miss_its_neighbour_by_a_little() {
        let voiced = [1_000..3_000, 4_000..9_000];
        assert_eq!(place(&voiced, &[900..7_000]), [vec![1_000..3_000, 4_000..7_000]]);
        assert_eq!(place(&voiced, &[1_000..4_200, 4_200..9_000]), [vec![1_000..3_000], vec![4_000..9_000]]);
        assert_eq!(place(&[1_000..1_200], &[1_300..2_000]), [vec![1_000..1_200]]);
    }

    #[test]
    fn what_is_made_up_in_silence_has_no_place() {
        assert_eq!(place(&[1_000..3_000], &[1_000..3_000, 5_000..9_000]), [vec![1_000..3_000], vec![]]);
        assert_eq!(place(&[], &[0..9_000]), [vec![]]);
    }

    proptest! {
        #[test]
        fn pieces_are_in_order_apart_and_within_speech(
            runs in prop::collection::vec((0..2_000_u64, 1..3_000_u64), 0..6),
            texts in prop::collection::vec((0..2_000_u64, 0..3_000_u64), 0..6),
        ) {
            let lay = |steps: &[(u64, u64)], gap: u64| -> Vec<Range<u64>> {
                let mut at = 0;
                steps.iter().map(|(pause, length)| { let start = at + pause + gap; at = start + length; start..at }).collect()
            };
            let (voiced, said) = (lay(&runs, 1), lay(&texts, 0));
            let placed = place(&voiced, &said);
            prop_assert_eq!(placed.len(), said.len());
            let mut before = 0;
            for piece in placed.iter().flatten() {
                prop_assert!(piece.start >= before && piece.start < piece.end, "{:?}", placed);
                prop_assert!(voiced.iter().any(|run| run.start <= piece.start && piece.end <= run.end), "{:?}", placed);
                before = piece.end;
            }
        }
    }
}
