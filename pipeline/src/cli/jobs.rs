//! `jobs`: the list and one job.

use serde_json::{Value, json};

use super::client::{Client, id_part};
use super::failure::Failure;
use super::{StateWord, show};
use crate::config::size;

/// Largest page that is asked for at once.
const PAGE: u32 = 100;

/// Columns of a name in the list: with the others, 80 in all.
const NAME: usize = 27;

/// Prints up to `limit` jobs, newest first, over as many pages as that takes.
pub async fn list(
    client: &Client,
    state: Option<StateWord>,
    label: Option<&str>,
    limit: u32,
    json: bool,
) -> Result<(), Failure> {
    let mut jobs: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    let limit = limit as usize;
    loop {
        let wanted = (limit - jobs.len()).min(PAGE as usize);
        let mut path = format!("api/jobs?limit={wanted}");
        if let Some(state) = state {
            path.push_str(&format!("&state={}", word(state)));
        }
        if let Some(label) = label {
            path.push_str(&format!("&label={}", encoded(label)));
        }
        if let Some(cursor) = &after {
            path.push_str(&format!("&after={}", encoded(cursor)));
        }
        let mut page = client.get(&path).await?;
        let found = page["jobs"].as_array_mut().map(std::mem::take).unwrap_or_default();
        // Between jobs with a label there may be any number of others.
        let is_empty = found.is_empty() && label.is_none();
        jobs.extend(found);
        let next = page["next"].as_str().map(str::to_owned);
        let is_same = next == after;
        after = next;
        if after.is_none() || is_same || is_empty || jobs.len() >= limit {
            break;
        }
    }
    jobs.truncate(limit);
    if json {
        return show::print_json(&json!({ "jobs": jobs, "next": after }));
    }
    if jobs.is_empty() {
        let is_everything = state.is_none() && label.is_none();
        return show::print(if is_everything {
            "no jobs; `streamforge submit FILE` makes one"
        } else {
            "no such jobs"
        });
    }
    show::print(&table(&jobs, jiff::Timestamp::now(), show::has_colours()))
}

fn word(state: StateWord) -> &'static str {
    use schemas::job::State;
    match state {
        StateWord::Received => State::Received.as_str(),
        StateWord::Processing => State::Processing.as_str(),
        StateWord::Ready => State::Ready.as_str(),
        StateWord::Failed => State::Failed.as_str(),
        StateWord::Cancelled => State::Cancelled.as_str(),
    }
}

/// `text` as the value of a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn table(jobs: &[Value], now: jiff::Timestamp, colours: bool) -> String {
    let line = |id: &str, state: &str, progress: &str, when: &str, name: &str| {
        let shown = show::in_colour(&show::fitted(state, 10), state, colours);
        let line = format!(
            "{}  {shown}  {progress:>4} {}  {}",
            show::fitted(id, 26),
            show::fitted(when, 7),
            show::fitted(name, NAME - 2)
        );
        format!("{}\n", line.trim_end())
    };
    let mut text = line("ID", "STATE", "DONE", "SENT", "NAME");
    for job in jobs {
        let of = |key: &str| job[key].as_str().unwrap_or_default();
        let progress = show::percent(job["progress"].as_f64().unwrap_or(0.0));
        text.push_str(&line(of("id"), of("state"), &progress, &show::ago(of("received_at"), now), of("name")));
    }
    text
}

/// Prints one job.
pub async fn one(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let job = client.get(&format!("api/jobs/{}", id_part(id)?)).await?;
    if json { show::print_json(&job) } else { show::print(&details(client, &job, show::has_colours())) }
}

/// Where a person watches the job `id`.
pub fn page(client: &Client, id: &str) -> String {
    client.address(&format!("jobs/{id}"))
}

/// What is said of a job that has ended.
pub fn ending(client: &Client, job: &Value) -> String {
    let of = |key: &str| show::plain(job[key].as_str().unwrap_or_default());
    let state = of("state");
    let shown = show::in_colour(&state, &state, show::has_colours());
    let mut text = format!("{}  {shown}  {}\n", of("id"), of("name"));
    if let Some(error) = error_line(job) {
        text.push_str(&format!("  {error}\n"));
    }
    if state == "ready" {
        text.push_str(&format!("  watch it at {}\n", page(client, &of("id"))));
    }
    text
}

fn error_line(job: &Value) -> Option<String> {
    let error = job["error"].as_object()?;
    let of = |key: &str| error.get(key).and_then(Value::as_str).map(show::plain);
    let place = of("stage").map(|stage| format!(" in {stage}")).unwrap_or_default();
    let code = of("code").unwrap_or_else(|| "failed".to_owned());
    Some(format!("{code}{place}: {}", of("message").unwrap_or_default()))
}

