//! How good it is: word errors on sentences and voices that it has not heard.

use std::path::Path;

use pipeline::ml::whisper::Whisper;
use pipeline::ml::whisper::options::Options;
use tch::{Device, Kind};

use super::lessons::WINDOW;
use super::voices::{RATE, Reading};

/// What an exam found.
#[derive(Default)]
pub struct Marks {
    /// Words substituted, left out or made up.
    pub errors: usize,
    /// Words said.
    pub words: usize,
    /// Seconds by which starts and ends were missed, sorted.
    pub missed_s: Vec<f64>,
}

/// Lets the model in `folder`, as `kind`, write down `readings`, each with half a second of silence before it.
pub fn sit(folder: &Path, kind: Kind, readings: &[Reading]) -> Result<Marks, pipeline::ml::Error> {
    let model = Whisper::load_on(folder, Device::Cpu, kind)?;
    let options = Options { beam: None, temperatures: vec![0.0], ..Options::default() };
    let mut marks = Marks::default();
    for reading in readings {
        let mut samples = vec![0.0; WINDOW.max(reading.samples.len() + RATE / 2)];
        samples[RATE / 2..RATE / 2 + reading.samples.len()].copy_from_slice(&reading.samples);
        let heard = model.transcribe(&[&samples], &options)?.remove(0);
        let text: String = heard.segments.iter().map(|segment| segment.text.as_str()).collect();
        let [said, written] = [&reading.text, &text].map(|text| text.split_whitespace().collect::<Vec<_>>());
        marks.errors += distance(&said, &written);
        marks.words += said.len();
        let end_s = 0.5 + reading.samples.len() as f64 / RATE as f64;
        // A window's only segment begins with the window, whatever its first token says, so that is what counts here.
        let zero = model.vocabulary.special.zero;
        let tokens = heard.segments.iter().flat_map(|segment| &segment.tokens);
        let times: Vec<f64> =
            tokens.filter(|token| **token >= zero).map(|token| 0.02 * f64::from(token - zero)).collect();
        if let [first, .., last] = times.as_slice() {
            marks.missed_s.extend([(first - 0.5).abs(), (last - end_s).abs()]);
        }
    }
    marks.missed_s.sort_by(f64::total_cmp);
    Ok(marks)
}

/// Fewest words to substitute, leave out or add (Levenshtein 1966).
fn distance(said: &[&str], written: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=written.len()).collect();
    for (at, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (other, wrote) in written.iter().enumerate() {
            let best = (row[other].min(row[other + 1]) + 1).min(diagonal + usize::from(word != wrote));
            diagonal = std::mem::replace(&mut row[other + 1], best);
        }
    }
    row[written.len()]
}
