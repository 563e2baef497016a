//! What is heard and what is not: speech in several voices, silence, noise and music.

use schemas::JobId;

use crate::clips::{SENTENCES, ffmpeg, speech, video, with_sound};
use crate::house::doors;
use crate::listener::{Scripted, captioned, cues, probed};

/// How far a cue may be from its sentence, milliseconds.
const ACCURACY_MS: u64 = 200;

#[tokio::test]
async fn every_voice_is_found_when_it_speaks() {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors().await;
    let mut wrong = Vec::new();
    for (number, (voice, speed, noise)) in [
        ("en-us", 160, None),
        ("en-gb+f3", 150, None),
        ("en-us+m7", 130, None),
        ("de", 160, None),
        ("en-gb-x-rp+f5", 220, Some(15.0)),
        ("en-us", 170, Some(15.0)),
        ("en-gb-scotland+m3", 190, Some(15.0)),
        ("en+croak", 160, Some(15.0)),
    ]
    .into_iter()
    .enumerate()
    {
        let spoken = speech(folder.path(), voice, speed, &SENTENCES, noise);
        let file = with_sound(folder.path(), &format!("{number}.mkv"), &spoken.wav, &["-c:a", "aac", "-b:a", "96k"]);
        let event = probed(&doors, JobId::from_parts(1, number as u128), &file).await;
        let listener = Scripted::talking();
        let written = captioned(&doors, &event, listener.clone(), 1).await.unwrap();
        let found: Vec<(u64, u64)> =
            cues(&doors, &written).await.iter().map(|cue| (cue.start_ms, cue.end_ms)).collect();
        let is_near = |(found, true_time): (&(u64, u64), &std::ops::Range<u64>)| {
            found.0.abs_diff(true_time.start) <= ACCURACY_MS && found.1.abs_diff(true_time.end) <= ACCURACY_MS
        };
        if found.len() != 2 || !found.iter().zip(&spoken.times).all(is_near) {
            wrong.push(format!("{voice} at {noise:?} dB: {found:?} for {:?}", spoken.times));
        }
        assert_eq!(listener.count(), found.len(), "each sentence is heard once");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn silence_noise_and_music_are_not_heard_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors().await;
    let note = |step: f64| format!("220*pow(2,mod(floor(t/{step})*4,13)/12)");
    let partials = |step: f64| {
        let part = |n: u32| format!("sin(2*PI*{n}*{}*mod(t,{step}))/{n}", note(step));
        format!("exp(-6*mod(t,{step}))*({}+{}+{})", part(1), part(2), part(3))
    };
    let chord = |of: &str| format!("sin(2*PI*t*{of}*pow(2,floor(mod(t/2,4))/12))");
    let chords = format!("0.15*({}+{}+{})", chord("220"), chord("277.18"), chord("329.63"));
    let drums = "0.6*exp(-25*mod(t,0.5))*sin(2*PI*60*mod(t,0.5))+0.3*exp(-30*mod(t+0.25,0.5))*(random(0)-0.5)";
    let graphs = [
        ("silence", "anullsrc=r=44100:d=60".to_owned()),
        ("white noise", "anoisesrc=c=white:d=60:a=0.3:seed=1".to_owned()),
        ("pink noise", "anoisesrc=c=pink:d=60:a=0.3:seed=2".to_owned()),
        ("brown noise", "anoisesrc=c=brown:d=60:a=0.3:seed=3".to_owned()),
        ("chords", format!("aevalsrc='{chords}':d=60")),
        ("an arpeggio", format!("aevalsrc='0.5*{}':d=60", partials(0.25))),
        ("drums", format!("aevalsrc='{drums}':d=60")),
        ("a band", format!("aevalsrc='{chords}+0.3*{}+{drums}':d=60", partials(0.25))),
        ("beeps", "aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.08)+0.08*sin(2*PI*400*t)':d=60".to_owned()),
    ];
    for (number, (name, graph)) in graphs.iter().enumerate() {
        let file = video(folder.path(), &format!("{number}.mp4"), graph, &["-c:a", "aac"]);
        let event = probed(&doors, JobId::from_parts(2, number as u128), &file).await;
        let listener = Scripted::talking();
        let written = captioned(&doors, &event, listener.clone(), 1).await.unwrap();
        assert_eq!(listener.count(), 0, "{name}");
        assert_eq!((written.cues, written.vtt.is_none(), written.language.as_str()), (0, true, "zxx"), "{name}");
        assert_eq!(written.reason.as_deref(), Some("no speech was found"), "{name}");
    }
}

#[tokio::test]
async fn speech_is_found_beside_music_and_in_any_track() {
    let folder = tempfile::tempdir().unwrap();
    let doors = doors().await;
    let spoken = speech(folder.path(), "en-us", 160, &SENTENCES, None);
    let wav = spoken.wav.to_str().unwrap();
    let music = "aevalsrc='0.02*(sin(2*PI*220*t)+sin(2*PI*277.18*t)+sin(2*PI*329.63*t))':s=48000";
    for (number, (name, filter, layout)) in [
        ("44k.wav", "[0]aresample=44100,aformat=channel_layouts=stereo[a]".to_owned(), "44100"),
        ("film.wav", format!("[0]aresample=48000,pan=5.1|FC=c0[v];{music},pan=5.1|FL=c0|FR=c0[m];[v][m]amix=2:duration=first:normalize=0[a]"), "48000"),
        ("phone.wav", "[0]aresample=8000[a]".to_owned(), "8000"),
    ]
    .into_iter()
    .enumerate()
    {
        let track = folder.path().join(name);
        ffmpeg(&["-i", wav, "-filter_complex", &filter, "-map", "[a]", "-ar", layout, "-c:a", "pcm_s16le"], &track);
        let file = with_sound(folder.path(), &format!("{number}.mkv"), &track, &["-c:a", "pcm_s16le"]);
        let event = probed(&doors, JobId::from_parts(3, number as u128), &file).await;
        let written = captioned(&doors, &event, Scripted::talking(), 1).await.unwrap();
        let found = cues(&doors, &written).await;
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for (cue, time) in found.iter().zip(&spoken.times) {
            let is_near = cue.start_ms.abs_diff(time.start) <= 300 && cue.end_ms.abs_diff(time.end) <= 300;
            assert!(is_near, "{name}: {cue:?} for {time:?}");
        }
    }
}
