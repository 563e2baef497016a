//! Which tokens may come next: suppressed ones, no blank at the beginning, and what timestamps have to obey.
//!
//! Radford et al. 2022, section 4.5 and the reference's logit filters. A row of logits has one number for each token of
//! the vocabulary; a forbidden token gets minus infinity.

use super::logits::{largest, log_sum_exp};

/// What is allowed at all, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Tokens that never come.
    pub suppressed: Vec<u32>,
    /// Tokens that do not come first: a blank and the end.
    pub not_first: Vec<u32>,
    /// Rules for timestamps; absent when none are wanted.
    pub times: Option<Times>,
}

/// Tokens from `zero` on are timestamps, 0.02 s apart in the published models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The token `<|0.00|>`.
    pub zero: u32,
    /// The token that ends the text.
    pub end: u32,
    /// The token `<|notimestamps|>`.
    pub none: u32,
    /// How many steps after `zero` the first timestamp may be; absent: any.
    pub latest_first: Option<u32>,
}

impl Rules {
    /// Forbids what may not follow `sampled`, the tokens after the prompt.
    pub fn apply(&self, sampled: &[u32], logits: &mut [f32]) {
        if sampled.is_empty() {
            forbid_each(logits, &self.not_first);
        }
        forbid_each(logits, &self.suppressed);
        if let Some(times) = &self.times {
            times.apply(sampled, logits);
        }
    }
}

impl Times {
    fn apply(&self, sampled: &[u32], logits: &mut [f32]) {
        let zero = self.zero as usize;
        let vocabulary = logits.len();
        forbid_each(logits, &[self.none]);
        let is_time = |token: &u32| *token >= self.zero;
        let last = sampled.last().is_some_and(is_time);
        let before = sampled.len().checked_sub(2).and_then(|at| sampled.get(at)).is_none_or(is_time);
        // Timestamps come in pairs, the end of one segment and the beginning of the next; only the end stands alone.
        match (last, before) {
            (true, true) => forbid(logits, zero, vocabulary),
            (true, false) => forbid(logits, 0, self.end as usize),
            (false, _) => {}
        }
        if let Some(latest) = sampled.iter().rev().find(|token| is_time(token)) {
            // Never back, and never a segment without length, or decoding could go on for ever.
            let may_repeat = last && !before;
            forbid(logits, zero, *latest as usize + usize::from(!may_repeat));
        }
        if sampled.is_empty() {
            forbid(logits, 0, zero);
            if let Some(latest) = self.latest_first {
                forbid(logits, zero + latest as usize + 1, vocabulary);
            }
        }
        let (texts, times) = logits.split_at_mut(zero.min(vocabulary));
        if log_sum_exp(times) > largest(texts) {
            texts.fill(f32::NEG_INFINITY);
        }
    }
}

fn forbid_each(logits: &mut [f32], tokens: &[u32]) {
    for token in tokens {
        if let Some(logit) = logits.get_mut(*token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Forbids the tokens from `from` to below `to`, as far as there are any.
fn forbid(logits: &mut [f32], from: usize, to: usize) {
    let to = to.min(logits.len());
    if let Some(range) = logits.get_mut(from..to) {
        range.fill(f32::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const END: u32 = 10;
    const ZERO: u32 = 13;
    const ALL: usize = 24;

    fn rules() -> Rules {
        let times = Times { zero: ZERO, end: END, none: 12, latest_first: Some(3) };
        Rules { suppressed: vec![11, 4], not_first: vec![0, END], times: Some(times) }
    }

    /// The tokens that may follow `sampled` when all are equally likely but timestamps are not.
    fn allowed(sampled: &[u32]) -> Vec<u32> {
        let mut logits = vec![0.0; ALL];
        logits[ZERO as usize..].fill(-20.0);
        rules().apply(sampled, &mut logits);
        (0..ALL as u32).filter(|token| logits[*token as usize] > f32::NEG_INFINITY).collect()
    }

    #[test]
    fn a_window_begins_with_an_early_timestamp() {
        assert_eq!(allowed(&[]), [13, 14, 15, 16]);
    }

    #[test]
    fn text_follows_the_first_timestamp() {
        let text: Vec<u32> = vec![0, 1, 2, 3, 5, 6, 7, 8, 9, 10];
        assert_eq!(allowed(&[14]), text);
    }

    #[test]
    fn a_timestamp_after_text_is_later_than_the_one_before() {
        let after = allowed(&[14, 1]);
        assert!(after.contains(&15) && !after.contains(&14), "{after:?}");
    }

    #[test]
    fn a_timestamp_that_ends_a_segment_is_followed_by_its_like_or_the_end() {
        assert_eq!(allowed(&[14, 1, 17])[..2], [END, 17]);
        assert!(allowed(&[14, 1, 17]).iter().all(|token| *token == END || *token >= 17));
    }

    #[test]
    fn timestamps_that_are_together_likelier_than_any_word_win() {
        let mut logits = vec![0.0; ALL];
        logits[1] = 1.0;
        rules().apply(&[14, 1, 2], &mut logits);
        assert!(logits[..ZERO as usize].iter().all(|logit| *logit == f32::NEG_INFINITY));
    }

    #[test]
    fn without_timestamps_only_suppressed_and_blank_are_forbidden() {
        let plain = Rules { times: None, ..rules() };
        let mut logits = vec![0.0; ALL];
        plain.apply(&[], &mut logits);
        let forbidden: Vec<usize> = (0..ALL).filter(|token| logits[*token] < 0.0).collect();
        assert_eq!(forbidden, [0, 4, 10, 11]);
    }

    #[test]
    fn a_vocabulary_that_is_too_small_is_survived() {
        let mut logits = vec![0.0; 3];
        rules().apply(&[], &mut logits);
        rules().apply(&[14, 1, 17], &mut logits);
    }

    proptest! {
        /// Whatever wins, a text that obeys the rules has timestamps in order and in pairs, and ends.
        #[test]
        fn any_walk_obeys(choices in prop::collection::vec(0usize..100, 40)) {
            let mut sampled: Vec<u32> = Vec::new();
            for choice in choices {
                let may = allowed(&sampled);
                prop_assert!(!may.is_empty(), "nothing may follow {sampled:?}");
                let token = may[choice % may.len()];
                if token == END {
                    break;
                }
                sampled.push(token);
            }
            let times: Vec<u32> = sampled.iter().copied().filter(|token| *token >= ZERO).collect();
            prop_assert!(times.is_sorted(), "{sampled:?}");
            prop_assert!(sampled[0] >= ZERO);
            for three in sampled.windows(3) {
                prop_assert!(!three.iter().all(|token| *token >= ZERO), "{sampled:?}");
            }
            prop_assert!(!sampled.iter().any(|token| [4, 11, 12].contains(token)), "{sampled:?}");
        }
    }
}
