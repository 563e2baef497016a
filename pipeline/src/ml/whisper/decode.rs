//! From logits to tokens, as the reference decodes; no tensors in here.
//!
//! Radford et al. 2022, section 4.5. What computes logits is behind [`Scorer`], so that all of this is tested without a
//! model.
//!
//! # Layout
//! - here: the loop over a batch of windows
//! - [`rules`]: which tokens may come; [`search`]: which one is taken; [`logits`]: numbers over one row
//! - [`judge`]: whether a text is to be believed; [`window`]: segments of a text, and where the next window begins

pub mod judge;
pub mod logits;
pub mod rules;
pub mod search;
pub mod window;

use rules::Rules;
use search::{Beam, Found, Greedy, Next, Search};

/// Rows of logits, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// `[rows * vocabulary]`.
    pub values: Vec<f32>,
}

impl Logits {
    /// Row by row.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.vocabulary.max(1))
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_mut(self.vocabulary.max(1))
    }
}

/// Computes logits for a batch of windows and remembers what it has read.
pub trait Scorer {
    /// What can go wrong.
    type Error;

    /// Reads one prompt for each window, all of one length; one row each. Answers the logits after the tokens number `at`, and
    /// after the last ones.
    fn begin(&mut self, prompts: &[Vec<u32>], at: usize) -> Result<(Logits, Logits), Self::Error>;

    /// Reads one more token for each row that goes on; `source` is its row in the call before. Rows of one window stay together
    /// and in order, and each window that goes on has equally many.
    fn step(&mut self, next: &[Next]) -> Result<Logits, Self::Error>;
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Tries above temperature 0, of which the best is kept.
    pub best_of: usize,
    /// Rows of a beam at temperature 0; absent: greedy.
    pub beam: Option<usize>,
    /// How many more texts than rows a beam waits for; 1 is plain.
    pub patience: f64,
    /// Exponent of the length penalty; absent: the mean log probability decides.
    pub length_penalty: Option<f64>,
    /// Most tokens after the prompt.
    pub most_tokens: usize,
    /// Most tokens with the prompt.
    pub context: usize,
    /// What chance above temperature 0 depends on.
    pub seed: u64,
}

/// Tokens with a meaning of their own that the loop needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Ends a text.
    pub end: u32,
    /// Says that nobody speaks; some vocabularies have none.
    pub no_speech: Option<u32>,
    /// Where in the prompt the transcript starts.
    pub start_at: usize,
}

/// What was found for one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The text and how likely it is.
    pub found: Found,
    /// Probability that nobody speaks; not a number when the vocabulary has no token for it.
    pub no_speech: f64,
}

/// Decodes a batch of windows, one prompt each and all of one length.
pub fn decode<S: Scorer>(
    scorer: &mut S,
    prompts: &[Vec<u32>],
    rules: &Rules,
    plan: &Plan,
    marks: &Marks,
) -> Result<Vec<Heard>, S::Error> {
    let Some(length) = prompts.first().map(Vec::len) else { return Ok(Vec::new()) };
    let (at_start, mut logits) = scorer.begin(prompts, marks.start_at)?;
    let no_speech: Vec<f64> = at_start.rows().map(|row| probability(row, marks.no_speech)).collect();
    let mut searches: Vec<Search> = prompts.iter().map(|_| search(plan, marks)).collect();
    // Windows whose search goes on, in the order of the rows.
    let mut open: Vec<usize> = (0..prompts.len()).collect();
    for step in 1..=plan.most_tokens {
        apply(rules, &searches, &open, &mut logits);
        let (next, still_open) = advance(&mut searches, &open, &logits);
        open = still_open;
        if open.is_empty() || step == plan.most_tokens || length + step > plan.context {
            break;
        }
        logits = scorer.step(&next)?;
    }
    let found = searches.into_iter().map(|search| search.finish(plan.length_penalty));
    Ok(found.zip(no_speech).map(|(found, no_speech)| Heard { found, no_speech }).collect())
}

fn search(plan: &Plan, marks: &Marks) -> Search {
    match plan.beam.filter(|_| plan.temperature <= 0.0) {
        Some(size) => Search::Beam(Beam::new(marks.end, size, plan.patience)),
        // Each window has dice of its own, so that it does not matter which others are in the batch.
        None => Search::Greedy(Greedy::new(marks.end, plan.temperature, plan.best_of, plan.seed)),
    }
}

fn probability(row: &[f32], token: Option<u32>) -> f64 {
    let logit = token.and_then(|token| row.get(token as usize));
    logit.map_or(f64::NAN, |logit| f64::from(logit - logits::log_sum_exp(row)).exp())
}

fn apply(rules: &Rules, searches: &[Search], open: &[usize], logits: &mut Logits) {
    let sampled = open.iter().flat_map(|window| {
        let search = &searches[*window];
        (0..search.rows()).map(|row| search.sampled(row))
    });
    for (row, sampled) in logits.rows_mut().zip(sampled) {
        rules.apply(sampled, row);
    }
}

/// One step of every open search; which rows go on, and which windows.
fn advance(searches: &mut [Search], open: &[usize], logits: &Logits) -> (Vec<Next>, Vec<usize>) {
    let rows: Vec<&[f32]> = logits.rows().collect();
    let (mut first, mut next, mut still_open) = (0, Vec::new(), Vec::new());
    for window in open {
        let search = &mut searches[*window];
        let count = search.rows();
        let of_window = rows.get(first..first + count).unwrap_or(&[]);
        let goes_on = search.step(of_window);
        if !goes_on.is_empty() {
            still_open.push(*window);
        }
        next.extend(goes_on.into_iter().map(|one| Next { source: first + one.source, ..one }));
        first += count;
    }
    (next, still_open)
}

#[cfg(test)]
mod tests;
