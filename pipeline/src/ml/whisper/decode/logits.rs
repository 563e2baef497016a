//! Numbers over one row of logits, one number a token of the vocabulary.

use std::cmp::Ordering;

/// The largest of `logits`; minus infinity when there is none.
pub fn largest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `ln(sum(exp(logits)))`; minus infinity when every token is forbidden.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = largest(logits);
    if most == f32::NEG_INFINITY {
        return most;
    }
    let sum: f64 = logits.chunks(1024).map(|part| f64::from(part.iter().map(|x| (x - most).exp()).sum::<f32>())).sum();
    most + sum.ln() as f32
}

/// The first of the tokens with the largest logit. Not-a-number never wins.
pub fn best(logits: &[f32]) -> u32 {
    let most = largest(logits);
    logits.iter().position(|x| *x == most).map_or(0, index)
}

/// The `count` tokens with the largest logits, best first; of equals the first.
pub fn top(logits: &[f32], count: usize) -> Vec<u32> {
    let mut kept: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
    for (token, &logit) in logits.iter().enumerate() {
        if kept.len() == count
            && kept.last().is_none_or(|(least, _)| logit.partial_cmp(least) != Some(Ordering::Greater))
        {
            continue;
        }
        let at = kept.partition_point(|(other, _)| *other >= logit);
        kept.insert(at, (logit, index(token)));
        kept.truncate(count);
    }
    kept.into_iter().map(|(_, token)| token).collect()
}

/// The token that `drawn` (from 0 to below 1) falls on when each is as wide as its probability at `temperature`.
pub fn drawn(logits: &[f32], temperature: f32, drawn: f64) -> u32 {
    let most = largest(logits);
    let weight = |x: f32| f64::from(((x - most) / temperature).exp());
    let wanted = drawn * logits.iter().map(|x| weight(*x)).sum::<f64>();
    let mut reached = 0.0;
    for (token, &logit) in logits.iter().enumerate() {
        reached += weight(logit);
        if reached > wanted {
            return index(token);
        }
    }
    best(logits)
}

fn index(token: usize) -> u32 {
    u32::try_from(token).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_top_is_what_sorting_gives(logits in prop::collection::vec(-9i8..9, 1..60), count in 1usize..9) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let mut sorted: Vec<u32> = (0..logits.len() as u32).collect();
            sorted.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
            sorted.truncate(count);
            prop_assert_eq!(top(&logits, count), sorted);
            prop_assert_eq!(top(&logits, 1)[0], best(&logits));
        }

        #[test]
        fn probabilities_add_up(logits in prop::collection::vec(-30f32..30.0, 1..3000)) {
            let sum = log_sum_exp(&logits);
            let total: f64 = logits.iter().map(|x| f64::from(x - sum).exp()).sum();
            prop_assert!((total - 1.0).abs() < 1e-4, "{total}");
        }

        #[test]
        fn a_forbidden_token_is_never_drawn(forbidden in 0usize..5, u in 0f64..1.0, temperature in 0.1f32..2.0) {
            let mut logits = [0.5, -1.0, 2.0, 0.0, 1.0];
            logits[forbidden] = f32::NEG_INFINITY;
            prop_assert_ne!(drawn(&logits, temperature, u), forbidden as u32);
        }
    }

    #[test]
    fn nothing_allowed_and_numbers_that_are_none_have_an_answer() {
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert_eq!(best(&[f32::NAN, 1.0, 3.0]), 2);
        assert_eq!(best(&[f32::NAN; 2]), 0);
        assert_eq!(top(&[f32::NEG_INFINITY, 1.0], 4), [1, 0]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [1f32.ln(), 3f32.ln()];
        let hits = (0..1000).filter(|i| drawn(&logits, 1.0, f64::from(*i) / 1000.0) == 1).count();
        assert!((745..=755).contains(&hits), "{hits}");
    }
}
