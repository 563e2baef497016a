//! HLS playlists (RFC 8216) out of a manifest, without any I/O.
//!
//! Every address in them is relative, so that they work behind any prefix.

use std::fmt::Write as _;

use schemas::manifest::{Manifest, SEGMENT_SECONDS, Segment, Track, segments};

/// `Content-Type` of a playlist.
pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

/// Target duration of every playlist whose fragments keep to the grid: segments end within half a second of
/// [`SEGMENT_SECONDS`], and a growing playlist must never have to change it.
pub const TARGET_SECONDS: u64 = SEGMENT_SECONDS + 1;

/// The playlist that names all renditions, with captions in a language where there are any.
pub fn master(manifest: &Manifest, captions: Option<&str>) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if manifest.audio.is_some() {
        text.push_str(concat!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,",
            "URI=\"audio/index.m3u8\"\n"
        ));
    }
    if let Some(language) = captions {
        // A tag that says nothing is better left out.
        let language = if language == "und" { String::new() } else { format!("LANGUAGE=\"{language}\",") };
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"captions\",NAME=\"Captions\",{language}DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,\
             CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog\",URI=\"captions/index.m3u8\""
        );
    }
    let audio_peak = manifest.audio.as_ref().map_or(0, peak);
    let audio_average = manifest.audio.as_ref().map_or(0, average);
    for rendition in &manifest.renditions {
        let codecs = match &manifest.audio {
            Some(audio) => format!("{},{}", rendition.video.codec, audio.codec),
            None => rendition.video.codec.clone(),
        };
        let _ = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\",RESOLUTION={}x{}",
            peak(&rendition.video) + audio_peak,
            average(&rendition.video) + audio_average,
            rendition.width,
            rendition.height,
        );
        if rendition.fps > 0.0 {
            let _ = write!(text, ",FRAME-RATE={:.3}", rendition.fps);
        }
        if manifest.audio.is_some() {
            text.push_str(",AUDIO=\"audio\"");
        }
        if captions.is_some() {
            text.push_str(",SUBTITLES=\"captions\"");
        }
        let _ = writeln!(text, "\n{}/index.m3u8", rendition.quality);
    }
    text
}

/// The playlist of one track.
pub fn media(manifest: &Manifest, track: &Track, target_seconds: u64) -> String {
    let kind = if manifest.complete { "VOD" } else { "EVENT" };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target_seconds}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:{kind}\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    for (number, segment) in listed(manifest, track).iter().enumerate() {
        let _ = write!(text, "#EXTINF:{:.6},\nseg-{number}.m4s\n", seconds(segment.duration, track.timescale));
    }
    if manifest.complete {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// The playlist of the captions in `file`: one segment as long as the whole video, which captions may have (RFC 8216, section
/// 6.2.4).
pub fn captions(manifest: &Manifest, file: &str) -> String {
    let tracks = manifest.renditions.iter().map(|rendition| &rendition.video).chain(&manifest.audio);
    let seconds = tracks.map(end_seconds).fold(0.0, f64::max);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXTINF:{seconds:.6},\n{file}\n#EXT-X-ENDLIST\n",
        (seconds.ceil() as u64).max(1)
    )
}

/// The segments of `track` that may be listed: all of a whole video; of a growing one those that can be played with
/// everything that belongs to them.
///
/// Pictures are listed as far as every rendition has them, and not before there is sound, which comes as one blob for the
/// whole length. Sound is listed as far as there are pictures, the segment included in which they end.
pub fn listed(manifest: &Manifest, track: &Track) -> Vec<Segment> {
    let mut listed = segments(&track.pieces, track.timescale);
    if manifest.complete {
        return listed;
    }
    let has_sound = manifest.audio.as_ref().is_none_or(|audio| !audio.pieces.is_empty());
    let ends = manifest.renditions.iter().map(|rendition| end_seconds(&rendition.video));
    // A millisecond of grace: tracks count in different ticks.
    let until = if has_sound { ends.fold(f64::INFINITY, f64::min) + 1e-3 } else { 0.0 };
    let is_sound = manifest.audio.as_ref().is_some_and(|audio| std::ptr::eq(audio, track));
    let reached = |segment: &&Segment| {
        if is_sound {
            start_seconds(segment, track.timescale) < until - 2e-3
        } else {
            segment_end(segment, track.timescale) <= until
        }
    };
    let reached = listed.iter().take_while(reached).count();
    listed.truncate(reached);
    listed
}

