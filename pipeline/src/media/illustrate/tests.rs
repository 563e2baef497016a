//! Pictures of videos that ffmpeg draws.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::media::{Request, Response, worker};

/// A folder with one clip.
struct Clip {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

/// What came of a clip: the answer, and the JPEGs in its order.
struct Made {
    answer: Illustrated,
    jpegs: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Collected(Vec<Vec<u8>>);

impl Sink for Collected {
    fn bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        self.0.resize(self.0.len().max(index + 1), Vec::new());
        self.0[index].extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _frames: u64) -> Result<(), Error> {
        Ok(())
    }
}

fn ffmpeg(arguments: &[&str], path: &Path) {
    let status = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).arg(path).status();
    assert!(status.expect("ffmpeg is installed").success(), "ffmpeg {arguments:?}");
}

/// A clip of what `graph` draws, in 25 pictures a second.
fn drawn(graph: &str, name: &str, options: &str) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut arguments = vec!["-filter_complex", graph];
    arguments.extend(options.split_whitespace());
    ffmpeg(&arguments, &path);
    Clip { _folder: folder, path }
}

const PLAIN: &str = "-c:v libx264 -preset ultrafast -crf 20 -pix_fmt yuv420p";

fn clip(graph: &str) -> Clip {
    drawn(graph, "clip.mp4", PLAIN)
}

fn pictures(clip: &Clip, budget_bytes: u64) -> Made {
    worker::quiet();
    let open = || File::open(&clip.path).unwrap();
    let mut sink = Collected::default();
    let Response::Probed(probed) = worker::run(&Request::Probe, open(), &mut sink).unwrap() else { panic!("no probe") };
    let task = Task { media: probed.media, budget_bytes };
    let Response::Illustrated(answer) = worker::run(&Request::Pictures(task), open(), &mut sink).unwrap() else {
        panic!("no pictures")
    };
    let expected = answer.posters.len() + usize::from(answer.sheet.is_some()) + answer.thumbnails.len();
    assert_eq!(sink.0.len(), expected, "as many pictures as are told");
    Made { answer, jpegs: sink.0 }
}

/// The pixels of a JPEG as any other decoder sees them: width, height, and red, green and blue of each.
fn pixels(jpeg: &[u8]) -> (usize, usize, Vec<[u8; 3]>) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("in.jpg"), folder.path().join("out.ppm"));
    std::fs::write(&from, jpeg).unwrap();
    ffmpeg(&["-i", from.to_str().unwrap()], &to);
    let ppm = std::fs::read(to).unwrap();
    let head: Vec<&[u8]> = ppm.splitn(4, |byte| *byte == b'\n').collect();
    let size = std::str::from_utf8(head[1]).unwrap();
    let (width, height) = size.split_once(' ').unwrap();
    let colours = head[3].chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    (width.parse().unwrap(), height.parse().unwrap(), colours)
}

const PLENTY: u64 = 10_000_000;

/// One source of pictures of `seconds`, by number: each looks different, and most move.
fn source(number: usize, seconds: f64) -> String {
    let kinds = [
        "testsrc2=s=320x180:r=25",
        "mandelbrot=s=320x180:r=25:end_scale=0.2",
        "smptehdbars=s=320x180:r=25",
        "life=s=320x180:r=25:mold=10:ratio=0.1:death_color=#C83232:life_color=#00ff00:seed=7",
        "yuvtestsrc=s=320x180:r=25",
        "rgbtestsrc=s=320x180:r=25",
        "sierpinski=s=320x180:r=25:seed=5",
        "testsrc=s=320x180:r=25",
    ];
    format!("{},trim=duration={seconds},setpts=PTS-STARTPTS,format=yuv420p,setsar=1", kinds[number % kinds.len()])
}

/// The sources of `lengths` seconds one after the other, then `last`.
fn row(lengths: &[f64], last: &str) -> String {
    let all: Vec<String> =
        lengths.iter().enumerate().map(|(at, length)| format!("{}[s{at}]", source(at, *length))).collect();
    let names: String = (0..lengths.len()).map(|at| format!("[s{at}]")).collect();
    format!("{};{names}concat=n={}:v=1:a=0{last}", all.join(";"), lengths.len())
}

