//! From decoded pictures to what the rungs encode: progressive, upright, square pixels, 8-bit 4:2:0 limited range.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fmt::Write as _;

use ffmpeg_next as ff;
use ffmpeg_next::ffi;
use schemas::ladder::Rung;
use schemas::source::{Transfer, VideoTrack};

use super::{Code, Error};

/// Scaling that gives the same bytes on every processor.
const SCALER: &str = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact";
/// The same, as the mean of what lies under each pixel: for pictures many times smaller.
const AREA_SCALER: &str = "flags=area+accurate_rnd+full_chroma_int+bitexact";

/// What pictures are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// To be encoded as video: limited range, the source's own matrix.
    Video,
    /// To be shown alone: full range and the matrix of ITU-R BT.601, as JFIF has it.
    Still,
    /// The same, much smaller than the source.
    Tiny,
}

/// One filter graph that turns each decoded frame into one frame per rung.
pub struct Pictures {
    graph: ff::filter::Graph,
    shape: Shape,
    rungs: usize,
    time_base: ff::Rational,
}

/// What a graph is built for; it is built anew when the frames change.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    width: u32,
    height: u32,
    format: ff::format::Pixel,
    space: ff::color::Space,
    range: ff::color::Range,
    is_interlaced: bool,
}

impl Shape {
    fn of(frame: &ff::frame::Video, is_interlaced: bool) -> Self {
        Self {
            width: frame.width(),
            height: frame.height(),
            format: frame.format(),
            space: frame.color_space(),
            range: frame.color_range(),
            is_interlaced,
        }
    }
}

impl Pictures {
    /// A graph for frames like `frame`, with its fields apart if `is_interlaced`.
    pub fn new(
        track: &VideoTrack,
        rungs: &[Rung],
        frame: &ff::frame::Video,
        is_interlaced: bool,
    ) -> Result<Self, Error> {
        Self::open(Look::Video, track, rungs.first(), rungs, frame, is_interlaced)
    }

    /// The same for some rungs of a ladder whose best one is `largest`.
    pub fn below(
        track: &VideoTrack,
        largest: Option<&Rung>,
        rungs: &[Rung],
        frame: &ff::frame::Video,
        is_interlaced: bool,
    ) -> Result<Self, Error> {
        Self::open(Look::Video, track, largest, rungs, frame, is_interlaced)
    }

    /// The same for pictures that are made for something else; of `rungs` only the sizes count.
    pub fn looking(
        look: Look,
        track: &VideoTrack,
        rungs: &[Rung],
        frame: &ff::frame::Video,
        is_interlaced: bool,
    ) -> Result<Self, Error> {
        Self::open(look, track, rungs.first(), rungs, frame, is_interlaced)
    }

    fn open(
        look: Look,
        track: &VideoTrack,
        largest: Option<&Rung>,
        rungs: &[Rung],
        frame: &ff::frame::Video,
        is_interlaced: bool,
    ) -> Result<Self, Error> {
        let failed =
            |error: ff::Error| Error::new(Code::EncoderFailed, format!("build the filters for the pictures: {error}"));
        let shape = Shape::of(frame, is_interlaced);
        let time_base = ff::Rational(track.time_base.num, track.time_base.den);
        let mut graph = ff::filter::Graph::new();
        in_one_thread(&mut graph);
        let source = ff::filter::find("buffer").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let sink = ff::filter::find("buffersink").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        let format = ffi::AVPixelFormat::from(shape.format) as i32;
        let arguments = format!(
            "video_size={}x{}:pix_fmt={format}:time_base={}/{}:pixel_aspect=1/1",
            shape.width, shape.height, track.time_base.num, track.time_base.den
        );
        graph.add(&source, "in", &arguments).map_err(failed)?;
        for index in 0..rungs.len() {
            graph.add(&sink, &format!("out{index}"), "").map_err(failed)?;
        }
        let mut parser = graph.output("in", 0).map_err(failed)?;
        for index in 0..rungs.len() {
            parser = parser.input(&format!("out{index}"), 0).map_err(failed)?;
        }
        parser.parse(&describe(look, track, largest, rungs, &shape)).map_err(failed)?;
        graph.validate().map_err(failed)?;
        Ok(Self { graph, shape, rungs: rungs.len(), time_base })
    }

    /// Whether `frame` needs another graph.
    pub fn fits(&self, frame: &ff::frame::Video, is_interlaced: bool) -> bool {
        self.shape == Shape::of(frame, is_interlaced)
    }

    /// Feeds one frame.
    pub fn push(&mut self, frame: &ff::frame::Video) -> Result<(), Error> {
        self.source()?
            .source()
            .add(frame)
            .map_err(|error| Error::new(Code::EncoderFailed, format!("filter a picture: {error}")))
    }

