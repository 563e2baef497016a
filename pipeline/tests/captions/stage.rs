//! The stage with a listener that follows a script.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::Doors;
use pipeline::ml::Error;
use pipeline::ml::listener::Absent;
use pipeline::ml::whisper::Transcript;
use pipeline::stage::{Stage, StageError};
use pipeline::stages::caption::Caption;
use schemas::JobId;
use schemas::captions::prefix;
use schemas::event::SourceProbed;

use crate::clips::{SENTENCES, ffmpeg, speech, video, with_sound};
use crate::engine::InThread;
use crate::house::doors;
use crate::listener::{Scripted, captioned, context, cues, probed, segment, transcript};

/// A video in which `spans` sentences are spoken with pauses in between.
fn talk(folder: &Path, spans: usize) -> PathBuf {
    let sentences: Vec<&str> = SENTENCES.into_iter().cycle().take(spans).collect();
    let spoken = speech(folder, "en-us", 220, &sentences, None);
    with_sound(folder, "talk.mkv", &spoken.wav, &["-c:a", "pcm_s16le"])
}

struct Fixture {
    _folder: tempfile::TempDir,
    doors: Doors,
    event: SourceProbed,
}

async fn fixture(spans: usize) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (doors, file) = (doors().await, talk(folder.path(), spans));
    let event = probed(&doors, JobId::from_parts(1, 1), &file).await;
    Fixture { _folder: folder, doors, event }
}

#[tokio::test]
async fn whoever_comes_again_hears_only_what_is_missing_and_writes_the_same() {
    let Fixture { doors, event, .. } = fixture(11).await;
    let dying = Scripted::new(|number, samples, _| match number {
        0..9 => Ok(transcript("en", &[segment(samples, &format!(" Sentence number {number}."))])),
        _ => Err(Error::Gone("the process ended".to_owned())),
    });
    let failed = captioned(&doors, &event, dying.clone(), 1).await.unwrap_err();
    assert!(matches!(&failed, StageError::Retry(cause) if cause.message.contains("the process ended")), "{failed:?}");
    // Eight decide the language and are kept; of the next three one was heard before another failed.
    let lively = Scripted::new(|number, samples, _| {
        Ok(transcript("en", &[segment(samples, &format!(" Later number {number}."))]))
    });
    let written = captioned(&doors, &event, lively.clone(), 2).await.unwrap();
    assert!((2..=3).contains(&lively.count()), "{} spans were heard again", lively.count());
    let first = cues(&doors, &written).await;
    assert_eq!(first.len(), 11);
    assert_eq!((first[0].lines[0].as_str(), written.language.as_str()), ("Sentence number 0.", "en"));
    let silent = Scripted::new(|_, _, _| Err(Error::Gone("nobody is there".to_owned())));
    let again = captioned(&doors, &event, silent.clone(), 1).await.unwrap();
    assert_eq!((silent.count(), cues(&doors, &again).await, again.vtt), (0, first, written.vtt));
}

#[tokio::test]
async fn another_model_hears_everything_again_and_what_was_written_stays() {
    let Fixture { doors, event, .. } = fixture(2).await;
    let old = captioned(&doors, &event, Scripted::talking(), 1).await.unwrap();
    let text = |words: &'static str| {
        move |number, samples: &[f32], _: &_| Ok(transcript("en", &[segment(samples, &format!("{words} {number}"))]))
    };
    let mut newer = Arc::into_inner(Scripted::new(text("Newer words"))).unwrap();
    newer.model.as_mut().unwrap().version = "2".to_owned();
    let newer = Arc::new(newer);
    let new = captioned(&doors, &event, newer.clone(), 1).await.unwrap();
    assert_eq!((newer.count(), new.version.as_str()), (2, "2"));
    assert_ne!(old.vtt, new.vtt);
    assert_eq!(cues(&doors, &old).await[0].lines, ["Part number 0 is said here."]);
    assert_eq!(cues(&doors, &new).await[0].lines, ["Newer words 0"]);
}

#[tokio::test]
async fn the_first_spans_decide_the_language() {
    let Fixture { doors, event, .. } = fixture(10).await;
    let listener = Scripted::new(|number, samples, options| {
        // One of the first is taken for another language, as short ones are.
        let heard = if number == 3 { "cy" } else { "de" };
        let language = options.language.clone().unwrap_or_else(|| heard.to_owned());
        Ok(transcript(&language, &[segment(samples, &format!(" Wort {number} auf {language}."))]))
    });
    let written = captioned(&doors, &event, listener.clone(), 1).await.unwrap();
    assert_eq!(written.language, "de");
    assert!(cues(&doors, &written).await.iter().all(|cue| cue.lines[0].ends_with("auf de.")));
    let asked = listener.asked.lock().unwrap().clone();
    let languages: Vec<Option<&str>> = asked.iter().map(|(_, language)| language.as_deref()).collect();
    assert_eq!(languages[..8], [None; 8]);
    assert_eq!(languages[8..], [Some("de"); 3], "the odd one again, then the last two");
}

