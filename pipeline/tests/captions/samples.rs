//! The track as plain samples: any rate and layout, on the clock that viewers see.

use std::path::Path;

use pipeline::media::{Code, Engine, Error, Output, Request, Response, SamplesTask, samples};
use schemas::JobId;

use crate::clips::{ffmpeg, loudness, video};
use crate::engine::InThread;
use crate::house::doors;
use crate::listener::probed;

/// A beep of a tenth of a second at each full second.
fn beeps(rate: u32, layout: &str, channels: &[&str]) -> String {
    let beep = "0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)";
    let each: Vec<String> = channels.iter().map(|gain| format!("{gain}*{beep}")).collect();
    format!("aevalsrc='{}':c={layout}:s={rate}:d=4", each.join("|"))
}

async fn read(file: &Path) -> Result<(Vec<f32>, u64), Error> {
    let doors = doors().await;
    let media = probed(&doors, JobId::from_parts(1, 1), file).await.media;
    let mut run = InThread.start(&Request::Samples(SamplesTask { media }), std::fs::File::open(file).unwrap())?;
    let (mut all, mut most) = (Vec::new(), 0);
    loop {
        match run.next().await? {
            Output::Bytes(0, bytes) => {
                most = most.max(bytes.len());
                all.extend(samples::of_bytes(&bytes));
            }
            Output::Done(Response::Sampled(done)) => {
                assert_eq!(done.samples, all.len() as u64);
                assert!(most <= 64_000, "it comes a second at a time, not {most} bytes");
                assert!(all.iter().all(|sample| (-1.0..=1.0).contains(sample)));
                return Ok((all, done.damaged));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Seconds at which it becomes loud.
fn onsets(samples: &[f32]) -> Vec<f64> {
    let loud: Vec<bool> = samples.chunks(160).map(|hundredth| loudness(hundredth) > 0.05).collect();
    let begins = |at: &usize| loud[*at] && loud[at.saturating_sub(30)..*at].iter().all(|loud| !loud);
    (0..loud.len()).filter(begins).map(|at| at as f64 / 100.0).collect()
}

fn assert_beeps(name: &str, samples: &[f32], expected: &[f64]) {
    let found = onsets(samples);
    assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 0.03, "{name}: {found} for {expected}");
    }
}

#[tokio::test]
async fn every_rate_and_layout_becomes_the_same_sound() {
    let folder = tempfile::tempdir().unwrap();
    let pcm = ["-c:a", "pcm_s16le"];
    let float = ["-c:a", "pcm_f32le"];
    for (name, rate, layout, channels, codec, level) in [
        ("44k.mp4", 44_100, "stereo", &["1", "1"][..], &["-c:a", "aac"][..], 0.5),
        ("48k.mkv", 48_000, "mono", &["1"], &pcm, 0.5),
        ("8k.mov", 8_000, "mono", &["1"], &pcm, 0.5),
        ("192k.mkv", 192_000, "stereo", &["1", "1"], &float, 0.5),
        ("left.mkv", 48_000, "stereo", &["1", "0"], &pcm, 0.25),
        ("loud.mkv", 48_000, "stereo", &["2", "2"], &float, 1.0),
        ("centre.mkv", 48_000, "5.1", &["0", "0", "1", "0", "0", "0"], &float, 0.5),
        ("centre.mp4", 44_100, "5.1", &["0", "0", "1", "0", "0", "0"], &["-c:a", "aac"], 0.5),
        ("front.mkv", 48_000, "5.1", &["1", "1", "0", "0", "0", "0"], &float, 0.5),
    ] {
        let file = video(folder.path(), name, &beeps(rate, layout, channels), codec);
        let (samples, damaged) = read(&file).await.unwrap();
        assert!((63_500..65_600).contains(&samples.len()), "{name}: {} samples", samples.len());
        assert_beeps(name, &samples, &[0.0, 1.0, 2.0, 3.0]);
        let peak = samples.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        assert!((peak - level).abs() < 0.06, "{name}: {peak} for {level}");
        assert_eq!(damaged, 0, "{name}");
    }
    let file = video(folder.path(), "deep.mkv", &beeps(48_000, "5.1", &["0", "0", "0", "1", "0", "0"]), &float);
    assert!(loudness(&read(&file).await.unwrap().0) < 1e-4, "nobody speaks through a subwoofer");
}

#[tokio::test]
async fn sound_that_comes_late_or_pauses_keeps_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.mp4");
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=6"];
    let sound = beeps(44_100, "mono", &["1"]);
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
    ffmpeg(&[&pictures[..], &["-itsoffset", "1.5", "-f", "lavfi", "-i", &sound], &coded[..]].concat(), &late);
    assert_beeps("late", &read(&late).await.unwrap().0, &[1.5, 2.5, 3.5, 4.5]);

    // What lies between one second and three has been taken out, and its time is empty.
    let gap = folder.path().join("gap.mkv");
    let filter = ["-af", "aselect='not(between(t,0.9,2.9))'"];
    ffmpeg(&[&pictures[..], &["-f", "lavfi", "-i", &sound], &filter[..], &coded[..]].concat(), &gap);
    let samples = read(&gap).await.unwrap().0;
    assert_beeps("gap", &samples, &[0.0, 3.0]);
}

#[tokio::test]
async fn nonsense_becomes_silence_and_an_empty_track_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let nonsense = "aevalsrc='if(lt(t,1),0/0,if(lt(t,2),1/0,0.5*sin(2*PI*300*t)))':s=48000:d=3";
    let file = video(folder.path(), "nan.mkv", nonsense, &["-c:a", "pcm_f32le"]);
    let (samples, _) = read(&file).await.unwrap();
    assert!(samples.iter().all(|sample| sample.is_finite()));
    assert!(loudness(&samples[..15_000]) < 0.01 && loudness(&samples[33_000..47_000]) > 0.2);

    let no_audio = folder.path().join("mute.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1", "-c:v", "libx264"], &no_audio);
    assert_eq!(read(&no_audio).await.unwrap_err().code, Code::UnsupportedMedia);
}
