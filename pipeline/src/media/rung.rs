//! One rung of a range: a thread that encodes pictures and makes fragments of them.
//!
//! The encoder itself has one thread, so its bytes do not depend on the machine. That the rungs of a chunk run beside each
//! other does not change them either, and it keeps cores busy when there are fewer chunks than cores: at the end of a
//! video, and when the first seconds of one are all that is wanted.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ffmpeg_next as ff;
use schemas::ladder::Rung;
use schemas::manifest::samples::Sample;
use schemas::source::VideoTrack;

use super::boxes::{Fragments, VideoInit, video_init};
use super::encode::{self, Encoder, Packet};
use super::{Code, EncodedRendition, Error, SHIFT_DIVISOR};

/// Pictures that an encoder is handed at once. It works on them in one go, with its own pictures in the caches of its core,
/// while the next are decoded; they also smooth out groups that are hard to encode.
const AT_ONCE: usize = 8;

/// Bytes of a rendition, by its index, on their way to the sink.
pub type Piece = (usize, Vec<u8>);

/// The way to a rung's thread.
pub struct Lane {
    rung: Rung,
    /// What is to be handed over next.
    pictures: Vec<Picture>,
    steps: SyncSender<Step>,
    thread: JoinHandle<Result<RungWork, Error>>,
}

struct Picture {
    frame: ff::frame::Video,
    /// When it is shown, ticks of the output.
    pts: i64,
    /// Whether a group begins with it.
    key: bool,
}

enum Step {
    /// Pictures in the order in which they are shown.
    Pictures(Vec<Picture>),
    /// Nothing follows: when the next chunk begins, and how long the last picture is shown if none does.
    End(Option<i64>, i64),
}

impl Lane {
    /// Starts the thread of rung number `index`; `like` is a picture as the filters give it. Bytes go to `pieces`.
    pub fn open(
        index: usize,
        track: &VideoTrack,
        rung: &Rung,
        like: &ff::frame::Video,
        pieces: Sender<Piece>,
    ) -> Result<Self, Error> {
        let work = RungWork::open(index, track, rung, like, pieces)?;
        // One handful in hand, one on the way, one being decoded.
        let (steps, taken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(rung.quality.clone())
            .spawn(move || work.run(&taken))
            .map_err(|error| Error::new(Code::EncoderFailed, format!("start an encoding thread: {error}")))?;
        Ok(Self { rung: rung.clone(), pictures: Vec::with_capacity(AT_ONCE), steps, thread })
    }

    /// Hands a picture over; waits while the encoder is behind. False: the thread has failed, and [`Lane::close`] says how.
    #[must_use]
    pub fn push(&mut self, frame: ff::frame::Video, pts: i64, key: bool) -> bool {
        self.pictures.push(Picture { frame, pts, key });
        self.pictures.len() < AT_ONCE || self.send()
    }

    fn send(&mut self) -> bool {
        let pictures = std::mem::replace(&mut self.pictures, Vec::with_capacity(AT_ONCE));
        self.steps.send(Step::Pictures(pictures)).is_ok()
    }

    /// Says that nothing follows: where the next chunk begins, or how long the last picture is shown.
    pub fn end(&mut self, next: Option<i64>, last_duration: i64) {
        // A thread that has failed says so when it is closed.
        let _ = self.send() && self.steps.send(Step::End(next, last_duration)).is_ok();
    }

    /// Waits for the thread and takes its books.
    pub fn close(self) -> Result<EncodedRendition, Error> {
        drop(self.steps);
        let gone = |_| Error::new(Code::MediaCrashed, "an encoding thread broke down");
        self.thread.join().map_err(gone)??.result(&self.rung)
    }
}

/// One rung: its encoder, and the group of pictures that is being collected.
struct RungWork {
    index: usize,
    pieces: Sender<Piece>,
    encoder: Encoder,
    timescale: u32,
    shift: i64,
    /// Times of pictures that the encoder has and of which no packet has come yet, with those of the open group.
    pending: VecDeque<i64>,
    group: Vec<Packet>,
    fragments: Fragments,
    first_pts: Option<i64>,
    last_pts: i64,
    end_pts: i64,
    keyframes: u32,
}

impl RungWork {
    fn open(
        index: usize,
        track: &VideoTrack,
        rung: &Rung,
        like: &ff::frame::Video,
        pieces: Sender<Piece>,
    ) -> Result<Self, Error> {
        let (timescale, _) = encode::timescale(track);
        Ok(Self {
            index,
            pieces,
            encoder: Encoder::open(track, rung, like)?,
            timescale,
            shift: i64::from(timescale / SHIFT_DIVISOR),
            pending: VecDeque::new(),
            group: Vec::new(),
            fragments: Fragments::new(timescale),
            first_pts: None,
            last_pts: 0,
            end_pts: 0,
            keyframes: 0,
        })
    }

