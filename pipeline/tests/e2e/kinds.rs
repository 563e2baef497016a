//! The kinds of input that must play.

use std::path::{Path, PathBuf};

use crate::clip::{self, Scene, Sound};
use crate::patch;

/// What happens to a clip after it is encoded.
#[derive(Clone, Copy)]
pub enum Then {
    /// Nothing.
    Keep,
    /// ffmpeg copies it: options before its input, options before its output.
    Copy(&'static str, &'static str),
    /// Its bytes are changed.
    Patch(fn(&mut Vec<u8>)),
    /// From half its length on it is half as large; ffmpeg joins the parts.
    Shrink,
}

/// One kind of input.
#[derive(Clone)]
pub struct Kind {
    /// Short name.
    pub name: &'static str,
    /// File name that is uploaded.
    pub file: &'static str,
    /// What is drawn.
    pub scene: Scene,
    /// What is heard.
    pub sound: Option<Sound>,
    /// Encoder and container options.
    pub encode: &'static str,
    /// What happens afterwards.
    pub then: Then,
    /// Upright size with square pixels.
    pub shows: (u32, u32),
    /// How much longer than the others the last picture is shown, seconds.
    pub hold: f64,
    /// Options with which ffmpeg presents it as it should be presented.
    pub decode: &'static str,
    /// Whether pictures of the source itself may be unreadable.
    pub is_damaged: bool,
    /// Whether colours are mapped and differ from what ffmpeg shows of the source.
    pub is_hdr: bool,
}

impl Kind {
    fn new(name: &'static str, file: &'static str, encode: &'static str) -> Self {
        Self {
            name,
            file,
            scene: Scene { width: 640, height: 360, rate: "25", seconds: 5.0, motion: "", finish: "" },
            sound: Some(Sound { layout: "stereo", rate: 48_000, begin: 0.0, end: 5.0 }),
            encode,
            then: Then::Keep,
            shows: (640, 360),
            hold: 0.0,
            decode: "",
            is_damaged: false,
            is_hdr: false,
        }
    }

    fn size(mut self, width: u32, height: u32) -> Self {
        (self.scene.width, self.scene.height) = (width, height);
        self.shows = (width, height);
        self
    }

    fn shows(mut self, width: u32, height: u32) -> Self {
        self.shows = (width, height);
        self
    }

    fn rate(mut self, rate: &'static str) -> Self {
        self.scene.rate = rate;
        self
    }

    fn seconds(mut self, seconds: f64) -> Self {
        self.scene.seconds = seconds;
        if let Some(sound) = &mut self.sound {
            sound.end = seconds;
        }
        self
    }

    fn sound(mut self, layout: &'static str, rate: u32, begin: f64, end: f64) -> Self {
        self.sound = Some(Sound { layout, rate, begin, end });
        self
    }

    fn silent(mut self) -> Self {
        self.sound = None;
        self
    }

    fn finish(mut self, filters: &'static str) -> Self {
        self.scene.finish = filters;
        self
    }

