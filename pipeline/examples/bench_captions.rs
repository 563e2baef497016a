//! What captions cost: a network of the size of Whisper base with weights by chance, against whisper.cpp and faster-whisper
//! with the same weights, on two threads each.
//!
//! `bench_captions [minutes]` takes 5 minutes of sound; `PYTHON` names an interpreter that has both
//! (`bench_captions/requirements.txt`). `RUNS` says how often everything is measured (3).

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

#[path = "bench_captions/model.rs"]
mod model;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use pipeline::ml::child::ALLOCATOR;
use pipeline::ml::whisper::Whisper;
use pipeline::ml::whisper::options::Options;
use serde::{Deserialize, Serialize};
use server::{Outcome, median, word};
use tch::{Device, Kind};

/// Samples of a window at 16 kHz.
const WINDOW: usize = 30 * 16_000;
/// Tokens that are written for each window.
const TOKENS: usize = 100;
const THREADS: usize = 2;
/// Spans that are heard together.
const BATCH: usize = 8;
/// Memory beside the weights, MB, and how many times the weights.
const BESIDE: f64 = 400.0;
const TIMES: f64 = 1.3;

/// What a program took.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Took {
    program: String,
    precision: String,
    /// Seconds in the encoder for a window.
    window_s: f64,
    /// Milliseconds in the decoder for a token.
    token_ms: f64,
    tokens: usize,
}

/// What the program at hand took, alone and with several spans together, and its peak of memory.
#[derive(Debug, Serialize, Deserialize)]
struct Ours {
    alone: Took,
    /// Seconds for a span, one by one and together.
    span_s: [f64; 2],
    peak_mb: f64,
}

fn options() -> Options {
    Options {
        language: Some("en".to_owned()),
        temperatures: vec![0.0],
        beam: None,
        with_times: false,
        most_tokens: Some(TOKENS),
        ..Options::default()
    }
}

/// Most memory that this process has had, MB.
fn peak_mb() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak of memory")?;
    Ok(line.trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

fn samples(audio: &Path) -> Outcome<Vec<f32>> {
    let bytes = std::fs::read(audio)?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

/// Runs the network as the pipeline does, in a process that does nothing else.
fn ours(folder: &Path, audio: &Path, kind: &str) -> Outcome<Ours> {
    tch::set_num_threads(i32::try_from(THREADS)?);
    let samples = samples(audio)?;
    let spans: Vec<&[f32]> = samples.chunks_exact(WINDOW).collect();
    let model = match kind {
        "float32" => Whisper::load_on(folder, Device::Cpu, Kind::Float)?,
        _ => Whisper::load(folder)?,
    };
    let (options, language) = (options(), Some("en"));
    let prompt = model.prompt(&options, language, &[])?;
    let frames = i64::try_from(model.window_frames())?;
    let (mut encoding, mut writing, mut tokens) = (0.0, 0.0, 0);
    // The first time everything is made ready.
    model.transcribe(&spans[..1], &options)?;
    for span in &spans {
        let mel = model.spectrogram(span)?.narrow(1, 0, frames);
        let begin = Instant::now();
        let heard = model.encode(&[mel])?;
        encoding += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let text = model.decode(&heard, std::slice::from_ref(&prompt), &options, 0.0)?;
        writing += begin.elapsed().as_secs_f64();
        tokens += text.iter().map(|heard| heard.found.tokens.len()).sum::<usize>();
    }
    let timed = |together: usize| -> Outcome<f64> {
        let begin = Instant::now();
        for some in spans.chunks(together) {
            model.transcribe(some, &options)?;
        }
        Ok(begin.elapsed().as_secs_f64() / spans.len() as f64)
    };
    let span_s = [timed(1)?, timed(BATCH)?];
    let alone = Took {
        program: "streamforge-ml".to_owned(),
        precision: model.precision().to_owned(),
        window_s: encoding / spans.len() as f64,
        token_ms: 1000.0 * writing / tokens.max(1) as f64,
        tokens,
    };
    Ok(Ours { alone, span_s, peak_mb: peak_mb()? })
}

fn told(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn show(took: &Took) {
    let Took { program, precision, window_s, token_ms, tokens } = took;
    println!("  {program:15} {precision:16} {window_s:7.3} s a window, {token_ms:7.2} ms a token ({tokens} tokens)");
}

fn compare(minutes: usize) -> Outcome<()> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let runs = server::runs();
    let place = tempfile::tempdir()?;
    let (folder, audio) = (place.path().join("model"), place.path().join("audio.f32"));
    let weights_mb = model::write(&folder)? as f64 / f64::from(1 << 20);
    std::fs::write(&audio, model::sound(2 * minutes * WINDOW))?;
    println!("{minutes} minutes of sound, {THREADS} threads, {weights_mb:.0} MB of weights in half precision:");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bench_captions/others.py");
    // Ratios of windows and of tokens: in the precision that is picked, and in the same one.
    let (mut all, mut alike): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    for run in 1..=runs {
        println!(" run {run}");
        let [ours, single] = ["best", "float32"].map(|precision| -> Outcome<Ours> {
            let arguments = ["ours".as_ref(), folder.as_os_str(), audio.as_os_str(), precision.as_ref()];
            let mut command = Command::new(std::env::current_exe()?);
            let told = told(command.args(arguments).env(ALLOCATOR.0, ALLOCATOR.1))?;
            let ours: Ours = serde_json::from_str(&told)?;
            show(&ours.alone);
            Ok(ours)
        });
        let (ours, single) = (ours?, single?);
        let [alone, together] = ours.span_s;
        println!(
            "  {alone:.3} s a span one by one, {together:.3} s with {BATCH} together: {:.2} times as fast",
            alone / together
        );
        let most_mb = TIMES * weights_mb + BESIDE;
        let is_small = word(ours.peak_mb <= most_mb);
        println!("  {:.0} MB at most (goal {most_mb:.0} MB: {is_small})", ours.peak_mb);
        let counts = [TOKENS, THREADS].map(|count| count.to_string());
        let others = told(Command::new(&python).arg(&script).arg(&folder).arg(&audio).args(counts))?;
        let others: Vec<Took> = others.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        others.iter().for_each(show);
        for (ratios, ours, precision) in [(&mut all, &ours.alone, ""), (&mut alike, &single.alone, "float32")] {
            let rivals: Vec<&Took> = others.iter().filter(|took| took.precision.starts_with(precision)).collect();
            let best = |of: fn(&Took) -> f64| rivals.iter().map(|took| of(took)).fold(f64::INFINITY, f64::min);
            ratios[0].push(ours.window_s / best(|took| took.window_s));
            ratios[1].push(ours.token_ms / best(|took| took.token_ms));
        }
    }
    for (what, [windows, tokens]) in [("the best other one", &mut all), ("the other one in float32", &mut alike)] {
        for (part, ratios) in [("encoder", windows), ("decoder", tokens)] {
            let ratio = median(ratios);
            println!("  {part}: median {ratio:.2} of {what} (goal 1.0: {})", word(ratio <= 1.0));
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ours", folder, audio, kind] => {
            println!("{}", serde_json::to_string(&ours(Path::new(folder), Path::new(audio), kind)?)?);
            Ok(())
        }
        [] => compare(5),
        [minutes] => compare(minutes.parse()?),
        _ => Err("usage: bench_captions [minutes]".into()),
    }
}