/// The target duration of a video whose longest distance between two frames is `longest_gap_s`.
///
/// Pictures come in groups of two seconds; one that stays longer stretches its group.
pub fn target_for_gap(longest_gap_s: f64) -> u64 {
    TARGET_SECONDS.max((longest_gap_s.max(0.0) + 2.5).ceil() as u64)
}

/// The smallest target duration that holds for what `manifest` lists by now.
pub fn target_of(manifest: &Manifest) -> u64 {
    let tracks = manifest.renditions.iter().map(|rendition| &rendition.video).chain(&manifest.audio);
    let longest = tracks
        .flat_map(|track| {
            segments(&track.pieces, track.timescale).into_iter().map(|s| seconds(s.duration, track.timescale))
        })
        .fold(0.0, f64::max);
    TARGET_SECONDS.max(longest.round() as u64)
}

/// Whether the video can be listed at all: at least one segment of every track.
pub fn is_playable(manifest: &Manifest) -> bool {
    manifest.complete || manifest.renditions.iter().all(|rendition| !listed(manifest, &rendition.video).is_empty())
}

fn seconds(ticks: u64, timescale: u32) -> f64 {
    ticks as f64 / f64::from(timescale.max(1))
}

fn start_seconds(segment: &Segment, timescale: u32) -> f64 {
    segment.start as f64 / f64::from(timescale.max(1))
}

fn segment_end(segment: &Segment, timescale: u32) -> f64 {
    start_seconds(segment, timescale) + seconds(segment.duration, timescale)
}

fn end_seconds(track: &Track) -> f64 {
    segments(&track.pieces, track.timescale).last().map_or(0.0, |last| segment_end(last, track.timescale))
}

/// Measured here as well, so that a playlist never promises less than what it lists.
fn peak(track: &Track) -> u64 {
    let measured = segments(&track.pieces, track.timescale).iter().map(|segment| segment.bps(track.timescale)).max();
    track.peak_bps.max(measured.unwrap_or(0))
}

fn average(track: &Track) -> u64 {
    track.average_bps.min(peak(track))
}

#[cfg(test)]
mod tests {
    use schemas::JobId;
    use schemas::event::Fragment;
    use schemas::manifest::{Piece, Rendition};

    use super::*;

    fn track(codec: &str, timescale: u32, pieces: &[&[u64]]) -> Track {
        let mut start = 0;
        let pieces = pieces
            .iter()
            .map(|durations| {
                let mut offset = 0;
                let fragments: Vec<Fragment> = durations
                    .iter()
                    .map(|duration| {
                        let fragment =
                            Fragment { offset, size: 1000, header: 8, start, duration: *duration, samples: 1 };
                        offset += 1000;
                        start += *duration as i64;
                        fragment
                    })
                    .collect();
                Piece { key: "k".into(), size: offset, sha256: String::new(), fragments }
            })
            .collect();
        Track { codec: codec.into(), timescale, init: Vec::new(), peak_bps: 5_000, average_bps: 4_000, pieces }
    }

    fn manifest(complete: bool, video: &[&[u64]], audio: Option<&[&[u64]]>) -> Manifest {
        Manifest {
            job: JobId::from_parts(1, 1),
            complete,
            playable_at: 0,
            written_at: 0,
            renditions: vec![Rendition {
                quality: "360p".into(),
                width: 640,
                height: 360,
                fps: 25.0,
                video: track("avc1.64001e", 1000, video),
                progressive: None,
            }],
            audio: audio.map(|pieces| track("mp4a.40.2", 48_000, pieces)),
        }
    }

