//! The child's side of the process boundary: reads the source from standard input, writes frames to standard output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;

use ffmpeg_next as ff;

use super::child::kind;
use super::cores::CORES;
use super::feed;
use super::source::Source;
use super::{
    Code, Error, Request, Response, Sink, audio, compare, illustrate, probe, samples, sandbox, signals, video,
};

/// What sched(7) calls the nicest.
const LOWEST_PRIORITY: i32 = 19;

/// The life of a media child: the first request, JSON, then those that come. Answers the exit code.
pub fn main(request: &str) -> u8 {
    let mut frames = Frames(io::BufWriter::with_capacity(64 * 1024, io::stdout()));
    let mut next = Some(request.to_owned());
    let mut source = enter();
    while let Some(request) = next {
        let answer =
            source.as_mut().map_err(|error| error.clone()).and_then(|source| work(&request, source, &mut frames));
        let said = match answer {
            Ok(response) => frames.json(kind::DONE, &response),
            Err(error) => {
                // Whoever failed is not asked again.
                return u8::from(frames.json(kind::FAILED, &error).is_err());
            }
        };
        // Nobody is left to tell when the parent is gone.
        if said.is_err() {
            return 1;
        }
        next = await_request();
    }
    0
}

/// Takes the source over and gives away everything else.
fn enter() -> Result<File, Error> {
    let source = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(|error| Error::new(Code::EncoderFailed, format!("take over the source: {error}")))?;
    ff::init().map_err(|error| Error::new(Code::EncoderFailed, format!("load FFmpeg: {error}")))?;
    quiet();
    // It opens what cannot be opened later.
    LazyLock::force(&CORES);
    sandbox::enter(compare::needs_pipes())?;
    Ok(source)
}

/// Waits for another request about the same source; nothing when the parent wants no more.
fn await_request() -> Option<String> {
    let mut socket = io::stdout().as_fd().try_clone_to_owned().map(File::from).ok()?;
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    socket.read_exact(&mut request).ok()?;
    String::from_utf8(request).ok()
}

fn work(request: &str, source: &File, frames: &mut Frames) -> Result<Response, Error> {
    let request: Request = serde_json::from_str(request)
        .map_err(|error| Error::new(Code::EncoderFailed, format!("read the request: {error}")))?;
    if is_background(&request) {
        step_back();
    }
    let source = source
        .try_clone()
        .map_err(|error| Error::new(Code::EncoderFailed, format!("take over the source: {error}")))?;
    if !matches!(request, Request::Compare(_)) {
        return run(&request, source, frames);
    }
    let mut feed = feed::Reader::open()?;
    let answer = run_fed(&request, source, Box::new(feed.again()?), frames)?;
    // What follows on the socket is the next request.
    feed.drain()?;
    Ok(answer)
}

/// Whether nobody waits for the result of `request`.
pub(super) fn is_background(request: &Request) -> bool {
    matches!(request, Request::Pictures(_) | Request::Signals(_) | Request::Samples(_) | Request::Compare(_))
}

/// Leaves the processor to whoever encodes. There is no way back, so such a process is not asked for anything else.
fn step_back() {
    // Where that is not allowed, the work is done all the same.
    let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
}

/// Lets FFmpeg say only what kills it; what is wrong with a file is told by results.
pub fn quiet() {
    ff::log::set_level(ff::log::Level::Fatal);
}

/// Does the work of `request` on `source` in this thread.
pub fn run(request: &Request, source: File, sink: &mut dyn Sink) -> Result<Response, Error> {
    run_fed(request, source, Box::new(io::empty()), sink)
}

/// The same for work that may need the rendition in `feed` beside its source.
pub fn run_fed(
    request: &Request,
    source: File,
    feed: Box<dyn Read + Send>,
    sink: &mut dyn Sink,
) -> Result<Response, Error> {
    let source = Source::open(source)?;
    match request {
        Request::Probe => probe::probe(source).map(|probed| Response::Probed(Box::new(probed))),
        Request::Video(task) => video::encode(source, task, sink).map(Response::Encoded),
        Request::Audio(task) => audio::encode(source, task, sink).map(Response::Encoded),
        Request::Compare(task) => compare::compare(source, feed, task, sink).map(Response::Compared),
        Request::Pictures(task) => illustrate::illustrate(source, task, sink).map(Response::Illustrated),
        Request::Signals(task) => signals::measure(source, task, sink).map(Response::Measured),
        Request::Samples(task) => samples::read(source, task, sink).map(Response::Sampled),
    }
}

struct Frames(io::BufWriter<io::Stdout>);

impl Frames {
    fn frame(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), Error> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut write = || -> io::Result<()> {
            let length = u32::try_from(length).map_err(io::Error::other)?;
            self.0.write_all(&[kind])?;
            self.0.write_all(&length.to_be_bytes())?;
            parts.iter().try_for_each(|part| self.0.write_all(part))?;
            self.0.flush()
        };
        write().map_err(|error| Error::new(Code::EncoderFailed, format!("hand over results: {error}")))
    }

    fn json(&mut self, kind: u8, value: &impl serde::Serialize) -> Result<(), Error> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::new(Code::EncoderFailed, format!("hand over results: {error}")))?;
        self.frame(kind, &[&text])
    }
}

impl Sink for Frames {
    fn bytes(&mut self, rendition: usize, bytes: &[u8]) -> Result<(), Error> {
        let index = u8::try_from(rendition)
            .map_err(|_| Error::new(Code::EncoderFailed, "hand over results: too many renditions"))?;
        self.frame(kind::BYTES, &[&[index], bytes])
    }

    fn progress(&mut self, frames: u64) -> Result<(), Error> {
        self.frame(kind::PROGRESS, &[&frames.to_be_bytes()])
    }
}
