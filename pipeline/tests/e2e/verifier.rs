//! The measuring itself: it accepts a faithful copy, and sees each fault that a pipeline could make.

use std::path::Path;

use crate::check::{self, Allow};
use crate::clip;
use crate::measure::{Measured, measure};

/// Problems of `shown` against `source`, all of them in one text.
fn compare(source: &Measured, shown: &Measured) -> String {
    let mut problems = check::pictures(source.pictures(), shown.pictures(), source.origin(), Allow::default());
    problems.extend(check::sound(source, shown, shown.pictures(), Allow::default()));
    problems.join("; ")
}

/// Encodes `from` again with faults and measures the result.
async fn copy_with(from: &Path, name: &str, options: &[&str]) -> Measured {
    let to = from.with_file_name(name);
    let mut args = vec!["-i", from.to_str().unwrap()];
    args.extend(options);
    args.extend(["-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac", to.to_str().unwrap()]);
    clip::ffmpeg(args).await.unwrap();
    measure(to.to_str().unwrap(), 1, true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faithful_copy_passes_and_every_fault_is_seen() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let file = clip::plain(folder.path(), "clip.mp4", 640, 360, 4.0).await.unwrap();
    let source = measure(file.to_str().unwrap(), 1, true).await.unwrap();
    let numbers: Vec<_> = source.pictures().iter().map(|picture| picture.number).collect();
    assert_eq!(numbers, (0..100).map(Some).collect::<Vec<_>>());
    assert_eq!(source.sound.as_ref().unwrap().beeps().len(), 4);

    assert_eq!(compare(&source, &copy_with(&file, "same.mp4", &["-s", "426x240"]).await), "");
    for (name, options, sees) in [
        (
            "lost.mp4",
            &["-vf", "select='not(eq(n,57))'", "-fps_mode", "passthrough"][..],
            "99 pictures instead of 100: lost [57]",
        ),
        ("swapped.mp4", &["-vf", "shuffleframes=0 2 1 3"], "instead of Some(1)"),
        (
            "uneven.mp4",
            &["-vf", "settb=1/1000,setpts='PTS+15*gte(N,50)'", "-fps_mode", "passthrough", "-enc_time_base", "1:1000"],
            "picture 50 is 15.0 ms late",
        ),
        ("late.mp4", &["-af", "adelay=60:all=1"], "ms from their flashes"),
        ("turned.mp4", &["-vf", "vflip"], "cannot be read"),
        ("grey.mp4", &["-vf", "hue=s=0.4"], "instead of"),
        ("gap.mp4", &["-af", "aselect='not(eq(n,90))',asetpts=N/SR/TB"], "the tone breaks"),
        ("click.mp4", &["-af", "volume=0:enable='between(t,2.1,2.12)'"], "the tone breaks"),
        ("short.mp4", &["-af", "atrim=end=3.5"], "sound lasts"),
    ] {
        let found = compare(&source, &copy_with(&file, name, options).await);
        assert!(found.contains(sees), "{name}: `{sees}` is not in `{found}`");
    }
}