/// Finds the cuts of a video with shots of 0.4 to 2.2 s, encoded so.
fn find_cuts(noise: &str, options: &str) -> Made {
    let lengths = [1.2, 2.0, 0.6, 1.0, 1.48, 0.4, 2.2, 0.88];
    let made = pictures(&drawn(&row(&lengths, noise), "cuts.mp4", options), PLENTY);
    let truth = lengths.iter().scan(0.0, |at, length| {
        *at += length;
        Some((*at * 1e6_f64).round() as i64)
    });
    let truth: Vec<i64> = truth.take(lengths.len() - 1).collect();
    let found: Vec<i64> = made.answer.transitions.iter().map(|found| found.start_us).collect();
    assert_eq!(found.len(), truth.len(), "{noise} {options}: {found:?} instead of {truth:?}");
    assert!(
        found.iter().zip(&truth).all(|(a, b)| (a - b).abs() <= 80_000),
        "{noise} {options}: {found:?} instead of {truth:?}"
    );
    assert_eq!(made.answer.shots as usize, lengths.len());
    assert_eq!(made.answer.thumbnails.len(), lengths.len(), "one for each shot");
    for (thumb, start) in made.answer.thumbnails.iter().zip([0].into_iter().chain(truth)) {
        assert!((thumb.start_us - start).abs() <= 80_000 && thumb.still.at_us >= thumb.start_us, "{thumb:?}");
        assert!(thumb.still.at_us < thumb.end_us, "{thumb:?}");
    }
    made
}

const GRAINY: &str = ",noise=alls=24:allf=t";

#[test]
fn hard_cuts_are_found_within_two_frames() {
    for noise in ["", GRAINY] {
        assert_eq!(find_cuts(noise, PLAIN).answer.frames, 244);
    }
}

#[test]
fn hard_cuts_are_found_where_pictures_are_left_out() {
    // Nothing tells the encoder where a shot begins, so that any picture may be the first one.
    for (pictures, fewest, most) in [("-bf 3", 110, 200), ("-bf 1", 120, 200), ("-bf 8", 110, 244)] {
        for noise in ["", GRAINY] {
            let options =
                format!("-c:v libx264 -preset fast {pictures} -sc_threshold 0 -g 250 -crf 23 -pix_fmt yuv420p");
            let frames = find_cuts(noise, &options).answer.frames;
            assert!((fewest..=most).contains(&frames), "{pictures}{noise}: {frames} frames");
        }
    }
}

#[test]
fn fades_and_dissolves_are_found_where_they_are() {
    for (kind, from, to) in
        [("fade", 0, 2), ("fadeblack", 2, 0), ("fade", 5, 1), ("fadewhite", 7, 5), ("dissolve", 2, 5)]
    {
        let graph = format!(
            "{}[a];{}[b];[a][b]xfade=transition={kind}:duration=1:offset=2,noise=alls=6:allf=t",
            source(from, 3.0),
            source(to, 3.0)
        );
        let made = pictures(&clip(&graph), PLENTY);
        let [found] = made.answer.transitions[..] else { panic!("{kind}: {:?}", made.answer.transitions) };
        assert!(found.start_us < 3_000_000 && found.end_us > 2_000_000, "{kind}: {found:?}");
        for still in &made.answer.posters {
            assert!(!(2_080_000..2_920_000).contains(&still.at_us), "{kind}: a poster out of the fade: {still:?}");
        }
    }
}

#[test]
fn flashes_and_fast_motion_are_no_cuts() {
    let flash = "drawbox=c=white:t=fill:enable='between(n,30,31)+between(n,60,60)'";
    let pan = "smptehdbars=s=960x540:r=25,rotate=0.3:c=teal,crop=320:180:x='mod(n*14,600)':y=100,trim=end_frame=42";
    let shaky = "testsrc2=s=640x360:r=25,crop=320:180:x='80+60*sin(n*1.7)':y='60+40*cos(n*2.3)',trim=duration=3";
    for graph in [format!("{},{flash}", source(0, 4.0)), pan.to_owned(), shaky.to_owned(), source(1, 5.0)] {
        let made = pictures(&clip(&format!("{graph},format=yuv420p")), PLENTY);
        assert_eq!(made.answer.transitions, [], "{graph}");
    }
}

