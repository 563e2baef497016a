//! Measurements of videos that ffmpeg draws.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::media::{Request, Response, worker};

#[derive(Default)]
struct Collected {
    pictures: Vec<Vec<u8>>,
    progress: Vec<u64>,
}

impl Sink for Collected {
    fn bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        self.pictures.resize(self.pictures.len().max(index + 1), Vec::new());
        self.pictures[index].extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, frames: u64) -> Result<(), Error> {
        self.progress.push(frames);
        Ok(())
    }
}

/// What is measured of what `graph` draws, and what is handed over on the way.
fn measured(graph: &str, options: &str, pictures: u32) -> (Measured, Collected) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("clip.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-filter_complex", graph]).args(options.split_whitespace());
    assert!(ffmpeg.arg(&path).status().expect("ffmpeg is installed").success(), "{graph}");
    worker::quiet();
    let open = || File::open(&path).unwrap();
    let mut sink = Collected::default();
    let Response::Probed(probed) = worker::run(&Request::Probe, open(), &mut sink).unwrap() else { panic!("no probe") };
    let task = Task { media: probed.media, keyframes: probed.keyframes.len() as u32, pictures };
    match worker::run(&Request::Signals(task), open(), &mut sink).unwrap() {
        Response::Measured(measured) => (measured, sink),
        other => panic!("{other:?}"),
    }
}

const QUICK: &str = "-c:v libx264 -preset ultrafast -crf 20 -pix_fmt yuv420p";

#[test]
fn a_short_video_is_walked_whole_and_shown_evenly() {
    let (measured, sink) = measured("testsrc2=s=320x180:r=25:d=4", QUICK, 4);
    assert_eq!((measured.frames, measured.damaged), (100, 0));
    assert_eq!(sink.progress.last(), Some(&100));
    assert_eq!(measured.pictures.len(), 4, "{:?}", measured.pictures);
    assert!(measured.pictures.iter().all(|shown| (shown.width, shown.height) == (320, 180)));
    assert!(sink.pictures.iter().all(|rgb| rgb.len() == 3 * 320 * 180));
    let times: Vec<i64> = measured.pictures.iter().map(|shown| shown.at_us).collect();
    assert!(times.is_sorted() && times[3] > 3_000_000 && times[0] < 1_200_000, "{times:?}");
}

#[test]
fn pictures_are_red_where_the_video_is() {
    let graph = "color=red:s=320x180:r=25:d=1[r];color=0x0000ff:s=160x180:r=25:d=1[b];[r][b]overlay=x=160";
    let (_, sink) = measured(graph, QUICK, 1);
    let pixel = |x: usize| &sink.pictures[0][3 * (90 * 320 + x)..][..3];
    let is_near = |pixel: &[u8], wanted: [u8; 3]| pixel.iter().zip(wanted).all(|(one, other)| one.abs_diff(other) < 12);
    assert!(is_near(pixel(40), [255, 0, 0]) && is_near(pixel(280), [0, 0, 255]), "{:?} {:?}", pixel(40), pixel(280));
}

#[test]
fn of_a_long_video_a_few_moments_all_over_it_are_seen() {
    // Half of it stands still, and the other half moves.
    let graph = "color=teal:s=160x90:r=10:d=100[a];testsrc2=s=160x90:r=10:d=100[b];[a][b]concat=n=2";
    let (sparse, sink) = measured(graph, &format!("{QUICK} -g 20"), 8);
    assert!((240..=400).contains(&sparse.frames), "{} frames", sparse.frames);
    assert!((0.3..=0.7).contains(&sparse.motion.still), "{:?}", sparse.motion);
    assert_eq!(sparse.motion.shots_per_minute, 0.0, "the jumps are no cuts");
    // Teal alone shows nothing; what it leaves out is made up for.
    assert!(sink.pictures.len() == sparse.pictures.len() && (4..=8).contains(&sink.pictures.len()));
    assert!(sparse.pictures.iter().all(|shown| shown.at_us >= 95_000_000), "{:?}", sparse.pictures);
}

#[test]
fn a_long_video_with_few_keyframes_is_seen_for_longer_at_each() {
    let (one, _) = measured("testsrc2=s=160x90:r=10:d=60", &format!("{QUICK} -g 100000 -keyint_min 100000"), 0);
    assert!((290..=301).contains(&one.frames), "{} frames", one.frames);
    let (two, _) = measured("testsrc2=s=160x90:r=10:d=60", &format!("{QUICK} -g 300 -keyint_min 300"), 0);
    assert!((290..=304).contains(&two.frames), "{} frames", two.frames);
}

#[test]
fn one_picture_is_a_video_that_stands_still() {
    let (one, sink) = measured("testsrc2=s=320x180:r=25:d=0.04", QUICK, 8);
    assert_eq!((one.frames, one.motion.still, one.pictures.len(), sink.pictures.len()), (1, 1.0, 1, 1));
    assert!(one.look.palette > 1.0 && one.look.noise == 0.0, "{:?}", one.look);
}

#[test]
fn noise_is_seen_where_nothing_else_moves() {
    let still = "smptebars=s=320x180:r=25:d=2";
    let (quiet, _) = measured(still, QUICK, 0);
    let (noisy, _) = measured(&format!("{still},noise=alls=12:allf=t"), QUICK, 0);
    assert!(quiet.motion.still > 0.95 && quiet.look.noise < 0.05, "{quiet:?}");
    assert!(noisy.motion.still < 0.1 && noisy.look.noise > 0.5 && noisy.look.alive > 0.8, "{noisy:?}");
}
