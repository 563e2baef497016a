//! What the timestamps in a text mean: its segments, and where the next window begins.
//!
//! Radford et al. 2022, sections 2.3 and 4.5. A window has up to 3000 frames of 10 ms; a timestamp counts steps of 2 frames.

/// Frames a second.
pub const FRAMES_PER_S: f64 = 100.0;

/// A part of a window's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Seconds from the beginning of the window.
    pub start_s: f64,
    /// Seconds from the beginning of the window.
    pub end_s: f64,
    /// Tokens, timestamps included.
    pub tokens: Vec<u32>,
}

/// What one window gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// In order.
    pub segments: Vec<Segment>,
    /// Frames to the beginning of the next window.
    pub advance: usize,
}

/// Cuts the text of a window of `frames` at its timestamps, `zero` being the first of these tokens, `step` frames apart.
pub fn cut(tokens: &[u32], zero: u32, step: usize, frames: usize) -> Cut {
    let is_time = |token: &u32| *token >= zero;
    let steps = |token: u32| token.saturating_sub(zero) as usize;
    let seconds = |token: u32| (steps(token) * step) as f64 / FRAMES_PER_S;
    let ends_alone = matches!(tokens, [.., before, last] if !is_time(before) && is_time(last));
    let pairs = tokens.windows(2).enumerate().filter(|(_, pair)| pair.iter().all(is_time));
    let mut ends: Vec<usize> = pairs.map(|(at, _)| at + 1).collect();
    if ends.is_empty() {
        // One piece; a last timestamp other than zero says how long it is.
        let last = tokens.iter().copied().rfind(is_time).filter(|last| *last != zero);
        let end_s = last.map_or(frames as f64 / FRAMES_PER_S, seconds);
        return Cut { segments: vec![Segment { start_s: 0.0, end_s, tokens: tokens.to_vec() }], advance: frames };
    }
    if ends_alone {
        ends.push(tokens.len());
    }
    let mut segments = Vec::with_capacity(ends.len());
    let mut begin = 0;
    for end in ends {
        let part = tokens.get(begin..end).unwrap_or(&[]);
        if let (Some(first), Some(last)) = (part.first(), part.last()) {
            segments.push(Segment { start_s: seconds(*first), end_s: seconds(*last), tokens: part.to_vec() });
        }
        begin = end;
    }
    // A timestamp alone at the end: nothing is said after it. Else the unfinished segment is heard again.
    let last = begin.checked_sub(1).and_then(|at| tokens.get(at)).copied().unwrap_or(zero);
    let advance = if ends_alone { frames } else { steps(last) * step };
    Cut { segments, advance }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZERO: u32 = 100;

    fn times(cut: &Cut) -> Vec<(f64, f64)> {
        cut.segments.iter().map(|segment| (segment.start_s, segment.end_s)).collect()
    }

    #[test]
    fn two_whole_segments_and_a_cut_one() {
        let cut = cut(&[100, 1, 2, 150, 150, 3, 250, 250, 4], ZERO, 2, 3000);
        assert_eq!(times(&cut), [(0.0, 1.0), (1.0, 3.0)]);
        assert_eq!(cut.advance, 300, "the third is heard again from its beginning");
    }

    #[test]
    fn a_timestamp_alone_at_the_end_finishes_the_window() {
        let cut = cut(&[100, 1, 150, 160, 2, 180], ZERO, 2, 2900);
        assert_eq!(times(&cut), [(0.0, 1.0), (1.2, 1.6)]);
        assert_eq!(cut.advance, 2900);
    }

    #[test]
    fn one_segment_ends_where_it_says_or_with_the_window() {
        assert_eq!(times(&cut(&[100, 1, 2, 150], ZERO, 2, 3000)), [(0.0, 1.0)]);
        assert_eq!(times(&cut(&[100, 1, 2], ZERO, 2, 3000)), [(0.0, 30.0)]);
        assert_eq!(times(&cut(&[], ZERO, 2, 500)), [(0.0, 5.0)]);
        assert_eq!(cut(&[100, 1, 2, 150], ZERO, 2, 3000).advance, 3000);
    }

    proptest! {
        /// No token is lost before the next window begins, and the segments are in order when the timestamps are.
        #[test]
        fn segments_hold_the_text(mut steps in prop::collection::vec(1u32..1400, 1..9), words in 1u32..4) {
            steps.sort_unstable();
            let mut tokens = vec![ZERO];
            for step in &steps {
                tokens.extend(1..=words);
                tokens.extend([ZERO + step, ZERO + step]);
            }
            let cut = cut(&tokens, ZERO, 2, 3000);
            let held: Vec<u32> = cut.segments.iter().flat_map(|segment| segment.tokens.clone()).collect();
            prop_assert_eq!(&held, &tokens[..tokens.len() - 1]);
            prop_assert_eq!(cut.advance, *steps.last().unwrap() as usize * 2);
            prop_assert!(cut.segments.iter().all(|segment| segment.start_s <= segment.end_s));
        }
    }
}
