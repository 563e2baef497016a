//! Test clips: moving pictures that carry their own numbers, sound that says when it should be heard.
//!
//! The picture is a grid of 16 by 9 cells, whatever its size: two rows of bars spell the frame's number (twelve bits, a
//! parity bar and a bar that is always white), a block below flashes for 80 ms at every full second, patches of known
//! colour stand beside it. The sound is a quiet tone of 400 Hz without end and a loud one of 1 kHz during each flash.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Bits of the frame's number.
pub const BITS: usize = 12;

/// Colours of the patches, from left to right.
pub const PATCHES: [&str; 5] = ["red", "green", "blue", "gray", "white"];

/// The endless tone, hertz.
pub const TONE_HZ: f64 = 400.0;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second as ffmpeg reads it.
    pub rate: &'static str,
    /// Length.
    pub seconds: f64,
    /// Filters between the moving background and the bars.
    pub motion: &'static str,
    /// Filters after the bars.
    pub finish: &'static str,
}

/// What is heard.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Channel layout as ffmpeg names it.
    pub layout: &'static str,
    /// Samples per second.
    pub rate: u32,
    /// When it begins, seconds into the picture; negative, if it is there before.
    pub begin: f64,
    /// When it ends, seconds into the picture.
    pub end: f64,
}

impl Scene {
    /// The graph that draws it.
    pub fn graph(&self) -> String {
        let Self { width, height, rate, seconds, .. } = self;
        let mut graph = vec![format!("testsrc2=s={width}x{height}:r={rate}:d={seconds}")];
        graph.extend((!self.motion.is_empty()).then(|| self.motion.to_owned()));
        graph.push(cells(0.5, 0.5, 15.0, 4.0, "black", ""));
        let bits: Vec<String> = (0..BITS).map(|bit| format!("mod(floor(n/{}),2)", 1 << bit)).collect();
        for (bit, is_set) in bits.iter().enumerate() {
            graph.push(bar(bit, is_set));
        }
        graph.push(bar(BITS, &format!("mod({},2)", bits.join("+"))));
        graph.push(bar(BITS + 1, ""));
        graph.push(cells(1.0, 5.0, 4.0, 3.0, "black", ""));
        graph.push(cells(1.0, 5.0, 4.0, 3.0, "white", "lt(mod(t+0.0005,1),0.08)"));
        for (place, colour) in PATCHES.iter().enumerate() {
            graph.push(cells(6.0 + 2.0 * place as f64, 5.0, 2.0, 3.0, colour, ""));
        }
        graph.extend((!self.finish.is_empty()).then(|| self.finish.to_owned()));
        graph.join(",")
    }
}

impl Sound {
    /// The graph that plays it; its own clock begins at zero.
    pub fn graph(&self) -> String {
        let Self { layout, rate, begin, end } = self;
        let channels = match *layout {
            "mono" => 1,
            "5.1" => 6,
            _ => 2,
        };
        let tone = format!("0.08*sin(2*PI*{TONE_HZ}*(t+{begin}))");
        let beep = format!("0.4*sin(2*PI*1000*(t+{begin}))*lt(mod(t+{begin}+1.000001,1),0.08)");
        let every = vec![format!("{tone}+{beep}"); channels].join("|");
        format!("aevalsrc='{every}':c={layout}:s={rate}:d={}", end - begin)
    }
}

/// The column and row of the bar of one bit (or of the parity, or of the white bar), in cells.
pub fn bar_cell(bit: usize) -> (usize, usize) {
    (1 + 2 * (bit % 7), 1 + 2 * (bit / 7))
}

fn bar(bit: usize, enable: &str) -> String {
    let (column, row) = bar_cell(bit);
    cells(column as f64, row as f64, 2.0, 1.0, "white", enable)
}

fn cells(x: f64, y: f64, w: f64, h: f64, colour: &str, enable: &str) -> String {
    let when = if enable.is_empty() { String::new() } else { format!(":enable='{enable}'") };
    format!("drawbox=x=iw*{x}/16:y=ih*{y}/9:w=iw*{w}/16:h=ih*{h}/9:c={colour}:t=fill{when}")
}

/// Runs ffmpeg; an error holds what it said last.
pub async fn ffmpeg<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error", "-y"])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("start ffmpeg: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    Err(format!("ffmpeg: {}", lines[lines.len().saturating_sub(4)..].join(" / ")))
}

/// Encodes a scene and its sound with the options `encode` into `file`.
pub async fn draw(scene: &Scene, sound: Option<&Sound>, encode: &str, file: &Path) -> Result<(), String> {
    let mut args: Vec<String> = vec!["-f".into(), "lavfi".into(), "-i".into(), scene.graph()];
    if let Some(sound) = sound {
        args.extend(["-itsoffset".into(), sound.begin.to_string()]);
        args.extend(["-f".into(), "lavfi".into(), "-i".into(), sound.graph()]);
    }
    args.extend(encode.split_whitespace().map(str::to_owned));
    args.push(file.display().to_string());
    ffmpeg(args).await
}

/// A plain clip: H.264 and AAC in MP4, `seconds` long.
pub async fn plain(folder: &Path, name: &str, width: u32, height: u32, seconds: f64) -> Result<PathBuf, String> {
    let scene = Scene { width, height, rate: "25", seconds, motion: "", finish: "" };
    let sound = Sound { layout: "stereo", rate: 48_000, begin: 0.0, end: seconds };
    let file = folder.join(name);
    draw(&scene, Some(&sound), "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -c:a aac -b:a 128k", &file)
        .await?;
    Ok(file)
}
