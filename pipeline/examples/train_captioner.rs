//! Trains a small captioner from nothing, on synthetic English, on a processor:
//! `cargo run --release --example train_captioner -- FOLDER [--minutes 40]`.
//!
//! It shows that the network learns, and makes the model of the tests: it knows the 74 words of one grammar in the voices of
//! espeak-ng, and is of no use for real speech. The same command goes on where it was stopped. What it learns from is the
//! text with its times (Radford et al. 2022, section 2.1); a second output, which is thrown away, spells the words from the
//! encoder alone (connectionist temporal classification, Graves et al. 2006), so that attention finds its place sooner.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipeline::ml::weights::Parameters;
use pipeline::ml::whisper::config::{Config, Generation};
use pipeline::ml::whisper::decoder::Decoder;
use pipeline::ml::whisper::encoder::Encoder;
use pipeline::ml::whisper::mel::Mel;
use pipeline::ml::whisper::vocabulary::Vocabulary;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Reduction, Tensor};

#[path = "train_captioner/exam.rs"]
mod exam;
#[path = "train_captioner/folder.rs"]
mod folder;
#[path = "train_captioner/grammar.rs"]
mod grammar;
#[path = "train_captioner/lessons.rs"]
mod lessons;
#[path = "train_captioner/pupil.rs"]
mod pupil;
#[path = "train_captioner/readings.rs"]
mod readings;
#[path = "train_captioner/voices.rs"]
mod voices;

use lessons::Lesson;
use pupil::Pupil;
use readings::readings;
use voices::Reading;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const READINGS: usize = 4000;
const EXAM: usize = 100;
const BATCH: usize = 16;
const HIGHEST_RATE: f64 = 1.5e-3;
const WARMING: usize = 150;
/// Weight of the second output.
const SPELLING: f64 = 0.5;

/// How far it has come; beside the parameters, so that it can go on.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    steps: usize,
    seconds: f64,
}

struct School {
    pupil: Pupil,
    encoder: Encoder,
    decoder: Decoder,
    /// `[tokens + 1, d]`, the last is for nothing.
    speller: Tensor,
    vocabulary: Vocabulary,
    mel: Mel,
}

impl School {
    fn open(folder: &Path) -> Outcome<Self> {
        let config = Config::read(folder)?;
        let vocabulary = Vocabulary::read(folder, &config, &Generation::read(folder)?)?;
        let mut pupil = Pupil::default();
        let encoder = Encoder::take(&mut pupil, &config)?;
        let decoder = Decoder::take(&mut pupil, &config)?;
        let speller = pupil.take("speller.weight", &[config.vocab_size + 1, config.d_model])?;
        Ok(Self { pupil, encoder, decoder, speller, vocabulary, mel: Mel::new(config.num_mel_bins, Device::Cpu)? })
    }

    /// What is wrong: with the text, and with the spelling.
    fn losses(&self, lesson: &Lesson) -> Outcome<(Tensor, Tensor)> {
        let audio = self.encoder.apply(&lesson.mel)?;
        let read = self.decoder.read(&lesson.inputs, &mut self.decoder.listen(&audio)?)?;
        let logits = self.decoder.logits(&read)?;
        let tokens = logits.size()[2];
        let text = logits.view([-1, tokens]).cross_entropy_loss::<Tensor>(
            &lesson.targets.view([-1]),
            None,
            Reduction::Mean,
            lessons::NOTHING,
            0.0,
        );
        let (spelled, lengths) = &lesson.spelled;
        let scores = audio.linear::<Tensor>(&self.speller, None).log_softmax(-1, None::<Kind>).transpose(0, 1);
        let (positions, windows) = (scores.size()[0], lengths.len());
        let heard = vec![positions; windows];
        let spelling = Tensor::f_ctc_loss(
            &scores,
            &Tensor::from_slice(spelled),
            &heard[..],
            &lengths[..],
            tokens,
            Reduction::Mean,
            true,
        )?;
        Ok((text, spelling))
    }
}

/// Up, then down to nothing along a cosine.
fn rate(step: usize, share: f64) -> f64 {
    let warm = (step as f64 / WARMING as f64).min(1.0);
    HIGHEST_RATE * warm * (0.5 + 0.5 * (std::f64::consts::PI * share.min(1.0)).cos()).max(0.01)
}

fn examine(folder: &Path, exam: &[Reading]) -> Outcome<f64> {
    let marks = exam::sit(folder, Kind::Float, exam)?;
    let share = marks.errors as f64 / marks.words.max(1) as f64;
    let missed =
        |share: f64| marks.missed_s.get((marks.missed_s.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "  {} of {} words wrong in sentences and voices not heard before: {:.1} %; times missed by {:.2} s, p90 {:.2} s",
        marks.errors,
        marks.words,
        share * 100.0,
        missed(0.5),
        missed(0.9)
    );
    Ok(share)
}

fn train(folder: &Path, minutes: f64) -> Outcome<()> {
    let mut dice = StdRng::seed_from_u64(1);
    tch::manual_seed(1);
    let begin = Instant::now();
    let exam = readings(EXAM, false, &mut dice)?;
    let lessons = readings(READINGS, true, &mut dice)?;
    println!("{} readings of {} words in {:.0} s", READINGS, grammar::words().len(), begin.elapsed().as_secs_f64());
    if !folder.join("config.json").exists() {
        folder::write(folder, lessons.iter().map(|reading| format!(" {}", reading.text)))?;
    }
    let mut school = School::open(folder)?;
    println!("{} parameters", school.pupil.size());
    let (state, at) = (folder.join("training.safetensors"), folder.join("training.json"));
    let mut progress = Progress::default();
    if state.exists() {
        school.pupil.resume(&state)?;
        progress = serde_json::from_slice(&std::fs::read(&at)?)?;
        println!("going on after {} steps, {:.0} s", progress.steps, progress.seconds);
    }
    let before = progress.seconds;
    let mut dice = StdRng::seed_from_u64(progress.steps as u64);
    let (mut told, mut sums) = (Instant::now(), (0.0, 0.0, 0usize));
    loop {
        progress.seconds = before + begin.elapsed().as_secs_f64();
        let share = progress.seconds / (minutes * 60.0);
        let is_over = share >= 1.0;
        if is_over || told.elapsed() > Duration::from_secs(120) {
            let count = sums.2.max(1) as f64;
            println!(
                "step {:5} {:5.0} s  text {:.3}  spelling {:.3}",
                progress.steps,
                progress.seconds,
                sums.0 / count,
                sums.1 / count
            );
            school.pupil.save(&state)?;
            std::fs::write(&at, serde_json::to_vec(&progress)?)?;
            folder::write_weights(folder, school.pupil.weights("model."))?;
            examine(folder, &exam[..if is_over { EXAM } else { EXAM / 5 }])?;
            (told, sums) = (Instant::now(), (0.0, 0.0, 0));
        }
        if is_over {
            return Ok(());
        }
        let lesson = lessons::draw(&lessons, &school.vocabulary, &school.mel, BATCH, &mut dice)?;
        let (text, spelling) = school.losses(&lesson)?;
        (&text + &spelling * SPELLING).backward();
        progress.steps += 1;
        school.pupil.step(progress.steps, rate(progress.steps, share));
        sums = (sums.0 + text.double_value(&[]), sums.1 + spelling.double_value(&[]), sums.2 + 1);
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [folder] => train(&PathBuf::from(folder), 40.0),
        [folder, "--minutes", minutes] => train(&PathBuf::from(folder), minutes.parse()?),
        _ => Err("usage: train_captioner FOLDER [--minutes 40]".into()),
    }
}
