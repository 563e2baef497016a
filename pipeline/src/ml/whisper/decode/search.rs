//! How the next token is chosen, and which of the texts found is the best: greedy, by sampling, or by beam search.
//!
//! One [`Search`] is about one window. It begins with one row, the prompt, and tells after each step which rows go on. No
//! tensors here: what goes in are rows of logits after the [`Rules`](super::rules::Rules), what comes out are tokens.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::logits;

/// A row that goes on: with which token, and whose memory it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The row before the step, counted within this window.
    pub source: usize,
    /// Its next token.
    pub token: u32,
}

/// The text that a search settled on.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Tokens after the prompt, without the one that ends the text.
    pub tokens: Vec<u32>,
    /// Sum of the log probabilities of these tokens and of the end.
    pub sum_logprob: f64,
}

impl Found {
    /// The mean log probability of a token, the end included.
    pub fn avg_logprob(&self) -> f64 {
        self.sum_logprob / (self.tokens.len() + 1) as f64
    }
}

/// A text that grows.
#[derive(Clone, Debug, Default)]
struct Row {
    sampled: Vec<u32>,
    sum: f64,
}

/// The search for the text of one window.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one a window")]
pub enum Search {
    /// The likeliest token, or one by chance.
    Greedy(Greedy),
    /// The likeliest texts.
    Beam(Beam),
}

impl Search {
    /// How many rows the next step needs logits for.
    pub fn rows(&self) -> usize {
        match self {
            Self::Greedy(search) => search.rows.len(),
            Self::Beam(search) => search.rows.len(),
        }
    }

    /// What row number `row` has after the prompt.
    pub fn sampled(&self, row: usize) -> &[u32] {
        let rows = match self {
            Self::Greedy(search) => &search.rows,
            Self::Beam(search) => &search.rows,
        };
        rows.get(row).map_or(&[], |row| &row.sampled)
    }

    /// Takes a row of logits for each row; answers which rows go on, none when the search is over.
    pub fn step(&mut self, logits: &[&[f32]]) -> Vec<Next> {
        match self {
            Self::Greedy(search) => search.step(logits),
            Self::Beam(search) => search.step(logits),
        }
    }

    /// The best text, `penalty` being the exponent of the length penalty; without one, the mean decides.
    pub fn finish(self, penalty: Option<f64>) -> Found {
        let found = match self {
            Self::Greedy(search) => search.finish(),
            Self::Beam(search) => search.finish(),
        };
        best_of(found, penalty)
    }
}

/// The first of the texts with the highest score (Wu et al. 2016, section 7, for the penalty).
fn best_of(found: Vec<Found>, penalty: Option<f64>) -> Found {
    let score = |one: &Found| {
        let length = one.tokens.len() as f64;
        let divisor = penalty.map_or(length.max(1.0), |alpha| ((5.0 + length) / 6.0).powf(alpha));
        one.sum_logprob / divisor
    };
    let first_best = found.into_iter().reduce(|best, one| if score(&one) > score(&best) { one } else { best });
    first_best.unwrap_or(Found { tokens: Vec::new(), sum_logprob: 0.0 })
}

/// Each row takes the likeliest token, or at a temperature one by chance; several rows are several tries.
#[derive(Debug)]
pub struct Greedy {
    end: u32,
    temperature: f32,
    tries: usize,
    rows: Vec<Row>,
    dice: StdRng,
}

impl Greedy {
    /// `tries` texts at `temperature`; at 0 there is only one. The same `seed` draws the same.
    pub fn new(end: u32, temperature: f32, tries: usize, seed: u64) -> Self {
        let tries = if temperature > 0.0 { tries.max(1) } else { 1 };
        Self { end, temperature, tries, rows: vec![Row::default()], dice: StdRng::seed_from_u64(seed) }
    }

    fn is_done(&self, row: &Row) -> bool {
        row.sampled.last() == Some(&self.end)
    }

