//! Videos with sound that says when it should be heard.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The sentences that are spoken.
pub const SENTENCES: [&str; 2] =
    ["The quick brown fox jumps over the lazy dog near the river bank.", "We will meet again tomorrow at seven."];

/// Seconds before the first sentence, and between the two.
pub const PAUSE_S: f64 = 2.5;

/// Runs ffmpeg with `arguments` and writes `file`.
pub fn ffmpeg(arguments: &[&str], file: &Path) {
    let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).arg(file).status();
    assert!(made.expect("ffmpeg is installed").success(), "ffmpeg {arguments:?}");
}

/// A video in `folder` whose sound is the graph `sound`, encoded as `codec`.
pub fn video(folder: &Path, name: &str, sound: &str, codec: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5"];
    let coded = ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", "-shortest"];
    ffmpeg(&[&pictures[..], &["-f", "lavfi", "-i", sound], &coded[..], codec].concat(), &file);
    file
}

/// The same with the sound of a file.
pub fn with_sound(folder: &Path, name: &str, sound: &Path, codec: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5"];
    let coded = ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", "-shortest"];
    ffmpeg(&[&pictures[..], &["-i", sound.to_str().unwrap()], &coded[..], codec].concat(), &file);
    file
}

/// Speech in a file of 16 kHz mono, and when each sentence is spoken, milliseconds.
pub struct Speech {
    /// The file.
    pub wav: PathBuf,
    /// From its first to its last sound.
    pub times: Vec<std::ops::Range<u64>>,
}

/// `sentences` in the voice `voice` at `speed` words a minute, a pause before each and after the last; `noise_db` below the
/// speech there is pink noise.
pub fn speech(folder: &Path, voice: &str, speed: u32, sentences: &[&str], noise_db: Option<f64>) -> Speech {
    let mut samples: Vec<f32> = Vec::new();
    let mut times = Vec::new();
    for (number, sentence) in sentences.iter().enumerate() {
        samples.extend(vec![0.0; (PAUSE_S * 16_000.0) as usize]);
        let wav = folder.join(format!("{voice}-{number}.wav"));
        let mut espeak = Command::new("espeak-ng");
        espeak.args(["-v", voice, "-s", &speed.to_string(), "-w"]).arg(&wav).arg(sentence);
        assert!(espeak.status().expect("espeak-ng is installed").success(), "{voice}");
        let said = floats(&["-i", wav.to_str().unwrap()]);
        let is_loud = |sample: &f32| sample.abs() > 0.01;
        let ms = |at: usize| (at as u64) / 16;
        let from = samples.len() + said.iter().position(is_loud).unwrap();
        let to = samples.len() + said.iter().rposition(is_loud).unwrap();
        times.push(ms(from)..ms(to));
        samples.extend(said);
    }
    samples.extend(vec![0.0; (PAUSE_S * 16_000.0) as usize]);
    if let Some(below_db) = noise_db {
        let spoken: Vec<f32> = samples.iter().copied().filter(|sample| *sample != 0.0).collect();
        let length = format!("anoisesrc=c=pink:r=16000:a=0.3:seed=7:d={}", samples.len() as f64 / 16_000.0);
        let noise = floats(&["-f", "lavfi", "-i", &length]);
        let gain = loudness(&spoken) / loudness(&noise) * 10_f32.powf(-below_db as f32 / 20.0);
        samples.iter_mut().zip(noise).for_each(|(sample, noise)| *sample += gain * noise);
    }
    let wav = folder.join(format!("{voice}-speech.wav"));
    let raw = wav.with_extension("f32");
    std::fs::write(&raw, samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    ffmpeg(&["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", raw.to_str().unwrap(), "-c:a", "pcm_s16le"], &wav);
    Speech { wav, times }
}

/// Root mean square.
pub fn loudness(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// Sound as ffmpeg decodes it to 16 kHz mono.
fn floats(input: &[&str]) -> Vec<f32> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(input)
        .args(["-f", "f32le", "-ar", "16000", "-ac", "1", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}