#[test]
fn the_poster_is_neither_black_nor_white_nor_flat_nor_blurred_nor_fading() {
    let plain = |colour: &str| format!("color={colour}:s=320x180:r=25,trim=duration=2,format=yuv420p,setsar=1");
    let blurred = format!("{},boxblur=14:3", source(7, 2.0));
    let good = format!("{},fade=in:d=0.8,fade=out:st=2.2:d=0.8", source(0, 3.0));
    let graph = format!(
        "{}[a];{}[b];{blurred}[c];{good}[d];{}[e];[a][b][c][d][e]concat=n=5",
        plain("black"),
        plain("white"),
        plain("0x507050")
    );
    let made = pictures(&clip(&graph), PLENTY);
    let poster = made.answer.posters[0];
    assert!((6_800_000..8_200_000).contains(&poster.at_us), "{:?}", made.answer.posters);
    let (width, height, colours) = pixels(&made.jpegs[0]);
    assert_eq!((width, height), (poster.width as usize, poster.height as usize));
    assert_eq!((width, height), (320, 180), "never larger than the source");
    let mean = colours.iter().map(|pixel| u64::from(pixel[1])).sum::<u64>() / colours.len() as u64;
    assert!((40..220).contains(&mean), "{mean}");
}

#[test]
fn rotated_and_stretched_video_gives_upright_pictures_of_the_right_aspect() {
    // Red above, blue below, as it is meant to be seen: coded lying on its side.
    let upright = "color=red:s=180x320:r=25:d=1[a];color=blue:s=180x320:r=25:d=1[b];[a][b]vstack,format=yuv420p";
    let folder = tempfile::tempdir().unwrap();
    let lying = folder.path().join("lying.mp4");
    ffmpeg(&["-filter_complex", &format!("{upright},transpose=clock"), "-c:v", "libx264"], &lying);
    let path = folder.path().join("turned.mov");
    ffmpeg(&["-i", lying.to_str().unwrap(), "-c", "copy", "-metadata:s:v:0", "rotate=90"], &path);
    let made = pictures(&Clip { _folder: folder, path }, PLENTY);
    let (width, height, colours) = pixels(&made.jpegs[0]);
    assert_eq!((width, height), (180, 640));
    let at = |row: usize| colours[row * width + width / 2];
    assert!(at(60)[0] > 200 && at(60)[2] < 60 && at(580)[2] > 200 && at(580)[0] < 60, "{:?} {:?}", at(60), at(580));
    let sheet = made.answer.sheet.unwrap();
    assert_eq!((sheet.tile_width, sheet.tile_height), (46, 160));

    let stretched = clip("testsrc2=s=180x288:r=25:d=1,setsar=32/9,format=yuv420p");
    let poster = pictures(&stretched, PLENTY).answer.posters[0];
    assert_eq!((poster.width, poster.height), (640, 288));
}

#[test]
fn colours_are_those_of_the_source() {
    let options = "-c:v libx264 -crf 5 -colorspace bt709 -color_range tv";
    let graph = "color=0xC83C28:s=1280x720:r=25:d=0.4,scale=out_color_matrix=bt709,format=yuv420p";
    let made = pictures(&drawn(graph, "hd.mp4", options), PLENTY);
    let (width, height, colours) = pixels(&made.jpegs[0]);
    assert_eq!((width, height), (1280, 720));
    let near = |found: [u8; 3]| [0xC8_u8, 0x3C, 0x28].iter().zip(found).all(|(want, have)| want.abs_diff(have) <= 6);
    assert!(near(colours[width * 360 + 640]), "{:?}", colours[width * 360 + 640]);
}

