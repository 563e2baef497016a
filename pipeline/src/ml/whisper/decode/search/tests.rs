use proptest::prelude::*;

use super::*;

const END: u32 = 0;

/// Logits of a made-up language: what follows depends on the last two tokens.
fn language(sampled: &[u32], vocabulary: usize) -> Vec<f32> {
    let last = sampled.iter().rev().take(2).fold(17u64, |hash, token| hash * 31 + u64::from(*token));
    (0..vocabulary as u64)
        .map(|token| {
            let hash = (last * 1_000_003 + token * 7_919).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            hash as f32 / 3e6
        })
        .collect()
}

/// Plays a search to its end, at most `most` steps.
fn play(mut search: Search, vocabulary: usize, most: usize) -> Found {
    for _ in 0..most {
        let logits: Vec<Vec<f32>> = (0..search.rows()).map(|row| language(search.sampled(row), vocabulary)).collect();
        let before: Vec<Vec<u32>> = (0..search.rows()).map(|row| search.sampled(row).to_vec()).collect();
        let next = search.step(&logits.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (row, one) in next.iter().enumerate() {
            let now = search.sampled(row);
            let grown = [before[one.source].as_slice(), &[one.token]].concat();
            assert!(now == grown || now.last() == Some(&END), "{now:?} continues another row than it says");
        }
        if next.is_empty() {
            break;
        }
    }
    search.finish(None)
}

fn logprob_of(tokens: &[u32], vocabulary: usize, is_ended: bool) -> f64 {
    let whole: Vec<u32> = tokens.iter().copied().chain(is_ended.then_some(END)).collect();
    (0..whole.len())
        .map(|at| {
            let logits = language(&whole[..at], vocabulary);
            logprob(&logits, whole[at], logits::log_sum_exp(&logits))
        })
        .sum()
}

/// Every text of at most `most` tokens that has ended or is that long, with its log probability.
fn every_text(vocabulary: usize, most: usize) -> Vec<Found> {
    let mut open = vec![Vec::new()];
    let mut all = Vec::new();
    while let Some(tokens) = open.pop() {
        for token in 0..vocabulary as u32 {
            if token == END {
                all.push(Found { sum_logprob: logprob_of(&tokens, vocabulary, true), tokens: tokens.clone() });
            } else {
                let longer: Vec<u32> = tokens.iter().copied().chain([token]).collect();
                if longer.len() == most {
                    all.push(Found { sum_logprob: logprob_of(&longer, vocabulary, false), tokens: longer });
                } else {
                    open.push(longer);
                }
            }
        }
    }
    all
}

#[test]
fn greedy_takes_the_likeliest_and_stops_at_the_end() {
    let mut search = Search::Greedy(Greedy::new(END, 0.0, 5, 1));
    assert_eq!(search.rows(), 1);
    assert_eq!(search.step(&[&[0.0, 5.0, 1.0]]), [Next { source: 0, token: 1 }]);
    assert_eq!(search.step(&[&[9.0, 5.0, 1.0]]), []);
    let found = search.finish(None);
    assert_eq!(found.tokens, [1]);
    assert!(found.sum_logprob < 0.0 && found.avg_logprob() == found.sum_logprob / 2.0);
}

#[test]
fn several_tries_begin_from_the_one_prompt() {
    let mut search = Search::Greedy(Greedy::new(END, 1.0, 3, 7));
    let next = search.step(&[&[f32::NEG_INFINITY, 0.0, 0.0, 0.0]]);
    assert_eq!((next.len(), search.rows()), (3, 3));
    assert!(next.iter().all(|one| one.source == 0));
    let one = |token: usize| {
        let mut row = vec![f32::NEG_INFINITY; 4];
        row[token] = 0.0;
        row
    };
    let rows = [one(0), one(1), one(0)];
    let next = search.step(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(next.iter().map(|one| one.source).collect::<Vec<_>>(), [0, 1, 2]);
    // A try that has ended waits for the others and costs them nothing.
    let rows = [one(2), one(0), one(2)];
    assert_eq!(search.step(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()), []);
    assert_eq!(search.sampled(0).len(), 2);
}

#[test]
fn a_beam_of_one_is_greedy() {
    for vocabulary in [4, 9, 30] {
        let greedy = play(Search::Greedy(Greedy::new(END, 0.0, 1, 0)), vocabulary, 12);
        let beam = play(Search::Beam(Beam::new(END, 1, 1.0)), vocabulary, 12);
        assert_eq!(greedy.tokens, beam.tokens, "vocabulary of {vocabulary}");
    }
}

#[test]
fn patience_waits_for_more_texts() {
    let mut hasty = Beam::new(END, 2, 1.0);
    let mut patient = Beam::new(END, 2, 2.0);
    assert_eq!((hasty.wanted, patient.wanted), (2, 4));
    let row: &[f32] = &[3.0, 2.0, 1.0];
    for beam in [&mut hasty, &mut patient] {
        assert_eq!(beam.step(&[row]).len(), 2, "one text has ended, two go on");
    }
    assert_eq!(hasty.step(&[row, row]).len(), 0);
    assert_eq!(patient.step(&[row, row]).len(), 2);
}

#[test]
fn a_length_penalty_makes_longer_texts_win() {
    let short = Found { tokens: vec![1], sum_logprob: -2.0 };
    let long = Found { tokens: vec![1, 2, 3, 4], sum_logprob: -2.9 };
    assert_eq!(best_of(vec![short.clone(), long.clone()], Some(0.0)), short);
    assert_eq!(best_of(vec![short.clone(), long.clone()], Some(1.0)), long);
    assert_eq!(best_of(vec![short, long.clone()], None), long);
}

proptest! {
    /// A beam that holds every text there is finds the likeliest.
    #[test]
    fn a_wide_beam_finds_the_best_of_all(most in 1usize..4, vocabulary in 3usize..5) {
        let all = every_text(vocabulary, most);
        let best = best_of(all.clone(), None);
        let found = play(Search::Beam(Beam::new(END, all.len(), 1.0)), vocabulary, most);
        prop_assert!((found.sum_logprob - best.sum_logprob).abs() < 1e-4, "{found:?} instead of {best:?}");
        prop_assert_eq!(found.tokens, best.tokens);
    }

    /// What is found has the probability that it is said to have.
    #[test]
    fn sums_are_right(size in 1usize..6, vocabulary in 8usize..20, most in 1usize..15) {
        let found = play(Search::Beam(Beam::new(END, size, 1.0)), vocabulary, most);
        let [open, ended] = [false, true].map(|is_ended| logprob_of(&found.tokens, vocabulary, is_ended));
        let apart = (found.sum_logprob - open).abs().min((found.sum_logprob - ended).abs());
        prop_assert!(apart < 1e-3, "{found:?}: {open} or {ended}");
    }

    #[test]
    fn the_same_seed_draws_the_same(seed: u64) {
        let one = play(Search::Greedy(Greedy::new(END, 0.8, 3, seed)), 20, 20);
        prop_assert_eq!(one, play(Search::Greedy(Greedy::new(END, 0.8, 3, seed)), 20, 20));
    }
}