fn details(client: &Client, job: &Value, colours: bool) -> String {
    let of = |key: &str| job[key].as_str().map(show::plain);
    let mut lines: Vec<(&str, String)> = Vec::new();
    let state = of("state").unwrap_or_default();
    lines.push(("id", of("id").unwrap_or_default()));
    lines.push(("name", of("name").unwrap_or_default()));
    let progress = show::percent(job["progress"].as_f64().unwrap_or(0.0));
    lines.push(("state", format!("{} {}", show::in_colour(&state, &state, colours), progress.trim_start())));
    for (title, key) in [("received", "received_at"), ("playable", "playable_at"), ("finished", "finished_at")] {
        lines.extend(of(key).map(|time| (title, time)));
    }
    lines.extend(source_line(&job["source"]).map(|line| ("source", line)));
    for stage in job["stages"].as_array().into_iter().flatten() {
        lines.push(("stage", stage_line(stage)));
    }
    for rendition in job["renditions"].as_array().into_iter().flatten() {
        lines.push(("rendition", rendition_line(client, rendition)));
    }
    lines.extend(pictures_line(&job["pictures"]).map(|line| ("pictures", line)));
    for (title, key) in [("hls", "hls"), ("dash", "dash"), ("poster", "poster"), ("previews", "storyboard")] {
        lines.extend(of(key).map(|path| (title, client.linked(&path))));
    }
    lines.extend(captions_line(client, &job["captions"]).map(|line| ("captions", line)));
    lines.extend(content_line(&job["content"]).map(|line| ("content", line)));
    lines.extend(error_line(job).map(|line| ("error", line)));
    if state == "ready" {
        lines.push(("watch", page(client, job["id"].as_str().unwrap_or_default())));
    }
    lines.iter().map(|(title, line)| format!("{title:10}{line}\n")).collect()
}

fn pictures_line(pictures: &Value) -> Option<String> {
    let bytes = pictures["bytes"].as_u64()?;
    if let Some(reason) = pictures["unavailable"].as_str() {
        return Some(format!("unavailable ({})", show::plain(reason)));
    }
    let count = |key: &str| pictures[key].as_array().map_or(0, Vec::len);
    let (shots, posters) = (pictures["shots"].as_u64().unwrap_or(0), 1 + count("alternatives"));
    Some(format!("{posters} posters, {} thumbnails of {shots} shots, {}", count("thumbnails"), size::shown(bytes)))
}

fn source_line(source: &Value) -> Option<String> {
    let bytes = source["bytes"].as_u64()?;
    let mut parts = vec![size::shown(bytes)];
    parts.extend(source["container"].as_str().map(show::plain));
    parts.extend(source["duration_s"].as_f64().map(|seconds| format!("{seconds:.1} s")));
    let video = &source["video"];
    if let (Some(codec), Some(width), Some(height)) =
        (video["codec"].as_str(), video["width"].as_u64(), video["height"].as_u64())
    {
        parts.push(format!("{} {width}x{height}", show::plain(codec)));
        parts.extend(video["fps"].as_f64().map(|fps| format!("{fps:.3} fps").replace(".000 ", " ")));
    }
    let audio = &source["audio"];
    parts.extend(audio["codec"].as_str().map(show::plain));
    Some(parts.join(", "))
}

fn captions_line(client: &Client, captions: &Value) -> Option<String> {
    let of = |key: &str| captions[key].as_str().map(show::plain);
    if let Some(reason) = of("reason") {
        // The word before it says what it is about.
        return Some(reason.trim_start_matches("captions: ").to_owned());
    }
    let (cues, language) = (captions["cues"].as_u64()?, of("language")?);
    let model = of("model").unwrap_or_default();
    let address = of("vtt").map(|path| client.linked(&path)).unwrap_or_default();
    Some(format!("{language}, {cues} cues by {model} {}  {address}", of("version").unwrap_or_default()))
}

fn content_line(content: &Value) -> Option<String> {
    if let Some(reason) = content["unavailable"].as_str() {
        return Some(format!("unavailable ({})", show::plain(reason)));
    }
    let label = |label: &Value| -> Option<String> {
        let name = show::plain(label["name"].as_str()?);
        Some(format!("{name} {}", show::percent(label["confidence"].as_f64()?).trim_start()))
    };
    let labels: Vec<String> = content["labels"].as_array()?.iter().filter_map(label).collect();
    let missing = content["no_model"].as_str().map(|why| format!("  (no image model: {})", show::plain(why)));
    Some(format!("{}{}", labels.join("; "), missing.unwrap_or_default()))
}

fn stage_line(stage: &Value) -> String {
    let of = |key: &str| show::plain(stage[key].as_str().unwrap_or_default());
    let count = match (stage["done"].as_u64(), stage["total"].as_u64()) {
        (Some(done), Some(total)) if total > 1 => format!(" {done} of {total}"),
        _ => String::new(),
    };
    format!("{:12}{}{count}", of("name"), of("state"))
}