    #[test]
    fn the_master_playlist_names_codecs_sizes_and_honest_rates() {
        let text = master(&manifest(true, &[&[2000, 2000]], Some(&[&[192_000]])), None);
        // Video: 2000 bytes in 4 s are 4000 bit/s, less than the 5000 stated; audio likewise.
        let line = "BANDWIDTH=10000,AVERAGE-BANDWIDTH=8000,CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO=\"audio\"\n360p/index.m3u8\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("TYPE=AUDIO,GROUP-ID=\"audio\""), "{text}");
        let silent = master(&manifest(true, &[&[500]], None), None);
        assert!(silent.contains("BANDWIDTH=16000,AVERAGE"), "measured 1000 bytes in half a second: {silent}");
        assert!(!silent.contains("AUDIO"), "{silent}");
    }

    #[test]
    fn captions_are_a_rendition_of_their_own() {
        let whole = manifest(true, &[&[2000, 2000]], None);
        let text = master(&whole, Some("pt-BR"));
        let media = text.lines().find(|line| line.contains("TYPE=SUBTITLES")).unwrap();
        assert!(media.contains("LANGUAGE=\"pt-BR\"") && media.ends_with("URI=\"captions/index.m3u8\""), "{media}");
        assert!(text.contains("FRAME-RATE=25.000,SUBTITLES=\"captions\"\n360p/index.m3u8\n"), "{text}");
        assert!(!master(&whole, Some("und")).contains("LANGUAGE"));
        let playlist = captions(&whole, "0123.vtt");
        let end = "#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4.000000,\n0123.vtt\n#EXT-X-ENDLIST\n";
        assert!(playlist.ends_with(end), "{playlist}");
    }

    #[test]
    fn a_growing_playlist_lists_what_both_tracks_have_and_gets_its_end_later() {
        let sound: &[&[u64]] = &[&[96_000, 96_000, 96_000, 96_000, 96_000, 96_000]];
        let begun = manifest(false, &[&[2000]], Some(sound));
        let playlist = |manifest: &Manifest, track: &Track| media(manifest, track, TARGET_SECONDS);
        let audio = playlist(&begun, begun.audio.as_ref().unwrap());
        assert_eq!(audio.matches("#EXTINF").count(), 1, "two seconds of pictures have their sound: {audio}");
        let growing = manifest(false, &[&[2000], &[2000, 2000]], Some(sound));
        let audio = playlist(&growing, growing.audio.as_ref().unwrap());
        assert_eq!(audio.matches("#EXTINF").count(), 1, "the second segment begins where the pictures end: {audio}");
        let video = playlist(&growing, &growing.renditions[0].video);
        assert_eq!(video.matches("#EXTINF").count(), 2, "{video}");
        assert!(video.contains("EVENT") && !video.contains("ENDLIST"), "{video}");
        let short = manifest(false, &[&[2000], &[2000]], Some(&[&[48_000]]));
        assert_eq!(listed(&short, &short.renditions[0].video).len(), 2, "sound that ends early holds nothing back");
        let silent = manifest(false, &[&[2000]], Some(&[]));
        assert!(!is_playable(&silent), "pictures wait for their sound");
        let whole = manifest(true, &[&[2000, 2000, 2000], &[2000, 2000]], Some(&[&[480_000]]));
        let video = media(&whole, &whole.renditions[0].video, TARGET_SECONDS);
        assert_eq!(video.matches("#EXTINF").count(), 2);
        assert!(video.contains("VOD") && video.ends_with("#EXT-X-ENDLIST\n"), "{video}");
        assert!(video.contains("#EXTINF:6.000000,\nseg-0.m4s\n#EXTINF:4.000000,\nseg-1.m4s\n"), "{video}");
    }

    #[test]
    fn a_longer_prefix_never_changes_what_was_listed() {
        let all: [&[u64]; 3] = [&[2000, 2000], &[2000, 2000, 2000, 2000], &[2000, 1500]];
        let mut before = String::new();
        for pieces in 1..=3 {
            let manifest = manifest(false, &all[..pieces], Some(&[&[960_000]]));
            let text = media(&manifest, &manifest.renditions[0].video, TARGET_SECONDS);
            assert!(text.starts_with(&before), "{text}\nafter\n{before}");
            before = text;
        }
    }

    #[test]
    fn the_target_holds_for_every_segment() {
        let slow = manifest(true, &[&[9_400], &[2000]], None);
        assert_eq!(target_of(&slow), 9);
        assert_eq!(target_of(&manifest(true, &[&[2000, 2000, 2500]], None)), TARGET_SECONDS);
        assert!(target_for_gap(7.4) >= 9);
        assert_eq!(target_for_gap(0.04), TARGET_SECONDS);
    }
}