#[tokio::test]
async fn what_is_made_up_is_not_written() {
    let Fixture { doors, event, .. } = fixture(6).await;
    let listener = Scripted::new(|number, samples, _| {
        let said = match number {
            0 => " And so it begins.",
            1 => " you know you know you know you know you know",
            2 | 3 => " Thanks for watching, see you next time!",
            4 => " [Music]",
            _ => " The end.",
        };
        let mut heard = transcript("en", &[segment(samples, said)]);
        let after = segment(samples, " Nobody says this, it is long after.");
        heard.segments.push(pipeline::ml::whisper::Segment { start_s: 29.0, end_s: 29.9, ..after });
        Ok(heard)
    });
    let written = captioned(&doors, &event, listener, 1).await.unwrap();
    let lines: Vec<String> = cues(&doors, &written).await.into_iter().flat_map(|cue| cue.lines).collect();
    assert_eq!(lines, ["And so it begins.", "Thanks for watching, see you next time!", "The end."]);
    let nothing = Scripted::new(|_, _, _| Ok(Transcript::default()));
    let mut other = event;
    other.job = JobId::from_parts(1, 2);
    let written = captioned(&doors, &other, nothing, 1).await.unwrap();
    assert_eq!(written.reason.as_deref(), Some("speech was found, but no words in it"));
}

#[tokio::test]
async fn a_video_without_captions_says_why_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors().await;
    let mute = folder.path().join("mute.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1", "-c:v", "libx264"], &mute);
    let event = probed(&doors, JobId::from_parts(3, 1), &mute).await;
    let written = captioned(&doors, &event, Scripted::talking(), 1).await.unwrap();
    assert_eq!((written.reason.as_deref(), written.language.as_str()), (Some("no audio track"), "zxx"));

    let file = talk(folder.path(), 1);
    let event = probed(&doors, JobId::from_parts(3, 2), &file).await;
    let mut absent = Arc::into_inner(Scripted::talking()).unwrap();
    absent.model = Err(Absent("no model: run streamforge models pull whisper-base.en".to_owned()));
    let written = captioned(&doors, &event, Arc::new(absent), 1).await.unwrap();
    let reason = "captions: unavailable (no model: run streamforge models pull whisper-base.en)";
    assert_eq!((written.reason.as_deref(), written.language.as_str()), (Some(reason), "und"));

    let broken =
        || Scripted::new(|_, _, _| Err(Error::Unfit("model.safetensors lacks `encoder.conv1.weight`".to_owned())));
    let written = captioned(&doors, &event, broken(), 1).await.unwrap();
    let reason = written.reason.unwrap();
    assert_eq!(reason, "captions: unavailable (script cannot be used: model.safetensors lacks `encoder.conv1.weight`)");

    let dying = Scripted::new(|_, _, _| Err(Error::Gone("the process ended".to_owned())));
    let failed = captioned(&doors, &event, dying.clone(), 1).await.unwrap_err();
    assert!(matches!(failed, StageError::Retry(_)), "it may go better: {failed:?}");
    let written = Caption::new(InThread, dying).without(&event, failed.cause(), 5).unwrap();
    assert_eq!(written.reason.as_deref(), Some("captions: unavailable (the process ended)"), "when it did not");
}

#[tokio::test]
async fn sound_that_cannot_be_decoded_is_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors().await;
    let file = video(folder.path(), "in.mp4", "sine=frequency=300:duration=2", &["-c:a", "aac"]);
    let mut event = probed(&doors, JobId::from_parts(4, 1), &file).await;
    event.media.audio.as_mut().unwrap().index = 7;
    let written = captioned(&doors, &event, Scripted::talking(), 1).await.unwrap();
    let reason = written.reason.unwrap();
    assert!(reason.starts_with("captions: unavailable (the file has no track 7"), "{reason}");
}

#[tokio::test]
async fn work_that_nobody_wants_ends_at_once_and_leaves_no_captions() {
    let Fixture { doors, event, .. } = fixture(2).await;
    let cx = context(&doors, event.job, 3);
    let cancel = cx.cancel.clone();
    let listener = Scripted::new(move |_, samples, _| {
        cancel.cancel();
        Ok(transcript("en", &[segment(samples, " Too late.")]))
    });
    let called_off = Caption::new(InThread, listener).process(event.clone(), &cx).await;
    assert!(matches!(called_off, Err(StageError::Retry(cause)) if cause.code == "cancelled"));
    let left = doors.blobs.list(&prefix(event.job)).await.unwrap();
    assert!(left.iter().all(|blob| !blob.key.ends_with(".vtt")), "{left:?}");
}