fn rendition_line(client: &Client, rendition: &Value) -> String {
    let of = |key: &str| show::plain(rendition[key].as_str().unwrap_or_default());
    let number = |key: &str| rendition[key].as_u64().unwrap_or_default();
    let shape = format!("{}x{}", number("width"), number("height"));
    let bytes = size::shown(number("bytes"));
    format!("{:6} {shape:10} {bytes:8} {}", of("quality"), client.linked(&of("url")))
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn now() -> jiff::Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn job(name: &str) -> Value {
        json!({ "id": "01JD0000000000000000000000", "state": "processing", "progress": 0.42,
                "name": name, "received_at": "2026-11-23T09:01:00Z" })
    }

    #[test]
    fn the_list_fits_eighty_columns_whatever_the_names() {
        let long = job(&"very long ".repeat(30));
        let wide = job(&"休日".repeat(60));
        let text = table(&[long, wide, job("a\nb\x1b[31m")], now(), false);
        assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            assert!(line.width() <= 80, "{} columns: {line}", line.width());
        }
        assert!(text.contains("01JD0000000000000000000000  processing   42% 59m ago"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(table(&[job("x")], now(), true).contains("\x1b[36m"));
        assert!(!table(&[job("x")], now(), false).contains('\x1b'));
    }

    #[test]
    fn cursors_are_encoded() {
        assert_eq!(encoded("a b/ä=~"), "a%20b%2F%C3%A4%3D~");
    }

    #[test]
    fn a_failed_job_says_where_and_why() {
        let client = Client::new("http://h:1").unwrap();
        let mut failed = job("x");
        failed["state"] = json!("failed");
        failed["error"] = json!({ "code": "unsupported_media", "stage": "probe", "message": "no video track" });
        let text = ending(&client, &failed);
        assert!(text.contains("unsupported_media in probe: no video track"), "{text}");
        assert!(!text.contains("watch it"), "{text}");
    }

    #[test]
    fn details_name_every_rendition_with_its_full_address() {
        let client = Client::new("http://h:1/video").unwrap();
        let mut ready = job("x");
        ready["state"] = json!("ready");
        ready["progress"] = json!(1);
        ready["hls"] = json!("/api/stream/01JD/master.m3u8");
        ready["renditions"] = json!([{ "quality": "720p", "width": 1280, "height": 720, "bytes": 2391042,
                                       "url": "/api/stream/01JD/720p" }]);
        let text = details(&client, &ready, false);
        assert!(text.contains("http://h:1/video/api/stream/01JD/720p"), "{text}");
        assert!(text.contains("hls       http://h:1/video/api/stream/01JD/master.m3u8"), "{text}");
        assert!(text.contains("ready 100%") && text.contains("2.39 MB"), "{text}");
        ready["poster"] = json!("/api/stream/01JD/poster.jpg");
        ready["pictures"] = json!({ "alternatives": [{}], "thumbnails": [{}, {}, {}], "shots": 3, "bytes": 91_000 });
        let text = details(&client, &ready, false);
        assert!(text.contains("poster    http://h:1/video/api/stream/01JD/poster.jpg"), "{text}");
        assert!(text.contains("2 posters, 3 thumbnails of 3 shots, 91 kB"), "{text}");
        ready["pictures"] = json!({ "unavailable": "no picture can be decoded", "bytes": 0 });
        assert!(details(&client, &ready, false).contains("pictures  unavailable (no picture can be decoded)"));
        ready["captions"] = json!({ "language": "en", "cues": 14, "model": "whisper-base.en", "version": "1",
                                    "vtt": "/api/stream/01JD/captions.vtt", "reason": null });
        let text = details(&client, &ready, false);
        let line = "en, 14 cues by whisper-base.en 1  http://h:1/video/api/stream/01JD/captions.vtt";
        assert!(text.contains(line), "{text}");
        ready["captions"] = json!({ "language": "und", "cues": 0, "reason": "captions: unavailable (no model)" });
        let text = details(&client, &ready, false);
        assert!(text.contains("captions") && text.contains("  unavailable (no model)"), "{text}");
        ready["content"] = json!({ "unavailable": null, "no_model": "it is switched off", "labels": [
            { "name": "screen", "confidence": 0.98, "origin": "signals" },
            { "name": "tabby, tabby cat", "confidence": 0.5, "origin": "model" },
        ] });
        let text = details(&client, &ready, false);
        assert!(
            text.contains("content   screen 98%; tabby, tabby cat 50%  (no image model: it is switched off)"),
            "{text}"
        );
        ready["content"] = json!({ "unavailable": "nothing to see", "labels": [] });
        assert!(details(&client, &ready, false).contains("content   unavailable (nothing to see)"));
    }
}
