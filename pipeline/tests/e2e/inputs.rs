//! Every kind of input gets ready and plays as it was drawn.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::Value;

use crate::check::{self, Allow};
use crate::client::{Api, stored_bytes};
use crate::kinds::{self, Kind};
use crate::measure::{Measured, measure, measure_with};
use crate::pictures;
use crate::playback::{self, Variant};
use crate::server::Server;

/// Longest wait for one job.
const PATIENCE: Duration = Duration::from_secs(240);

/// Shortest length that a wall time is held against: below it, starting up is all there is.
const SHORT: f64 = 2.0;

/// A drawn input and what ffmpeg presents of it.
struct Drawn {
    kind: Kind,
    file: PathBuf,
    bytes: u64,
    source: Measured,
}

/// A finished job with what was seen on the way.
struct Done {
    drawn: Drawn,
    job: Value,
    wall: f64,
    first: (Duration, Duration),
}

/// A line of the closing table.
#[derive(Default)]
struct Row {
    name: String,
    frames_in: usize,
    frames_out: Vec<String>,
    offsets: Vec<String>,
    stored: String,
    wall: String,
    first: String,
    problems: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_input_plays_as_it_was_drawn() {
    let _turn = crate::turn().await;
    let begin = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let wanted = std::env::var("STREAMFORGE_E2E_KINDS").unwrap_or_default();
    let kinds = kinds::all().into_iter().filter(|kind| wanted.split(',').any(|word| kind.name.contains(word)));
    let drawn: Vec<_> = stream::iter(kinds).map(|kind| draw(kind, folder.path())).buffered(2).collect().await;
    println!("{} inputs drawn after {:.0} s", drawn.len(), begin.elapsed().as_secs_f64());

    let mut rows = Vec::new();
    let mut inputs = Vec::new();
    for drawn in drawn {
        match drawn {
            Ok(drawn) => inputs.push(drawn),
            Err((kind, problem)) => {
                println!("{}: {problem}", kind.name);
                rows.push(failed(&kind, 0, problem));
            }
        }
    }

    let data = folder.path().join("data");
    let mut server = Server::start(&data).await;
    let mut finished = Vec::new();
    for drawn in inputs {
        match run(&server, &drawn).await {
            Ok((job, wall, first)) => finished.push(Done { drawn, job, wall, first }),
            Err(problem) => rows.push(failed(&drawn.kind, drawn.source.pictures().len(), problem)),
        }
    }
    println!("all jobs ended after {:.0} s", begin.elapsed().as_secs_f64());
    let api = Api::new(&server.url);
    let checked = stream::iter(finished).map(|done| verify(&api, &data, done)).buffered(2);
    rows.extend(checked.collect::<Vec<_>>().await);
    println!("everything compared after {:.0} s", begin.elapsed().as_secs_f64());

    print_table(&rows);
    let mut problems: Vec<String> =
        rows.iter().flat_map(|row| row.problems.iter().map(|problem| format!("{}: {problem}", row.name))).collect();
    if !server.is_running() {
        problems.push(format!("the server died:\n{}", server.log_tail()));
    }
    crate::report(&problems);
}

fn failed(kind: &Kind, frames_in: usize, problem: String) -> Row {
    Row { name: kind.name.to_owned(), frames_in, problems: vec![problem], ..Row::default() }
}

/// Draws an input, and makes sure that what it carries can be read.
async fn draw(kind: Kind, folder: &Path) -> Result<Drawn, (Kind, String)> {
    let prepared = async {
        let file = kind.make(folder).await?;
        let bytes = std::fs::metadata(&file).map_err(|error| format!("stat {}: {error}", file.display()))?.len();
        let source = measure_with(kind.decode, &file.display().to_string(), 1, kind.sound.is_some()).await?;
        let numbers: Vec<_> = source.pictures().iter().filter_map(|picture| picture.number).collect();
        if numbers.is_empty() || (!kind.is_damaged && numbers.len() != source.pictures().len()) {
            return Err(format!("{} of {} drawn pictures can be read", numbers.len(), source.pictures().len()));
        }
        if !numbers.is_sorted() {
            return Err("the drawn pictures are out of order".to_owned());
        }
        Ok((file, bytes, source))
    };
    match prepared.await {
        Ok((file, bytes, source)) => Ok(Drawn { kind, file, bytes, source }),
        Err(problem) => Err((kind, format!("draw: {problem}"))),
    }
}

/// One upload, alone on the machine: until it is ready, and until a new player has its first bytes.
async fn run(server: &Server, drawn: &Drawn) -> Result<(Value, f64, (Duration, Duration)), String> {
    let api = Api::new(&server.url);
    let upload = api.upload(&drawn.file).await?;
    let job = api.ready(&upload.id, PATIENCE).await?;
    let wall = upload.since.elapsed().as_secs_f64();
    let quality = job["renditions"][0]["quality"].as_str().ok_or("ready without renditions")?.to_owned();
    let first = playback::first_bytes(&server.url, &upload.id, &quality).await?;
    Ok((job, wall, first))
}

async fn verify(api: &Api, data: &Path, done: Done) -> Row {
    let Done { drawn, job, wall, first } = &done;
    let seconds = check::duration(&drawn.source, drawn.kind.hold);
    let mut row = Row { name: drawn.kind.name.to_owned(), frames_in: drawn.source.pictures().len(), ..Row::default() };
    let id = job["id"].as_str().unwrap_or_default();

    let stored = stored_bytes(data, id);
    let limit = if drawn.bytes < 1_000_000 { 3_000_000 } else { drawn.bytes * 3 };
    row.stored = format!("{:.2}", stored as f64 / drawn.bytes as f64);
    if stored > limit || stored == 0 {
        row.problems.push(format!("{stored} bytes are stored for {} uploaded", drawn.bytes));
    }
    row.wall = format!("{wall:.1}/{seconds:.1}");
    let (width, height) = drawn.kind.shows;
    if width.min(height) <= 720 && *wall > 2.0 * seconds.max(SHORT) {
        row.problems.push(format!("{wall:.1} s of work for {seconds:.1} s of video"));
    }
    row.first = format!("{}/{}", first.0.as_millis(), first.1.as_millis());
    if first.0.max(first.1) > Duration::from_millis(500) {
        row.problems.push(format!("first bytes after {:?} over HLS, {:?} progressive", first.0, first.1));
    }
    row.problems.extend(promised(&drawn.kind, job));
    if job["progress"].as_f64() != Some(1.0) {
        row.problems.push(format!("ready, yet progress is {}", job["progress"]));
    }
    let played = async {
        row.problems.extend(ledger(api, id, drawn).await?);
        row.problems.extend(pictures::problems(api, id, drawn.bytes, drawn.kind.shows).await?);
        plays(api, id, drawn, &mut row).await
    };
    if let Err(problem) = played.await {
        row.problems.push(problem);
    }
    row
}

/// Problems of the list of renditions, against the ladder and the upright size.
fn promised(kind: &Kind, job: &Value) -> Vec<String> {
    let (width, height) = kind.shows;
    let (long, short) = (width.max(height), width.min(height));
    let fits = |tier: &(u32, u32, &'static str)| long >= tier.0 || short >= tier.1 || tier.2 == "360p";
    let tiers = [(1920, 1080, "1080p"), (1280, 720, "720p"), (640, 360, "360p")];
    let wanted: Vec<&str> = tiers.iter().filter(|tier| fits(tier)).map(|tier| tier.2).collect();
    let renditions = job["renditions"].as_array().cloned().unwrap_or_default();
    let found: Vec<&str> = renditions.iter().filter_map(|rendition| rendition["quality"].as_str()).collect();
    let mut problems = Vec::new();
    if found != wanted {
        problems.push(format!("renditions {found:?} instead of {wanted:?}"));
    }
    for rendition in &renditions {
        let side = |name: &str| rendition[name].as_f64().unwrap_or(0.0);
        let (w, h) = (side("width"), side("height"));
        // Both sides are rounded to even numbers.
        let expected = w * f64::from(height) / f64::from(width);
        if (h - expected).abs() > 2.0 + 2.0 * f64::from(height) / f64::from(width) {
            problems.push(format!("{} is {w}x{h}, the source shows {width}x{height}", rendition["quality"]));
        }
    }
    problems
}

async fn ledger(api: &Api, id: &str, drawn: &Drawn) -> Result<Vec<String>, String> {
    let ledger = api.json(&format!("/api/jobs/{id}/ledger")).await?;
    let presented = drawn.source.pictures().len() as u64;
    let mut problems = Vec::new();
    if ledger["balanced"] != true || ledger["frames_in"].as_u64() != Some(presented) {
        problems.push(format!(
            "ledger: {} frames in, the source presents {presented}; findings {}",
            ledger["frames_in"], ledger["findings"]
        ));
    }
    for rendition in ledger["renditions"].as_array().into_iter().flatten() {
        if rendition["frames_out"] != ledger["frames_in"] {
            problems.push(format!(
                "ledger: {} of {} frames in {}",
                rendition["frames_out"], presented, rendition["quality"]
            ));
        }
    }
    if drawn.kind.name == "mp4-damaged" && ledger["damaged"].as_u64().unwrap_or(0) == 0 {
        problems.push("ledger: damage was not counted".to_owned());
    }
    Ok(problems)
}

/// Plays everything: each quality as a progressive file and by its media playlist, all of them by the master playlist.
async fn plays(api: &Api, id: &str, drawn: &Drawn, row: &mut Row) -> Result<(), String> {
    let source = &drawn.source;
    let has_sound = source.sound.is_some();
    let allow = Allow { is_damaged: drawn.kind.is_damaged, is_hdr: drawn.kind.is_hdr };
    let origin = source.origin();
    let frame = check::frame_time(source.pictures());
    let last = source.pictures().last().map_or(0.0, |picture| picture.at + frame + drawn.kind.hold);
    let pictures_end = last - source.pictures()[0].at;
    row.problems.extend(playback::playlist_problems(api, id, pictures_end, frame).await?);

    let master = playback::master(api, id).await?;
    let all = measure(&api.url(&playback::master_path(id)), master.variants.len(), has_sound).await?;
    for (variant, shown) in master.variants.iter().zip(&all.videos) {
        let quality = quality_of(variant);
        let mut found = check::pictures(source.pictures(), shown, origin, allow);
        found.extend(check::sound(source, &all, shown, allow));
        row.problems.extend(found.into_iter().map(|problem| format!("{quality} by master playlist: {problem}")));

        let alone = measure(&api.url(&variant.path), 1, false).await?;
        let found = check::pictures(source.pictures(), alone.pictures(), origin, allow);
        row.problems.extend(found.into_iter().map(|problem| format!("{quality} by media playlist: {problem}")));

        let url = api.url(&playback::progressive_path(id, &quality));
        let whole = measure(&url, 1, has_sound).await?;
        let mut found = check::pictures(source.pictures(), whole.pictures(), origin, allow);
        found.extend(check::sound(source, &whole, whole.pictures(), allow));
        found.extend(file_problems(&url, check::duration(source, drawn.kind.hold), frame).await?);
        row.problems.extend(found.into_iter().map(|problem| format!("{quality} progressive: {problem}")));

        row.frames_out.push(format!("{}/{}/{}", shown.len(), alone.pictures().len(), whole.pictures().len()));
        for heard in [&all.sound, &whole.sound].into_iter().flatten() {
            let played =
                if std::ptr::eq(heard, all.sound.as_ref().unwrap_or(heard)) { shown } else { whole.pictures() };
            row.offsets
                .push(check::beep_offset(played, heard).map_or("-".to_owned(), |worst| format!("{:.0}", worst * 1e3)));
        }
    }
    if master.variants.len() != all.videos.len() || master.variants.is_empty() {
        row.problems.push("the master playlist lists nothing to play".to_owned());
    }
    Ok(())
}

fn quality_of(variant: &Variant) -> String {
    let words = variant.path.split('/');
    words.rev().find(|word| ["1080p", "720p", "360p"].contains(word)).unwrap_or("?").to_owned()
}

/// Problems of a progressive file as ffprobe sees it.
async fn file_problems(url: &str, seconds: f64, frame: f64) -> Result<Vec<String>, String> {
    let probed = playback::probe(url).await?;
    let mut problems = Vec::new();
    let length: f64 = probed["format"]["duration"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    if (length - seconds).abs() > frame.max(1024.0 / 44_100.0) + 0.005 {
        problems.push(format!("lasts {length:.3} s instead of {seconds:.3} s"));
    }
    let streams = probed["streams"].as_array().cloned().unwrap_or_default();
    for video in streams.iter().filter(|stream| stream["codec_type"] == "video") {
        let is = |key: &str, wanted: &[&str]| wanted.contains(&video[key].as_str().unwrap_or("unknown"));
        for (key, wanted) in [
            ("codec_name", &["h264"][..]),
            ("pix_fmt", &["yuv420p"][..]),
            ("field_order", &["progressive"][..]),
            ("sample_aspect_ratio", &["1:1", "unknown"][..]),
            ("color_range", &["tv", "unknown"][..]),
            ("color_transfer", &["bt709", "smpte170m", "unknown"][..]),
        ] {
            if !is(key, wanted) {
                problems.push(format!("{key} is {}", video[key]));
            }
        }
    }
    for audio in streams.iter().filter(|stream| stream["codec_type"] == "audio") {
        if audio["codec_name"] != "aac" || audio["channels"].as_u64().is_none_or(|channels| channels > 2) {
            problems.push(format!("sound is {} in {} channels", audio["codec_name"], audio["channels"]));
        }
    }
    Ok(problems)
}

fn print_table(rows: &[Row]) {
    let line = |cells: [&str; 8]| {
        println!(
            "{:<26} {:>6}  {:<36} {:<28} {:>7} {:>11} {:>9}  {}",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]
        );
    };
    line([
        "input",
        "frames",
        "out: master/media/progressive",
        "beep-flash, ms",
        "stored",
        "wall/length",
        "first, ms",
        "",
    ]);
    for row in rows {
        let verdict = if row.problems.is_empty() { "ok" } else { "PROBLEMS" };
        let (frames, out, offsets) = (row.frames_in.to_string(), row.frames_out.join(" "), row.offsets.join(" "));
        line([&row.name, &frames, &out, &offsets, &row.stored, &row.wall, &row.first, verdict]);
    }
}
