//! Clips of known kinds, drawn by ffmpeg.
//!
//! - [`tuning`]: those on which the decisions were tuned; [`judged`]: others, by which they are judged

use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::stages::classify::kinds::Kind;

pub mod judged;
pub mod tuning;

/// A clip.
pub struct Clip {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    graph: String,
    options: &'static str,
}

const H264: &str = "-c:v libx264 -preset veryfast -crf 23";
const COARSE: &str = "-c:v libx264 -preset veryfast -crf 31";
const FINE: &str = "-c:v libx264 -preset veryfast -crf 17";
const OLD: &str = "-c:v mpeg4 -q:v 4";

fn clip(kind: Kind, name: &'static str, graph: impl Into<String>, options: &'static str) -> Clip {
    Clip { kind, name, graph: graph.into(), options }
}

impl Clip {
    /// Draws it into `folder`.
    pub fn draw(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.mp4", self.name.replace(' ', "-")));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-filter_complex", &self.graph]);
        ffmpeg.args(self.options.split_whitespace()).args(["-pix_fmt", "yuv420p"]).arg(&path);
        assert!(ffmpeg.status().expect("ffmpeg is installed").success(), "{}: {}", self.name, self.graph);
        path
    }
}

const WORDS: [&str; 16] = [
    "river",
    "of",
    "stone",
    "and",
    "the",
    "quarterly",
    "figures",
    "open",
    "with",
    "nine",
    "letters",
    "house",
    "under",
    "blue",
    "total",
    "again",
];

/// Lines of words, the same for the same seed.
fn prose(lines: usize, words: usize, seed: usize) -> String {
    let line = |line: usize| {
        let word = |word: usize| WORDS[(seed * 7 + line * 5 + word * word * 3 + word) % WORDS.len()];
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    };
    (0..lines).map(line).collect::<Vec<_>>().join("\n")
}

fn text(text: &str, x: &str, y: &str, size: u32, colour: &str) -> String {
    format!("drawtext=text='{text}':x='{x}':y='{y}':fontsize={size}:fontcolor={colour}:line_spacing=4")
}

/// Slides of `size`, each for so long, with a heading, a few lines and a bar chart on every second one.
fn slides(size: &str, count: usize, seconds: f64, paper: &str, ink: &str) -> String {
    let slide = |number: usize| {
        let heading = text(&prose(1, 3, number), "w/16", "h/12", 34, ink);
        let body = text(&prose(5, 5, number + 3), "w/12", "h/3", 19, ink);
        let chart = if number % 2 == 1 {
            ",drawbox=x=iw*0.7:y=ih*0.4:w=40:h=ih*0.4:color=orange:t=fill,drawbox=x=iw*0.8:y=ih*0.55:w=40:h=ih*0.25:color=teal:t=fill"
        } else {
            ""
        };
        format!("color={paper}:s={size}:r=25:d={seconds},{heading},{body}{chart}[s{number}];")
    };
    let inputs: String = (0..count).map(|number| format!("[s{number}]")).collect();
    format!("{}{inputs}concat=n={count}", (0..count).map(slide).collect::<String>())
}

/// A picture with structure of all sizes, as the world has it; it does not move.
fn world(size: &str, seconds: f64, seed: u32) -> String {
    let layer = |cells: &str, luma: u32, chroma: u32, seed: u32| {
        format!(
            "color=0x80786c:s={cells}:r=25:d={seconds},format=yuv420p,noise=c0s={luma}:c1s={chroma}:c2s={chroma}:all_seed={seed},scale={size}:flags=bicubic"
        )
    };
    // Things with outlines, what they are made of, and what that is made of.
    format!(
        "{},lutyuv=y=floor(val/48)*48+24,gblur=sigma=0.7[a{seed}];{}[b{seed}];{}[c{seed}];[a{seed}][b{seed}]blend=all_mode=softlight[d{seed}];[d{seed}][c{seed}]blend=all_mode=softlight",
        layer("14x10", 100, 40, seed),
        layer("90x52", 70, 20, seed + 1),
        layer("400x230", 60, 8, seed + 2)
    )
}