#[test]
fn short_black_and_endless_videos_have_a_poster() {
    let poster = |made: &Made| {
        assert_eq!(made.jpegs[0][..2], [0xff, 0xd8]);
        made.answer.posters[0]
    };
    let one = clip("testsrc2=s=320x180:r=25,trim=end_frame=1,format=yuv420p");
    let made = pictures(&one, PLENTY);
    assert_eq!((made.answer.frames, made.answer.shots, poster(&made).at_us), (1, 1, 0));
    assert_eq!(made.answer.sheet.as_ref().unwrap().starts_us, [0]);
    assert_eq!(made.answer.thumbnails.len(), 1);

    let two = clip("testsrc2=s=320x180:r=25,trim=end_frame=2,format=yuv420p");
    assert_eq!(pictures(&two, PLENTY).answer.frames, 2);

    let black = clip("color=black:s=320x180:r=25:d=3,format=yuv420p");
    let made = pictures(&black, PLENTY);
    assert_eq!((made.answer.shots, made.answer.posters.len()), (1, 1));
    assert!(poster(&made).score < 0.1);

    let live = drawn("testsrc2=s=320x180:r=25:d=3", "live.webm", "-c:v libvpx -deadline realtime -f webm -live 1");
    let made = pictures(&live, PLENTY);
    assert_eq!((made.answer.frames, made.answer.sheet.unwrap().starts_us.len()), (75, 3));
    let stream = drawn("testsrc2=s=320x180:r=25:d=3", "clip.ts", "-c:v mpeg2video -f mpegts");
    assert_eq!(pictures(&stream, PLENTY).answer.frames, 75);
}

#[test]
fn a_thousand_cuts_are_found_and_a_bounded_number_of_pictures_is_kept() {
    // A new pattern every third frame.
    let draw = |salt: u32| {
        format!("mod(floor(X/8)*(37+{salt}+floor(N/3)*11)+floor(Y/6)*(53+floor(N/3)*7)+floor(N/3)*{}\\,200)", 29 + salt)
    };
    let graph = format!("nullsrc=s=64x36:r=25:d=120.12,format=yuv420p,geq=lum='{}':cb=128:cr='{}'", draw(0), draw(31));
    let made = pictures(&clip(&graph), PLENTY);
    assert_eq!(made.answer.frames, 3003);
    assert!((960..=1001).contains(&made.answer.shots), "{}", made.answer.shots);
    assert_eq!(made.answer.thumbnails.len(), thumbnails::MOST);
    assert_eq!(made.answer.sheet.unwrap().starts_us.len(), storyboard::MOST_TILES);
    let spread = made.answer.thumbnails.windows(2).all(|pair| pair[0].start_us < pair[1].start_us);
    assert!(spread && made.answer.thumbnails[60].start_us > 100_000_000);
}

#[test]
fn the_storyboard_covers_the_last_seconds() {
    let graph = "testsrc2=s=160x90:r=10:d=118[a];color=red:s=160x90:r=10:d=2[b];[a][b]concat,format=yuv420p";
    let made = pictures(&clip(graph), PLENTY);
    let sheet = made.answer.sheet.as_ref().unwrap();
    assert_eq!((sheet.starts_us.len(), sheet.columns, sheet.tile_width, sheet.tile_height), (100, 10, 160, 90));
    let (width, height, colours) = pixels(&made.jpegs[made.answer.posters.len()]);
    assert_eq!((width, height), (1600, 900));
    let last = colours[(900 - 45) * width + 1600 - 80];
    let first = colours[45 * width + 80];
    assert!(last[0] > 200 && last[1] < 60 && first != last, "{last:?} {first:?}");
}

#[test]
fn all_of_it_stays_within_its_bytes_and_is_the_same_each_time() {
    let clip = clip(&row(&[3.0, 2.0, 4.0], ",scale=1280:720"));
    let size = std::fs::metadata(&clip.path).unwrap().len();
    for budget in [0, 20_000, size / 50, 200_000] {
        let made = pictures(&clip, budget);
        let total: u64 = made.jpegs.iter().map(|jpeg| jpeg.len() as u64).sum();
        assert!(total <= budget.max(budget::LEAST_POSTER), "{total} of {budget}");
        assert!(!made.answer.posters.is_empty());
        let again = pictures(&clip, budget);
        assert_eq!((again.answer, again.jpegs), (made.answer, made.jpegs));
    }
}