    /// Encodes what comes, to the end.
    fn run(mut self, steps: &Receiver<Step>) -> Result<Self, Error> {
        for step in steps {
            match step {
                Step::Pictures(pictures) => {
                    for Picture { mut frame, pts, key } in pictures {
                        self.pending.push_back(pts);
                        self.encoder.push(&mut frame, pts, key)?;
                        self.collect()?;
                    }
                }
                Step::End(next, last_duration) => {
                    self.encoder.finish()?;
                    self.collect()?;
                    self.close(next, last_duration)?;
                }
            }
        }
        Ok(self)
    }

    fn collect(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.encoder.pull()? {
            if packet.key && !self.group.is_empty() {
                let end = packet.pts;
                self.write_group(end)?;
            }
            self.group.push(packet);
        }
        Ok(())
    }

    /// Writes the last group; without a following frame it ends after `last_duration`.
    fn close(&mut self, end: Option<i64>, last_duration: i64) -> Result<(), Error> {
        let latest = self.group.iter().map(|packet| packet.pts).max();
        match latest {
            Some(latest) => self.write_group(end.unwrap_or(latest + last_duration).max(latest + 1)),
            None => Ok(()),
        }
    }

    /// One closed group as a fragment: decode times are the sorted presentation times.
    fn write_group(&mut self, end: i64) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        let decode: Vec<i64> = self.pending.drain(..group.len().min(self.pending.len())).collect();
        let mut samples = Vec::with_capacity(group.len());
        let mut data = Vec::with_capacity(group.iter().map(|packet| packet.data.len()).sum());
        let odd = || Error::new(Code::EncoderFailed, "the encoder gave pictures in an order that cannot be stored");
        for (position, packet) in group.iter().enumerate() {
            let time = *decode.get(position).ok_or_else(odd)?;
            let next = decode.get(position + 1).copied().unwrap_or(end);
            samples.push(Sample {
                size: u32::try_from(packet.data.len()).map_err(|_| odd())?,
                duration: u32::try_from(next - time).map_err(|_| odd())?,
                composition_offset: u32::try_from(packet.pts + self.shift - time).map_err(|_| odd())?,
                sync: packet.key,
            });
            data.extend_from_slice(&packet.data);
        }
        let start = *decode.first().ok_or_else(odd)?;
        self.first_pts.get_or_insert(start);
        self.last_pts = *decode.last().ok_or_else(odd)?;
        self.end_pts = end;
        self.keyframes += u32::try_from(group.iter().filter(|packet| packet.key).count()).unwrap_or(0);
        let bytes = self.fragments.write(start, &samples, &data)?;
        let gone = |_| Error::new(Code::EncoderFailed, "nobody takes what was encoded");
        self.pieces.send((self.index, bytes)).map_err(gone)
    }

    fn result(self, rung: &Rung) -> Result<EncodedRendition, Error> {
        let init = video_init(&VideoInit {
            sps: &self.encoder.sps,
            pps: &self.encoder.pps,
            width: rung.width,
            height: rung.height,
            timescale: self.timescale,
            shift: self.shift.unsigned_abs(),
        })?;
        Ok(EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: self.timescale,
            frames: self.fragments.samples.len() as u64,
            samples: self.fragments.packed(),
            fragments: self.fragments.list,
            first_pts: self.first_pts.unwrap_or(0),
            last_pts: self.last_pts,
            end_pts: self.end_pts,
            keyframes: self.keyframes,
        })
    }
}