    fn step(&mut self, logits: &[&[f32]]) -> Vec<Next> {
        let sources: Vec<usize> = (0..self.tries).map(|row| row.min(self.rows.len() - 1)).collect();
        let mut rows: Vec<Row> = sources.iter().map(|source| self.rows[*source].clone()).collect();
        let mut next = Vec::with_capacity(rows.len());
        for (row, source) in rows.iter_mut().zip(sources) {
            let is_done = self.is_done(row);
            let of_row = logits.get(source).copied().unwrap_or(&[]);
            let token = if is_done {
                self.end
            } else if self.temperature > 0.0 {
                logits::drawn(of_row, self.temperature, self.dice.random())
            } else {
                logits::best(of_row)
            };
            if !is_done {
                row.sum += logprob(of_row, token, logits::log_sum_exp(of_row));
                row.sampled.push(token);
            }
            next.push(Next { source, token });
        }
        self.rows = rows;
        if self.rows.iter().all(|row| self.is_done(row)) { Vec::new() } else { next }
    }

    fn finish(self) -> Vec<Found> {
        let end = self.end;
        self.rows.into_iter().map(|row| found(row.sampled, row.sum, end)).collect()
    }
}

fn found(mut tokens: Vec<u32>, sum_logprob: f64, end: u32) -> Found {
    if let Some(at) = tokens.iter().position(|token| *token == end) {
        tokens.truncate(at);
    }
    Found { tokens, sum_logprob }
}

fn logprob(logits: &[f32], token: u32, sum: f32) -> f64 {
    logits.get(token as usize).map_or(f64::NEG_INFINITY, |logit| f64::from(logit - sum))
}

/// The `size` likeliest texts grow side by side; it is over when `patience * size` of them have ended.
#[derive(Debug)]
pub struct Beam {
    end: u32,
    size: usize,
    wanted: usize,
    rows: Vec<Row>,
    ended: Vec<Found>,
}

impl Beam {
    /// A beam of `size` rows (Kasai et al. 2022 for `patience`; 1 is plain beam search).
    pub fn new(end: u32, size: usize, patience: f64) -> Self {
        let size = size.max(1);
        // Half to even, as the reference rounds.
        let wanted = ((size as f64 * patience).round_ties_even() as usize).max(1);
        Self { end, size, wanted, rows: vec![Row::default()], ended: Vec::new() }
    }

    fn step(&mut self, logits: &[&[f32]]) -> Vec<Next> {
        let mut candidates: Vec<(f64, Next)> = Vec::with_capacity(self.rows.len() * (self.size + 1));
        for (source, (row, of_row)) in self.rows.iter().zip(logits).enumerate() {
            let sum = logits::log_sum_exp(of_row);
            for token in logits::top(of_row, self.size + 1) {
                candidates.push((row.sum + logprob(of_row, token, sum), Next { source, token }));
            }
        }
        candidates.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut rows = Vec::with_capacity(self.size);
        let mut next = Vec::with_capacity(self.size);
        for (sum, one) in candidates {
            let sampled = &self.rows[one.source].sampled;
            if one.token == self.end {
                if self.ended.len() < self.wanted {
                    self.ended.push(Found { tokens: sampled.clone(), sum_logprob: sum });
                }
                continue;
            }
            let sampled = sampled.iter().copied().chain([one.token]).collect();
            rows.push(Row { sampled, sum });
            next.push(one);
            if rows.len() == self.size {
                break;
            }
        }
        self.rows = rows;
        if self.ended.len() >= self.wanted { Vec::new() } else { next }
    }

    fn finish(mut self) -> Vec<Found> {
        // The best of what has not ended fills up.
        self.rows.sort_by(|a, b| b.sum.total_cmp(&a.sum));
        let missing = self.size.saturating_sub(self.ended.len());
        let rest = self.rows.into_iter().take(missing);
        self.ended.extend(rest.map(|row| Found { tokens: row.sampled, sum_logprob: row.sum }));
        self.ended
    }
}

#[cfg(test)]
mod tests;
