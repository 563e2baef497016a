//! One rung of a range: encodes pictures and makes fragments of them.
//!
//! The encoder itself has one thread, so its bytes do not depend on the machine.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use ffmpeg_next as ff;
use schemas::ladder::Rung;
use schemas::manifest::samples::Sample;

use super::boxes::{Fragments, VideoInit, video_init};
use super::crew::Work;
use super::encode::{self, Encoder, Packet};
use super::{Code, EncodedRendition, Error, SHIFT_DIVISOR, VideoTask};

/// Bytes of a rendition, by its index, on their way to the sink.
pub type Piece = (usize, Vec<u8>);

/// A picture to encode.
pub struct Picture {
    /// What is seen.
    pub frame: ff::frame::Video,
    /// When it is shown, ticks of the output.
    pub pts: i64,
    /// Whether a group begins with it.
    pub key: bool,
}

/// What a rung is given next.
pub enum Step {
    /// Pictures in the order in which they are shown.
    Pictures(Vec<Picture>),
    /// Nothing follows: when the next chunk begins, and how long the last picture is shown if none does.
    End(Option<i64>, i64),
}

/// One rung: its encoder, and the group of pictures that is being collected.
pub struct RungWork {
    index: usize,
    rung: Rung,
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
    /// Luma PSNR of each picture that its encoder told, decibels, in the order in which they are shown.
    psnr: Vec<f64>,
}

impl RungWork {
    /// Opens rung number `index` of `task`; `like` is a picture as the filters give it. Bytes go to `pieces`.
    pub fn open(
        index: usize,
        task: &VideoTask,
        rung: &Rung,
        like: &ff::frame::Video,
        pieces: Sender<Piece>,
    ) -> Result<Self, Error> {
        let (timescale, _) = encode::timescale(&task.media.video);
        Ok(Self {
            index,
            rung: rung.clone(),
            pieces,
            encoder: Encoder::open(task, rung, like)?,
            timescale,
            shift: i64::from(timescale / SHIFT_DIVISOR),
            pending: VecDeque::new(),
            group: Vec::new(),
            fragments: Fragments::new(timescale),
            first_pts: None,
            last_pts: 0,
            end_pts: 0,
            keyframes: 0,
            psnr: Vec::new(),
        })
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
        let mut shown: Vec<(i64, Option<f64>)> = group.iter().map(|packet| (packet.pts, packet.psnr)).collect();
        shown.sort_by_key(|(pts, _)| *pts);
        self.psnr.extend(shown.into_iter().filter_map(|(_, psnr)| psnr));
        let bytes = self.fragments.write(start, &samples, &data)?;
        let gone = |_| Error::new(Code::EncoderFailed, "nobody takes what was encoded");
        self.pieces.send((self.index, bytes)).map_err(gone)
    }

    /// Its books.
    pub fn result(self) -> Result<EncodedRendition, Error> {
        let init = video_init(&VideoInit {
            sps: &self.encoder.sps,
            pps: &self.encoder.pps,
            width: self.rung.width,
            height: self.rung.height,
            timescale: self.timescale,
            shift: self.shift.unsigned_abs(),
        })?;
        let frames = self.fragments.samples.len();
        // All of them or none: nobody could tell whose figure is missing.
        let psnr = if self.psnr.len() == frames { self.psnr } else { Vec::new() };
        Ok(EncodedRendition {
            init: init.bytes,
            codec: init.codec,
            timescale: self.timescale,
            frames: frames as u64,
            samples: self.fragments.packed(),
            fragments: self.fragments.list,
            first_pts: self.first_pts.unwrap_or(0),
            last_pts: self.last_pts,
            end_pts: self.end_pts,
            keyframes: self.keyframes,
            psnr: schemas::quality::psnr::pack(psnr),
        })
    }
}

impl Work for RungWork {
    type Step = Step;

    fn step(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Pictures(pictures) => {
                for Picture { mut frame, pts, key } in pictures {
                    self.pending.push_back(pts);
                    self.encoder.push(&mut frame, pts, key)?;
                    self.collect()?;
                }
                Ok(())
            }
            Step::End(next, last_duration) => {
                self.encoder.finish()?;
                self.collect()?;
                self.close(next, last_duration)
            }
        }
    }
}
