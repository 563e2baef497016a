//! Reads back from any file or playlist what [`crate::clip`] drew into it, with the times at which it is presented.
//!
//! ffmpeg decodes; pictures are shrunk to four by four pixels a cell. Times are the container's own (`-copyts`), edit
//! lists applied, so that a start offset or a shift between the tracks is seen.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::clip::{self, BITS, PATCHES};
use crate::sound::{Block, Heard};

const COLUMNS: usize = 64;
const ROWS: usize = 36;
const PIXEL: usize = 3;

/// One presented picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Presentation time, seconds.
    pub at: f64,
    /// The number that its bars spell, when they spell one.
    pub number: Option<u32>,
    /// Whether the flash is on.
    pub is_flash: bool,
    /// Mean red, green and blue of each patch.
    pub patches: [[u8; 3]; PATCHES.len()],
    /// Brightness of a black field.
    pub black: u8,
}

/// Everything that was presented.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Pictures of each video track that was asked for.
    pub videos: Vec<Vec<Picture>>,
    /// The first audio track, when it was asked for.
    pub sound: Option<Heard>,
}

impl Measured {
    /// Pictures of the first video track.
    pub fn pictures(&self) -> &[Picture] {
        self.videos.first().map_or(&[], Vec::as_slice)
    }

    /// When the first picture or sample is presented.
    pub fn origin(&self) -> f64 {
        let picture = self.pictures().first().map(|picture| picture.at);
        let sound = self.sound.as_ref().and_then(Heard::begin);
        picture.into_iter().chain(sound).fold(f64::INFINITY, f64::min)
    }
}

/// Decodes `input` (a file or an address): its first `videos` video tracks and, if `audio`, its first audio track.
pub async fn measure(input: &str, videos: usize, audio: bool) -> Result<Measured, String> {
    measure_with("", input, videos, audio).await
}

/// The same with options for the decoders.
pub async fn measure_with(options: &str, input: &str, videos: usize, audio: bool) -> Result<Measured, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("make a folder: {error}"))?;
    let mut graphs = Vec::new();
    let mut outputs: Vec<String> = Vec::new();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for track in 0..videos {
        graphs.push(format!(
            "[0:v:{track}]scale={COLUMNS}:{ROWS}:flags=area+accurate_rnd,format=rgb24,showinfo@v{track}[v{track}]"
        ));
        let raw = file(&format!("v{track}"));
        outputs.extend(
            ["-map", &format!("[v{track}]"), "-fps_mode", "passthrough", "-f", "rawvideo", &raw].map(String::from),
        );
    }
    if audio {
        graphs.push("[0:a:0]pan=mono|c0=c0,aformat=flt,ashowinfo@a0[a0]".to_owned());
        outputs.extend(["-map", "[a0]", "-f", "f32le", &file("a0")].map(String::from));
    }
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "info", "-nostats", "-y", "-copyts"])
        .args(options.split_whitespace())
        .args(["-i", input])
        .args(["-filter_complex", &graphs.join(";")])
        .args(outputs)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("start ffmpeg: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        return Err(format!("decode {input}: {}", lines[lines.len().saturating_sub(3)..].join(" / ")));
    }
    let notes = Notes::read(&said);
    let videos = (0..videos).map(|track| pictures(&notes, folder.path(), track)).collect::<Result<_, _>>()?;
    Ok(Measured { videos, sound: if audio { Some(heard(&notes, folder.path())?) } else { None } })
}

/// What the filters said of each frame, by the filter's name.
#[derive(Default)]
struct Notes {
    ticks: HashMap<String, f64>,
    frames: HashMap<String, Vec<HashMap<String, String>>>,
}

impl Notes {
    fn read(said: &str) -> Self {
        let mut notes = Self::default();
        for line in said.lines() {
            let Some((head, text)) = line.split_once("] ") else { continue };
            let Some(filter) = head.strip_prefix('[').and_then(|head| head.split(' ').next()) else { continue };
            let Some((_, filter)) = filter.split_once("showinfo@") else { continue };
            if let Some(rest) = text.strip_prefix("config in time_base: ") {
                let base = rest.split(',').next().unwrap_or_default();
                if let Some((num, den)) = base.split_once('/') {
                    let tick = num.parse::<f64>().unwrap_or(0.0) / den.parse::<f64>().unwrap_or(1.0);
                    notes.ticks.insert(filter.to_owned(), tick);
                }
            } else if text.starts_with("n:") {
                // `key:value` and `key: value` both occur.
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(": ", ":");
                let pairs = text.split(' ').filter_map(|pair| pair.split_once(':'));
                let frame = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                notes.frames.entry(filter.to_owned()).or_default().push(frame);
            }
        }
        notes
    }