    /// Says that no frame follows.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.source()?
            .source()
            .flush()
            .map_err(|error| Error::new(Code::EncoderFailed, format!("filter the last picture: {error}")))
    }

    fn source(&mut self) -> Result<ff::filter::Context, Error> {
        self.graph.get("in").ok_or_else(|| Error::new(Code::EncoderFailed, "the filters have no entry"))
    }

    /// Takes the next picture of every rung, with presentation times in ticks of the source; nothing when none is ready.
    pub fn pull(&mut self) -> Result<Option<Vec<ff::frame::Video>>, Error> {
        let mut pictures = Vec::with_capacity(self.rungs);
        for index in 0..self.rungs {
            let mut sink = self
                .graph
                .get(&format!("out{index}"))
                .ok_or_else(|| Error::new(Code::EncoderFailed, "the filters have no exit"))?;
            let mut picture = ff::frame::Video::empty();
            let time_base = sink.sink().time_base();
            match sink.sink().frame(&mut picture) {
                Ok(()) => {
                    use ff::Rescale;
                    let pts = picture.pts().map(|pts| pts.rescale(time_base, self.time_base));
                    picture.set_pts(pts);
                    pictures.push(picture);
                }
                Err(ff::Error::Eof) if index == 0 => return Ok(None),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN && index == 0 => return Ok(None),
                Err(error) => return Err(Error::new(Code::EncoderFailed, format!("filter a picture: {error}"))),
            }
        }
        Ok(Some(pictures))
    }
}

/// Lets `graph`, which has no filters yet, do its work in the thread of whoever asks: parallelism is chunks.
pub fn in_one_thread(graph: &mut ff::filter::Graph) {
    // SAFETY: a plain field of a graph.
    unsafe { (*graph.as_mut_ptr()).nb_threads = 1 };
}

/// Whether light must be mapped from high dynamic range.
pub fn is_hdr(track: &VideoTrack) -> bool {
    !matches!(track.transfer, Transfer::Sdr)
}

/// Whether pictures are coded as red, green and blue, or as a palette of them.
pub fn is_rgb(track: &VideoTrack) -> bool {
    let Ok(name) = CString::new(track.pixel_format.as_str()) else { return false };
    // SAFETY: the library looks a name up in its own table; a format without a description is none.
    let description = unsafe { ffi::av_pix_fmt_desc_get(ffi::av_get_pix_fmt(name.as_ptr())).as_ref() };
    let flags = u64::from(ffi::AV_PIX_FMT_FLAG_RGB as u32 | ffi::AV_PIX_FMT_FLAG_PAL as u32);
    description.is_some_and(|description| description.flags & flags != 0)
}

fn describe(look: Look, track: &VideoTrack, largest: Option<&Rung>, rungs: &[Rung], shape: &Shape) -> String {
    let mut chain: Vec<String> = Vec::new();
    if shape.is_interlaced {
        chain.push("yadif=mode=send_frame:deint=interlaced".into());
    }
    let turned = track.rotation % 180 != 0;
    if is_hdr(track) {
        // Floating point is slow: scale to the largest rung first.
        if let Some(largest) = largest {
            let (width, height) =
                if turned { (largest.height, largest.width) } else { (largest.width, largest.height) };
            chain.push(format!("scale=w={width}:h={height}:{SCALER}"));
        }
        let input = match track.transfer {
            Transfer::Hlg => "arib-std-b67",
            _ => "smpte2084",
        };
        chain.push(format!(
            "zscale=tin={input}:min=bt2020nc:pin=bt2020:rin=tv:t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,\
             tonemap=tonemap=mobius:desat=0:peak=5,zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
        ));
    }
    match (track.rotation, track.mirrored) {
        (90, false) => chain.push("transpose=clock".into()),
        (90, true) => chain.push("transpose=cclock_flip".into()),
        (180, false) => chain.push("hflip,vflip".into()),
        (180, true) => chain.push("hflip".into()),
        (270, false) => chain.push("transpose=cclock".into()),
        (270, true) => chain.push("transpose=clock_flip".into()),
        (_, true) => chain.push("vflip".into()),
        _ => {}
    }
    if chain.is_empty() {
        chain.push("null".into());
    }
    let output = output(look, track, shape);
    let mut text = chain.join(",");
    if rungs.len() > 1 {
        let _ = write!(text, ",split={}", rungs.len());
        for index in 0..rungs.len() {
            let _ = write!(text, "[s{index}]");
        }
    } else {
        text.push_str("[s0]");
    }
    for (index, rung) in rungs.iter().enumerate() {
        let _ = write!(text, ";[s{index}]scale=w={}:h={}:{output},setsar=1[out{index}]", rung.width, rung.height);
    }
    text
}

/// How colours are written, and by which scaler.
fn output(look: Look, track: &VideoTrack, shape: &Shape) -> String {
    let scaler = if look == Look::Tiny { AREA_SCALER } else { SCALER };
    if look == Look::Video {
        let matrix = if is_rgb(track) { ":out_color_matrix=bt709" } else { "" };
        return format!("out_range=tv{matrix}:{scaler},format=yuv420p");
    }
    // What large pictures do not say is what players take it for.
    let is_silent = shape.space == ff::color::Space::Unspecified && !is_hdr(track) && !is_rgb(track);
    let matrix = if is_silent && shape.width.max(shape.height) >= 1280 { "in_color_matrix=bt709:" } else { "" };
    format!("{matrix}out_color_matrix=bt601:out_range=pc:{scaler},format=yuvj420p")
}
