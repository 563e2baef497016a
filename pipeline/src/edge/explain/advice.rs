//! What somebody can do about a job that failed.

use schemas::event::Failure;

/// One sentence of what to do about `error`.
pub fn of(error: &Failure) -> &'static str {
    match error.code.as_str() {
        "unsupported_media" => "Export it as MP4 with H.264, or in another usual format, and upload that.",
        "no_video" => "Upload a file that has a picture: this one has sound at most.",
        "too_large_picture" => "Scale it down, such as to 3840 by 2160, and upload that.",
        "too_many_tracks" => {
            "Leave out what is not needed, such as with `ffmpeg -i FILE -map 0:v:0 -map 0:a:0? -c copy NEW.mp4`, and upload that."
        }
        "too_long" => "Cut it into shorter files, and upload those.",
        "damaged_media" => "Copy it once more from where it came from, or export it again, and upload that.",
        "media_crashed" | "crashed" => {
            "Export the file again and upload that; whoever runs this server finds what crashed among the dead letters (`streamforge dlq list`)."
        }
        "encoder_failed" => {
            "It is nothing about the file: upload it again, and if it fails again look at the workers' memory, disk and log lines."
        }
        // Before anything is encoded it is the file that is looked at.
        _ if matches!(error.stage.as_str(), "probe" | "split") => "Export the file again, or upload another one.",
        _ => {
            "Upload the file again; if it fails again, whoever runs this server finds the details among the dead letters \
             (`streamforge dlq list`)."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Code;

    #[test]
    fn every_failure_of_media_has_advice_of_its_own() {
        use Code::*;
        let of =
            |code: &str, stage: &str| of(&Failure { code: code.into(), stage: stage.into(), message: String::new() });
        let codes = [
            UnsupportedMedia,
            NoVideo,
            TooLargePicture,
            TooManyTracks,
            TooLong,
            DamagedMedia,
            MediaCrashed,
            EncoderFailed,
        ];
        let mut all: Vec<&str> = codes.iter().map(|code| of(code.as_str(), "transcode")).collect();
        assert!(!all.contains(&of("odd", "transcode")));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), codes.len());
        assert_ne!(of("odd", "probe"), of("odd", "stitch"));
    }
}
