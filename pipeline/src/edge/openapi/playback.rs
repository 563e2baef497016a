//! What videos are watched by. Every address here answers HEAD as well.

use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

use super::call::{Call, get};

const VIDEO: &str = "playback";
const BESIDE: &str = "pictures";
const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// How the bytes of an address may be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// All of them at a time.
    Whole,
    /// Ranges as well.
    Ranges,
}

/// Group, address, name, what it is, media types, and how it may be asked for.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], By);

const ROWS: [Row; 15] = [
    (VIDEO, "/api/stream/{id}/{quality}", "streamFile", "The progressive MP4", &["video/mp4"], By::Ranges),
    (VIDEO, "/api/stream/{id}/master.m3u8", "hlsMaster", "The HLS playlist of all renditions", &[PLAYLIST], By::Whole),
    (VIDEO, "/api/stream/{id}/{track}/index.m3u8", "hlsMedia", "The HLS playlist of a track", &[PLAYLIST], By::Whole),
    (
        VIDEO,
        "/api/stream/{id}/{track}/init.mp4",
        "hlsInit",
        "The initialisation segment of a track",
        &["video/mp4", "audio/mp4"],
        By::Ranges,
    ),
    (
        VIDEO,
        "/api/stream/{id}/{track}/seg-{n}.m4s",
        "hlsSegment",
        "A segment of a track",
        &["video/mp4", "audio/mp4"],
        By::Ranges,
    ),
    (
        VIDEO,
        "/api/stream/{id}/captions/index.m3u8",
        "hlsCaptions",
        "The HLS playlist of the captions",
        &[PLAYLIST],
        By::Whole,
    ),
    (
        VIDEO,
        "/api/stream/{id}/captions/{file}.vtt",
        "hlsCaptionsSegment",
        "The captions of a segment",
        &["text/vtt"],
        By::Ranges,
    ),
    (BESIDE, "/api/stream/{id}/captions.vtt", "captionsVtt", "The captions as WebVTT", &["text/vtt"], By::Ranges),
    (
        BESIDE,
        "/api/stream/{id}/captions.srt",
        "captionsSrt",
        "The captions as SubRip",
        &["application/x-subrip"],
        By::Ranges,
    ),
    (
        BESIDE,
        "/api/stream/{id}/poster.jpg",
        "poster",
        "The picture that stands for the video",
        &["image/jpeg"],
        By::Ranges,
    ),
    (
        BESIDE,
        "/api/stream/{id}/posters/{n}.jpg",
        "posterAlternative",
        "Another picture that may stand for it, from 1",
        &["image/jpeg"],
        By::Ranges,
    ),
    (BESIDE, "/api/stream/{id}/thumbnails/{n}.jpg", "thumbnail", "The picture of a shot", &["image/jpeg"], By::Ranges),
    (
        BESIDE,
        "/api/stream/{id}/storyboard.vtt",
        "storyboard",
        "Which tile of the sheet is for which time, as WebVTT",
        &["text/vtt"],
        By::Ranges,
    ),
    (BESIDE, "/api/stream/{id}/storyboard.jpg", "storyboardSheet", "The sheet of tiles", &["image/jpeg"], By::Ranges),
    (
        VIDEO,
        "/api/stream/{id}/manifest.mpd",
        "dashManifest",
        "The DASH manifest: none is served yet, and the answer says so",
        &[],
        By::Whole,
    ),
];

pub(super) fn calls() -> Vec<Call> {
    ROWS.iter().flat_map(|row| [call(HttpMethod::Get, row), call(HttpMethod::Head, row)]).collect()
}

fn call(method: HttpMethod, &(tag, path, id, what, kinds, by): &Row) -> Call {
    let mut call = match method {
        HttpMethod::Head => {
            Call::new(method, tag, path, format!("{id}Head"), "As GET, without the body and without ranges")
        }
        _ => get(tag, path, id, what),
    };
    call = call
        .header("If-None-Match", Required::False, "The validator that is known: answered 304 when it is still that")
        .header("If-Modified-Since", Required::False, "The same by time");
    if by == By::Ranges {
        call = call.header("Range", Required::False, "RFC 9110 byte ranges: one, or up to 64").header(
            "If-Range",
            Required::False,
            "Ranges only of what has this validator",
        );
    }
    if by == By::Ranges {
        let some = [kinds, &["multipart/byteranges"]].concat();
        call = call.gives(206, &some, "The ranges asked for, several as multipart/byteranges").problems(&[416]);
    }
    if !kinds.is_empty() {
        call = call.gives(200, kinds, what).bare(304, "Not modified").problems(&[409, 412]);
    }
    call.problems(&[404, 503])
}
