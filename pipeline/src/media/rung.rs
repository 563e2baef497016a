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
use super::{Code, EncodedRendition, Error, VideoTask};

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
            shift: encode::shift(&task.media.video),
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

    /// One closed group as a fragment.
    fn write_group(&mut self, end: i64) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        let shown: Vec<i64> = self.pending.drain(..group.len().min(self.pending.len())).collect();
        let decode = decode_times(&group, &shown, self.shift);
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
        if shown.first() != Some(&start) {
            return Err(odd());
        }
        self.first_pts.get_or_insert(start);
        self.last_pts = *shown.last().ok_or_else(odd)?;
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

/// Decode times of `group`, packets in the order of decoding, whose presentation times in order are `shown`: the sorted
/// presentation times. Where pictures of the source are missing, gaps may be wider than the `shift` has room for; there decode
/// times come earlier, so that no picture is decoded after it is shown.
fn decode_times(group: &[Packet], shown: &[i64], shift: i64) -> Vec<i64> {
    let mut latest = i64::MAX;
    let mut times: Vec<i64> = group
        .iter()
        .zip(shown)
        .rev()
        .map(|(packet, time)| {
            latest = packet.pts.saturating_add(shift).min(latest.saturating_sub(1));
            latest.min(*time)
        })
        .collect();
    times.reverse();
    times
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets(pts: &[i64]) -> Vec<Packet> {
        pts.iter().map(|pts| Packet { pts: *pts, key: false, data: Vec::new(), psnr: None }).collect()
    }

    #[test]
    fn pictures_are_decoded_in_their_turn_where_the_shift_has_room() {
        // I P B b b, as x264 orders a pyramid.
        let (group, shown) = (packets(&[0, 160, 80, 40, 120]), [0, 40, 80, 120, 160]);
        assert_eq!(decode_times(&group, &shown, 80), shown);
        assert_eq!(decode_times(&packets(&shown), &shown, 0), shown);
    }

    proptest! {
        #[test]
        fn no_picture_is_decoded_after_it_is_shown_however_wide_the_gaps_are(
            gaps in proptest::collection::vec(2..5_000_i64, 1..60), shift in 80..200_i64, depth in 0..3_usize
        ) {
            let mut time = 0;
            let shown: Vec<i64> = gaps.iter().map(|gap| { time += gap; time - gaps[0] }).collect();
            // The first picture comes first; of the others each comes before at most `depth` earlier ones.
            let mut order = shown.clone();
            for pair in order[1..].chunks_mut(depth + 1) {
                pair.rotate_right(1.min(pair.len() - 1));
            }
            let decode = decode_times(&packets(&order), &shown, shift);
            prop_assert_eq!(decode[0], shown[0]);
            prop_assert!(decode.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", decode);
            prop_assert!(decode.iter().zip(&order).all(|(decode, pts)| *decode <= pts + shift));
            prop_assert!(decode.iter().zip(&shown).all(|(decode, shown)| decode <= shown));
        }
    }
}