    fn of(&self, filter: &str) -> &[HashMap<String, String>] {
        self.frames.get(filter).map_or(&[], Vec::as_slice)
    }
}

fn number(frame: &HashMap<String, String>, key: &str) -> Result<f64, String> {
    let value = frame.get(key).map_or("", String::as_str);
    value.parse().map_err(|_| format!("a frame has no {key} but `{value}`"))
}

fn pictures(notes: &Notes, folder: &Path, track: usize) -> Result<Vec<Picture>, String> {
    let name = format!("v{track}");
    let raw = std::fs::read(folder.join(&name)).map_err(|error| format!("read pictures: {error}"))?;
    let frames = notes.of(&name);
    let size = COLUMNS * ROWS * PIXEL;
    if raw.len() != frames.len() * size {
        return Err(format!("{} pictures were announced, {} came", frames.len(), raw.len() / size));
    }
    let tick = notes.ticks.get(&name).copied().unwrap_or(0.0);
    let pairs = frames.iter().zip(raw.chunks_exact(size));
    pairs.map(|(frame, pixels)| Ok(look(number(frame, "pts")? * tick, pixels))).collect()
}

/// Mean colour of a field: centre in cells, half its width and height in pixels.
fn mean(pixels: &[u8], column: f64, row: f64, half_width: usize, half_height: usize) -> [u8; 3] {
    let (x, y) = ((column * 4.0) as usize, (row * 4.0) as usize);
    let mut sums = [0_u32; 3];
    for line in y - half_height..y + half_height {
        for place in x - half_width..x + half_width {
            for (sum, value) in sums.iter_mut().zip(&pixels[(line * COLUMNS + place) * PIXEL..]) {
                *sum += u32::from(*value);
            }
        }
    }
    sums.map(|sum| (sum / (4 * half_width * half_height) as u32) as u8)
}

fn brightness(colour: [u8; 3]) -> f64 {
    f64::from(colour[0]) * 0.299 + f64::from(colour[1]) * 0.587 + f64::from(colour[2]) * 0.114
}

fn look(at: f64, pixels: &[u8]) -> Picture {
    let field = |bit: usize| {
        let (column, row) = clip::bar_cell(bit);
        brightness(mean(pixels, column as f64 + 1.0, row as f64 + 0.5, 2, 1))
    };
    let white = field(BITS + 1);
    let black = brightness(mean(pixels, 8.0, 2.5, 20, 1));
    let half = (white + black) / 2.0;
    let is_clear = white - black > 60.0;
    let bits: Vec<Option<bool>> = (0..=BITS)
        .map(|bit| {
            let value = field(bit);
            let is_sure = is_clear && (value - half).abs() > 0.2 * (white - black);
            is_sure.then_some(value > half)
        })
        .collect();
    let number = bits.iter().copied().collect::<Option<Vec<bool>>>().and_then(|bits| {
        let ones = bits.iter().filter(|bit| **bit).count();
        let value = bits[..BITS].iter().enumerate().map(|(place, bit)| u32::from(*bit) << place).sum();
        (ones % 2 == 0).then_some(value)
    });
    let patches = std::array::from_fn(|place| mean(pixels, 7.0 + 2.0 * place as f64, 6.5, 2, 4));
    let is_flash = brightness(mean(pixels, 3.0, 6.5, 5, 4)) > half;
    Picture { at, number, is_flash, patches, black: black as u8 }
}

fn heard(notes: &Notes, folder: &Path) -> Result<Heard, String> {
    let raw = std::fs::read(folder.join("a0")).map_err(|error| format!("read samples: {error}"))?;
    let samples: Vec<f32> =
        raw.chunks_exact(4).map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]])).collect();
    let mut blocks = Vec::new();
    let (mut first, mut rate) = (0, 0.0);
    for frame in notes.of("a0") {
        rate = number(frame, "rate")?;
        let count = number(frame, "nb_samples")? as usize;
        blocks.push(Block { at: number(frame, "pts")? / rate, first, count });
        first += count;
    }
    if first != samples.len() {
        return Err(format!("{first} samples were announced, {} came", samples.len()));
    }
    Ok(Heard { rate, blocks, samples })
}
