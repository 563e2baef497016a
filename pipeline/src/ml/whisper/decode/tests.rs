use std::convert::Infallible;

use super::rules::Times;
use super::*;

const END: u32 = 5;
const VOCABULARY: usize = 12;

/// A model whose logits follow from all that a row has read, and from its window.
struct Scripted {
    /// What each row has read, its window first.
    rows: Vec<Vec<u32>>,
    widths: Vec<usize>,
}

impl Scripted {
    fn logits(&mut self) -> Logits {
        self.widths.push(self.rows.len());
        let values = self.rows.iter().flat_map(|read| {
            let hash = read.iter().fold(7u64, |hash, token| hash.wrapping_mul(131).wrapping_add(u64::from(*token)));
            (0..VOCABULARY as u64).map(move |token| {
                let mixed = (hash ^ (token << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
                (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 4e6
            })
        });
        Logits { vocabulary: VOCABULARY, values: values.collect() }
    }
}

impl Scorer for Scripted {
    type Error = Infallible;

    fn begin(&mut self, prompts: &[Vec<u32>], at: usize) -> Result<(Logits, Logits), Infallible> {
        self.rows = prompts.iter().map(|prompt| prompt[..=at].to_vec()).collect();
        let at_start = self.logits();
        self.rows = prompts.to_vec();
        Ok((at_start, self.logits()))
    }

    fn step(&mut self, next: &[Next]) -> Result<Logits, Infallible> {
        self.rows = next.iter().map(|one| [self.rows[one.source].as_slice(), &[one.token]].concat()).collect();
        Ok(self.logits())
    }
}

fn plan(beam: Option<usize>) -> Plan {
    Plan {
        temperature: 0.0,
        best_of: 5,
        beam,
        patience: 1.0,
        length_penalty: None,
        most_tokens: 30,
        context: 40,
        seed: 1,
    }
}

const MARKS: Marks = Marks { end: END, no_speech: Some(3), start_at: 1 };

fn heard(prompts: &[Vec<u32>], rules: &Rules, plan: &Plan) -> (Vec<Heard>, Vec<usize>) {
    let mut scorer = Scripted { rows: Vec::new(), widths: Vec::new() };
    let Ok(heard) = decode(&mut scorer, prompts, rules, plan, &MARKS);
    (heard, scorer.widths)
}

fn prompts(count: u32) -> Vec<Vec<u32>> {
    (0..count).map(|window| vec![window, 4]).collect()
}

#[test]
fn a_window_gets_the_same_text_alone_and_in_a_batch() {
    for beam in [None, Some(3)] {
        let plan = plan(beam);
        let (together, _) = heard(&prompts(9), &Rules::default(), &plan);
        for (window, prompt) in prompts(9).into_iter().enumerate() {
            let (alone, _) = heard(&[prompt], &Rules::default(), &plan);
            assert_eq!(alone[0], together[window], "window {window} with beam {beam:?}");
        }
    }
}

#[test]
fn windows_that_are_done_leave_the_batch() {
    let (all, widths) = heard(&prompts(9), &Rules::default(), &plan(None));
    assert!(all.iter().any(|one| one.found.tokens.len() < 6), "{all:?}");
    assert!(widths.is_sorted_by(|a, b| a >= b) && widths.last() < widths.first(), "{widths:?}");
    let (_, widths) = heard(&prompts(4), &Rules::default(), &plan(Some(3)));
    assert_eq!(widths[..3], [4, 4, 12], "one row a window reads the prompt, then the beam spreads");
}

#[test]
fn texts_without_an_end_stop_at_the_context() {
    let rules = Rules { suppressed: vec![END], ..Rules::default() };
    let (all, _) = heard(&prompts(2), &rules, &plan(None));
    assert!(all.iter().all(|one| one.found.tokens.len() == 30));
    let (all, _) = heard(&prompts(2), &rules, &Plan { context: 20, ..plan(None) });
    assert!(all.iter().all(|one| one.found.tokens.len() == 19), "the prompt counts: {all:?}");
}

#[test]
fn the_probability_of_no_speech_is_that_where_the_transcript_starts() {
    let (all, _) = heard(&prompts(1), &Rules::default(), &plan(None));
    let mut scorer = Scripted { rows: vec![vec![0, 4]], widths: Vec::new() };
    let row = scorer.logits().values;
    let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
    assert!((all[0].no_speech - f64::from(row[3]).exp() / total).abs() < 1e-5);
}

#[test]
fn tries_above_temperature_zero_are_the_best_of_some() {
    let warm = Plan { temperature: 0.7, ..plan(Some(4)) };
    let (one, widths) = heard(&prompts(2), &Rules::default(), &warm);
    assert_eq!(widths[..3], [2, 2, 10]);
    assert_eq!(one, heard(&prompts(2), &Rules::default(), &warm).0, "the same seed draws the same");
}

#[test]
fn timestamps_obey_in_a_batch() {
    let times = Times { zero: 8, end: END, none: 7, latest_first: Some(1) };
    let rules = Rules { suppressed: vec![6], not_first: vec![0, END], times: Some(times) };
    for beam in [None, Some(4)] {
        for one in heard(&prompts(6), &rules, &plan(beam)).0 {
            let times: Vec<u32> = one.found.tokens.iter().copied().filter(|token| *token >= 8).collect();
            assert!(times.is_sorted() && times[0] <= 9, "{one:?}");
        }
    }
}

#[test]
fn nothing_is_heard_in_no_window() {
    assert_eq!(heard(&[], &Rules::default(), &plan(None)).0, []);
}
