//! `/api/stream`: the progressive file and HLS.

use std::time::Duration;

use rand::Rng as _;
use reqwest::header::HeaderMap;
use schemas::JobId;

use crate::house::{House, doors, eventually};
use crate::video::{Video, row};

async fn playing(chunks: usize) -> (House, Video) {
    let house = House::new().await;
    let video = Video::make(&house.doors, JobId::from_parts(1_700_000_000_000, 7), chunks).await;
    video.publish(&house.doors).await;
    (house, video)
}

async fn ask(house: &House, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = house.http.get(house.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn two_hundred_random_ranges_equal_the_bytes_of_the_file() {
    let (house, video) = playing(5).await;
    let path = format!("/api/stream/{}/360p", video.job);
    let size = video.file.len();
    let (status, headers, whole) = ask(&house, &path, &[]).await;
    assert_eq!((status, whole == video.file), (200, true));
    assert_eq!(
        (headers["content-length"].to_str().unwrap(), &headers["accept-ranges"]),
        (&*size.to_string(), &"bytes".parse().unwrap())
    );
    assert_eq!(
        (&headers["content-type"], &headers["etag"]),
        (&"video/mp4".parse().unwrap(), &"\"f00d\"".parse().unwrap())
    );
    let draws: Vec<(usize, usize, u8)> = {
        let mut random = rand::rng();
        (0..220)
            .map(|_| (random.random_range(0..size), random.random_range(0..size + 5_000), random.random_range(0..3)))
            .collect()
    };
    for (a, b, kind) in draws {
        let (range, expected) = match kind {
            0 => (format!("bytes={a}-"), &video.file[a..]),
            1 if b > 0 => (format!("bytes=-{b}"), &video.file[size.saturating_sub(b)..]),
            _ if b >= a => (format!("bytes={a}-{b}"), &video.file[a..(b + 1).min(size)]),
            _ => (format!("bytes={b}-{a}"), &video.file[b..=a]),
        };
        let (status, headers, bytes) = ask(&house, &path, &[("range", &range)]).await;
        assert_eq!((status, bytes == expected), (206, true), "{range}");
        let from = size - video.file.len() + expected.as_ptr() as usize - video.file.as_ptr() as usize;
        let stated = format!("bytes {from}-{}/{size}", from + expected.len() - 1);
        assert_eq!(headers["content-range"].to_str().unwrap(), stated, "{range}");
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let (house, video) = playing(3).await;
    let path = format!("/api/stream/{}/360p", video.job);
    let size = video.file.len();
    let (status, headers, body) = ask(&house, &path, &[("range", "bytes=0-0, 4000-9999,-7")]).await;
    assert_eq!(status, 206);
    assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());
    let boundary = headers["content-type"].to_str().unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (from, to) in [(0, 1), (4000, 10_000), (size - 7, size)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {from}-{}/{size}\r\n\r\n",
            to - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&video.file[from..to]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(body == expected);
}

#[tokio::test]
async fn conditions_and_limits_of_ranges() {
    let (house, video) = playing(2).await;
    let path = format!("/api/stream/{}/360p", video.job);
    let size = video.file.len();
    let (status, headers, body) = ask(&house, &path, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!((status, headers["content-range"].to_str().unwrap()), (416, &*format!("bytes */{size}")));
    assert!(String::from_utf8(body).unwrap().contains("range_not_satisfiable"));
    let (status, headers, body) = ask(&house, &path, &[("if-none-match", "\"f00d\"")]).await;
    assert_eq!((status, body.len(), &headers["etag"]), (304, 0, &"\"f00d\"".parse().unwrap()));
    let modified = headers["last-modified"].to_str().unwrap().to_owned();
    assert_eq!(ask(&house, &path, &[("if-modified-since", &modified)]).await.0, 304);
    assert_eq!(ask(&house, &path, &[("if-match", "\"other\"")]).await.0, 412);
    assert_eq!(ask(&house, &path, &[("if-range", "\"f00d\""), ("range", "bytes=1-2")]).await.0, 206);
    assert_eq!(ask(&house, &path, &[("if-range", "\"old\""), ("range", "bytes=1-2")]).await.2.len(), size);
    assert_eq!(ask(&house, &path, &[("range", "seconds=1-2")]).await.0, 200);
    let head = house.http.head(house.url(&path)).header("range", "bytes=0-0").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, &*size.to_string()));
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn players_of_other_origins_may_read_and_nobody_else() {
    let (house, video) = playing(2).await;
    let path = format!("/api/stream/{}/360p", video.job);
    let (_, headers, _) = ask(&house, &path, &[("range", "bytes=0-0"), ("origin", "https://player.example")]).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
    let exposed = headers["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(["content-range", "content-length", "accept-ranges", "etag"].iter().all(|name| exposed.contains(name)));
    let (status, headers, _) =
        ask(&house, &format!("/api/stream/{}/720p", video.job), &[("origin", "https://x")]).await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (404, &"*".parse().unwrap()),
        "errors can be read too"
    );
    let preflight = house
        .http
        .request(reqwest::Method::OPTIONS, house.url(&path))
        .header("origin", "https://player.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "range");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("Range"));
    let jobs = house.get("/api/jobs").await;
    assert!(!jobs.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn hls_lists_segments_that_are_the_bytes_of_the_track() {
    let (house, video) = playing(3).await;
    let base = format!("/api/stream/{}", video.job);
    let (status, headers, master) = ask(&house, &format!("{base}/master.m3u8"), &[]).await;
    assert_eq!((status, &headers["content-type"]), (200, &"application/vnd.apple.mpegurl".parse().unwrap()));
    let master = String::from_utf8(master).unwrap();
    assert!(master.contains("360p/index.m3u8") && master.contains("URI=\"audio/index.m3u8\""), "{master}");
    let (_, _, playlist) = ask(&house, &format!("{base}/360p/index.m3u8"), &[]).await;
    let playlist = String::from_utf8(playlist).unwrap();
    assert!(playlist.contains("#EXT-X-ENDLIST") && playlist.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{playlist}");
    assert!(playlist.contains("#EXT-X-MAP:URI=\"init.mp4\""));
    let mut joined = Vec::new();
    for name in playlist.lines().filter(|line| !line.starts_with('#')) {
        let (status, headers, bytes) = ask(&house, &format!("{base}/360p/{name}"), &[]).await;
        assert_eq!((status, &headers["content-type"]), (200, &"video/mp4".parse().unwrap()));
        assert!(headers["cache-control"].to_str().unwrap().contains("immutable"));
        joined.extend(bytes);
    }
    assert!(joined == video.track);
    let (_, _, part) = ask(&house, &format!("{base}/360p/seg-0.m4s"), &[("range", "bytes=10-19")]).await;
    assert_eq!(part, &video.track[10..20]);
    let (_, _, init) = ask(&house, &format!("{base}/360p/init.mp4"), &[]).await;
    assert_eq!(init, b"init of 360p");
    let (_, headers, init) = ask(&house, &format!("{base}/audio/init.mp4"), &[]).await;
    assert_eq!(
        (init.as_slice(), &headers["content-type"]),
        (b"init of audio".as_slice(), &"audio/mp4".parse().unwrap())
    );
    for missing in [
        "360p/seg-99.m4s",
        "360p/seg-+1.m4s",
        "360p/x.m4s",
        "1080p/index.m3u8",
        "manifest.mpd",
        "poster.jpg",
        "captions.vtt",
        "360p.webm",
    ] {
        assert_eq!(ask(&house, &format!("{base}/{missing}"), &[]).await.0, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_growing_video_plays_from_its_beginning_and_says_what_is_not_there_yet() {
    let house = House::new().await;
    let job = JobId::from_parts(1_700_000_000_000, 8);
    let base = format!("/api/stream/{job}");
    row(&house.doors, job).await;
    for early in ["master.m3u8", "720p", "720p/index.m3u8", "audio/index.m3u8"] {
        let (status, headers, body) = ask(&house, &format!("{base}/{early}"), &[]).await;
        assert_eq!((status, headers.contains_key("retry-after")), (409, true), "{early}");
        assert!(String::from_utf8(body).unwrap().contains("not_ready"));
    }
    assert_eq!(ask(&house, &format!("{base}/240p"), &[]).await.0, 404);
    let video = Video::make(&house.doors, job, 3).await;
    let mut before = String::new();
    for chunks in 1..=3 {
        video.publish_beginning(&house.doors, chunks).await;
        let playlist = eventually("the playlist has grown", || async {
            let (status, headers, body) = ask(&house, &format!("{base}/360p/index.m3u8"), &[]).await;
            let text = String::from_utf8(body).unwrap();
            let has_grown = status == 200 && text.matches("#EXTINF").count() == chunks * 2;
            has_grown.then(|| {
                assert_eq!(headers["cache-control"], "no-cache");
                text
            })
        })
        .await;
        assert!(playlist.starts_with(&before) && playlist.contains("EVENT"), "{playlist}");
        before = playlist;
    }
    assert_eq!(ask(&house, &format!("{base}/360p"), &[]).await.0, 409, "the file is not whole yet");
    assert_eq!(ask(&house, &format!("{base}/360p/seg-77.m4s"), &[]).await.0, 409);
    video.publish(&house.doors).await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    let (_, _, body) = ask(&house, &format!("{base}/360p/index.m3u8"), &[]).await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(text.replace("VOD", "EVENT"), format!("{before}#EXT-X-ENDLIST\n"), "the target and all segments stay");
    assert_eq!(ask(&house, &format!("{base}/360p"), &[]).await.0, 200);
}

#[tokio::test]
async fn a_ready_video_plays_while_catalog_and_log_are_away() {
    let healthy = doors().await;
    let video = Video::make(&healthy, JobId::from_parts(1_700_000_000_000, 9), 2).await;
    video.publish(&healthy).await;
    let house = House::on(crate::doors::broken(healthy), pipeline::edge::Settings::default()).await;
    let path = format!("/api/stream/{}/360p", video.job);
    let (status, _, body) = ask(&house, &path, &[]).await;
    assert_eq!((status, body == video.file), (200, true));
    assert_eq!(ask(&house, &format!("/api/stream/{}/master.m3u8", video.job), &[]).await.0, 200);
    assert_eq!(ask(&house, &format!("/api/stream/{}/master.m3u8", JobId::from_parts(1, 2)), &[]).await.0, 503);
}

#[tokio::test]
async fn a_deleted_video_stops_playing() {
    let (house, video) = playing(2).await;
    row(&house.doors, video.job).await;
    let path = format!("/api/stream/{}/360p", video.job);
    assert_eq!(ask(&house, &path, &[]).await.0, 200);
    let deleted = house.http.delete(house.url(&format!("/api/jobs/{}", video.job))).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    assert_eq!(ask(&house, &path, &[]).await.0, 404);
}

#[tokio::test]
async fn an_edge_that_knows_a_video_hears_that_another_deleted_it() {
    let (one, video) = playing(2).await;
    row(&one.doors, video.job).await;
    let two = House::on(one.doors.clone(), pipeline::edge::Settings::default()).await;
    let path = format!("/api/stream/{}/360p", video.job);
    assert_eq!(ask(&two, &path, &[]).await.0, 200);
    let deleted = one.http.delete(one.url(&format!("/api/jobs/{}", video.job))).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    eventually("the other edge has heard", || async { (ask(&two, &path, &[]).await.0 == 404).then_some(()) }).await;
}

#[tokio::test]
async fn a_video_whose_bytes_are_gone_is_not_found() {
    let (house, video) = playing(2).await;
    let path = format!("/api/stream/{}/360p", video.job);
    assert_eq!(ask(&house, &path, &[("range", "bytes=0-9")]).await.0, 206);
    house.doors.blobs.delete_prefix(&schemas::manifest::prefix(video.job)).await.unwrap();
    assert_eq!(ask(&house, &path, &[]).await.0, 404);
}