    fn motion(mut self, filters: &'static str) -> Self {
        self.scene.motion = filters;
        self
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    fn hold(mut self, seconds: f64) -> Self {
        self.hold = seconds;
        self
    }

    fn decode(mut self, options: &'static str) -> Self {
        self.decode = options;
        self
    }

    fn damaged(mut self) -> Self {
        self.is_damaged = true;
        self
    }

    fn hdr(mut self) -> Self {
        self.is_hdr = true;
        self
    }

    fn interlaced(mut self) -> Self {
        self.scene.motion = "tinterlace=mode=interleave_top";
        self
    }

    /// Makes the file in a folder of its own below `folder`.
    pub async fn make(&self, folder: &Path) -> Result<PathBuf, String> {
        let folder = folder.join(self.name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("make {}: {error}", folder.display()))?;
        let file = folder.join(self.file);
        match self.then {
            Then::Keep => clip::draw(&self.scene, self.sound.as_ref(), self.encode, &file).await?,
            Then::Copy(before, after) => {
                let first = folder.join(format!("first-{}", self.file));
                clip::draw(&self.scene, self.sound.as_ref(), self.encode, &first).await?;
                let mut args: Vec<String> = before.split_whitespace().map(str::to_owned).collect();
                args.extend(["-i".into(), first.display().to_string(), "-c".into(), "copy".into()]);
                args.extend(after.split_whitespace().map(str::to_owned));
                args.push(file.display().to_string());
                clip::ffmpeg(args).await?;
            }
            Then::Shrink => {
                let half = self.scene.seconds / 2.0;
                let small = Scene { finish: "scale=iw/2:ih/2", ..self.scene.clone() };
                let mut joined = Vec::new();
                let first = format!("-t {half} -output_ts_offset {half}");
                let second = format!("-ss {half} -output_ts_offset {}", self.scene.seconds);
                for (scene, part) in [(&self.scene, first), (&small, second)] {
                    let piece = folder.join("piece.ts");
                    clip::draw(scene, None, &format!("{} {part}", self.encode), &piece).await?;
                    joined.extend(std::fs::read(&piece).map_err(|error| format!("read {}: {error}", piece.display()))?);
                }
                let whole = folder.join("whole.ts");
                std::fs::write(&whole, joined).map_err(|error| format!("write {}: {error}", whole.display()))?;
                let (whole, file) = (whole.display().to_string(), file.display().to_string());
                clip::ffmpeg(["-i", &whole, "-c", "copy", &file]).await?;
            }
            Then::Patch(change) => {
                clip::draw(&self.scene, self.sound.as_ref(), self.encode, &file).await?;
                let mut bytes = std::fs::read(&file).map_err(|error| format!("read {}: {error}", file.display()))?;
                change(&mut bytes);
                std::fs::write(&file, bytes).map_err(|error| format!("write {}: {error}", file.display()))?;
            }
        }
        Ok(file)
    }
}

const H264_AAC: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -b:a 128k";

/// Every kind, the quick ones first.
pub fn all() -> Vec<Kind> {
    vec![
        Kind::new("mp4-h264-aac", "clip.mp4", H264_AAC),
        Kind::new("mp4-faststart-720p", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -movflags +faststart")
            .size(1280, 720)
            .rate("30000/1001"),
        Kind::new("mp4-variable-rate", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -fps_mode vfr")
            .finish("select='not(eq(mod(n,5),3))*not(between(n,30,42))'"),
        Kind::new("mp4-rotated-90", "clip.mp4", H264_AAC)
            .size(360, 640)
            .finish("transpose=2")
            .then(Then::Patch(|file| patch::turn(file, (0, 1), (-1, 0)))),
        Kind::new("mov-rotated-270", "clip.mov", H264_AAC)
            .size(360, 640)
            .finish("transpose=1")
            .then(Then::Patch(|file| patch::turn(file, (0, -1), (1, 0)))),
        Kind::new("mp4-no-audio", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p").silent(),
        Kind::new("mp4-aac-5.1", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -b:a 320k")
            .sound("5.1", 48_000, 0.0, 5.0),
        Kind::new("mov-pcm-upper-case", "CLIP.MOV", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a pcm_s16le"),
        Kind::new("mkv-vp9-opus", "clip.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -pix_fmt yuv420p -c:a libopus"),
        Kind::new("webm-vp8-vorbis", "clip.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -pix_fmt yuv420p -c:a libvorbis"),
        Kind::new("webm-av1-opus", "clip.webm", "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p -c:a libopus"),
        Kind::new("avi-mpeg4-mp3", "clip.avi", "-c:v mpeg4 -q:v 4 -c:a libmp3lame -b:a 192k"),
        Kind::new("avi-mjpeg-pcm", "clip.avi", "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p -c:a pcm_s16le"),
        Kind::new("mp4-hevc-aac", "clip.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1 -pix_fmt yuv420p -c:a aac"),
        Kind::new("mov-prores-pcm", "clip.mov", "-c:v prores_ks -profile:v 0 -pix_fmt yuv422p10le -c:a pcm_s24le").seconds(4.0),
        Kind::new("mkv-h264-flac-mono", "clip.mkv", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a flac")
            .sound("mono", 44_100, 0.0, 5.0),
        Kind::new("mkv-h264-ac3", "clip.mkv", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a ac3 -b:a 384k")
            .sound("5.1", 48_000, 0.0, 5.0),
        Kind::new("mp4-fragmented-two-of-each", "clip.mp4", "-map 0:v -map 0:v -map 1:a -map 1:a -filter:v:1 negate -filter:a:1 volume=0 -c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof")
            .size(320, 180)
            .seconds(4.0),
        Kind::new("mp4-vp9-turned-180", "clip.mp4", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -pix_fmt yuv420p -c:a aac")
            .size(320, 180)
            .seconds(4.0)
            .finish("hflip,vflip")
            .then(Then::Patch(|file| patch::turn(file, (-1, 0), (0, -1)))),
        Kind::new("mp4-mpeg4-mirrored", "clip.mp4", "-c:v mpeg4 -bf 2 -q:v 4 -pix_fmt yuv420p -c:a aac")
            .size(320, 180)
            .seconds(4.0)
            .finish("hflip")
            .then(Then::Patch(|file| patch::turn(file, (-1, 0), (0, 1)))),
        Kind::new("mp4-av1-sound-starts-early", "clip.mp4", "-vf setpts=PTS+0.4/TB -af asetpts=PTS+0.4/TB -c:v libsvtav1 -preset 12 -pix_fmt yuv420p -c:a aac")
            .size(320, 180)
            .seconds(4.0)
            .sound("stereo", 48_000, -0.4, 4.0),
        // As a browser records: clusters of unknown length, no index, no duration.
        Kind::new("webm-live-without-cues", "clip.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -g 50 -pix_fmt yuv420p -c:a libopus -live 1")
            .size(320, 180)
            .seconds(4.0),
        Kind::new("mkv-size-changes", "clip.mkv", "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p")
            .seconds(4.0)
            .silent()
            .then(Then::Shrink),
        // Two seconds longer than a frame; the sound goes on to nearly the end.
        Kind::new("mp4-last-picture-held", "clip.mp4", "-c:v libx264 -bf 0 -preset veryfast -pix_fmt yuv420p -c:a aac")
            .size(320, 180)
            .seconds(3.0)
            .sound("stereo", 48_000, 0.0, 4.5)
            .then(Then::Copy("", "-bsf:v setts=duration=if(gt(PTS\\,37700)\\,26112\\,512)"))
            .hold(2.0),
        Kind::new("avi-h264-pcm", "clip.avi", "-c:v libx264 -bf 0 -preset veryfast -g 25 -pix_fmt yuv420p -c:a pcm_s16le")
            .size(320, 180)
            .seconds(4.0),
        Kind::new("mp4-one-frame", "clip.mp4", "-c:v libx264 -pix_fmt yuv420p").seconds(0.04).silent(),
        Kind::new("mp4-a-fifth-of-a-second", "clip.mp4", H264_AAC).seconds(0.2),
        Kind::new("webm-odd-161x121", "clip.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p -c:a libopus")
            .size(161, 121)
            .motion("format=yuv444p,scale=161:121"),
        Kind::new("mp4-portrait", "clip.mp4", H264_AAC).size(406, 720),
        Kind::new("mp4-h264-10-bit", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p10le -c:a aac"),
        Kind::new("mp4-full-range", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuvj420p -color_range pc -c:a aac")
            .finish("scale=out_range=pc,format=yuvj420p"),
        Kind::new("mp4-hdr-pq", "clip.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited -pix_fmt yuv420p10le -tag:v hvc1 -c:a aac")
            .finish("setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,zscale=t=smpte2084:p=2020:m=2020_ncl:r=tv:npl=203,format=yuv420p10le")
            .hdr(),
        Kind::new("mp4-hdr-hlg", "clip.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:range=limited -pix_fmt yuv420p10le -tag:v hvc1 -c:a aac")
            .finish("setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,zscale=t=arib-std-b67:p=2020:m=2020_ncl:r=tv:npl=203,format=yuv420p10le")
            .hdr(),
        Kind::new("mp4-interlaced", "clip.mp4", "-c:v libx264 -preset veryfast -flags +ildct+ilme -x264-params tff=1 -pix_fmt yuv420p -c:a aac")
            .rate("50")
            .interlaced(),
        Kind::new("mkv-starts-at-5s", "clip.mkv", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -output_ts_offset 5"),
        Kind::new("mp4-starts-at-5s", "clip.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -output_ts_offset 5"),
        Kind::new("mp4-sound-starts-late", "clip.mp4", H264_AAC).sound("stereo", 48_000, 0.3, 5.0),
        Kind::new("mp4-edit-list", "clip.mp4", "-c:v libx264 -preset veryfast -g 250 -pix_fmt yuv420p -c:a aac")
            .seconds(6.5)
            .then(Then::Copy("-ss 1.5", "")),
        Kind::new("mp4-long-gop", "clip.mp4", "-c:v libx264 -preset veryfast -g 9999 -sc_threshold 0 -pix_fmt yuv420p -c:a aac")
            .size(1280, 720)
            .seconds(8.0),
        Kind::new("mp4-open-gop", "clip.mp4", "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=25:min-keyint=25:bframes=3 -pix_fmt yuv420p -c:a aac"),
        Kind::new("mp4-sar-2x1", "clip.mp4", H264_AAC).size(320, 360).finish("setsar=2").shows(640, 360),
        Kind::new("mp4-damaged", "clip.mp4", "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -an")
            .silent()
            .seconds(6.0)
            .then(Then::Patch(|file| patch::damage(file)))
            .damaged(),
        Kind::new("mp4-damaged-sound", "clip.mp4", "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -c:a aac")
            .seconds(6.0)
            .then(Then::Patch(|file| patch::damage(file)))
            .damaged(),
        Kind::new("mkv-no-first-keyframe", "clip.mkv", "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -c:a aac")
            .then(Then::Copy("", "-bsf:v noise=drop='lt(n,1)'"))
            // What comes before the first keyframe is shown as far as it can be decoded: sound is there already.
            .decode("-flags +output_corrupt")
            .damaged(),
        Kind::new("mp4-sound-shorter", "clip.mp4", H264_AAC).sound("stereo", 48_000, 0.0, 3.3),
        Kind::new("mp4-sound-longer", "clip.mp4", H264_AAC).seconds(4.0).sound("stereo", 48_000, 0.0, 6.2),
        Kind::new("mp4-50-fps-44.1k-mono", "clip.mp4", H264_AAC).rate("50").sound("mono", 44_100, 0.0, 5.0),
        Kind::new("named-as-text", "clip.txt", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -f mp4"),
        Kind::new("mp4-1080p-60s", "clip.mp4", "-c:v libx264 -preset ultrafast -crf 23 -g 50 -pix_fmt yuv420p -c:a aac -b:a 128k")
            .size(1920, 1080)
            .seconds(60.0),
    ]
}
