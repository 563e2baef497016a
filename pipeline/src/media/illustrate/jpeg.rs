//! Pictures as JPEG (ITU-T T.81, JFIF), by FFmpeg's own encoder: the same bytes on every machine.
#![allow(unsafe_code)]

use ffmpeg_next as ff;
use ffmpeg_next::ffi;

use super::planes::Planes;
use crate::media::{Code, Error};

/// Best and worst quality that pictures are encoded in: the encoder's scale of quantisers, 2 to 31.
pub const QUALITIES: [u8; 7] = [3, 5, 7, 10, 14, 20, 31];

/// `planes` as JPEG with quantiser `quality`.
pub fn encode(planes: &Planes, quality: u8) -> Result<Vec<u8>, Error> {
    let failed = |error: ff::Error| Error::new(Code::EncoderFailed, format!("encode a still picture: {error}"));
    let codec = ff::encoder::find_by_name("mjpeg")
        .ok_or_else(|| Error::new(Code::EncoderFailed, "the FFmpeg library here has no JPEG encoder"))?;
    let (width, height) = (planes.width as u32, planes.height as u32);
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    encoder.set_width(width);
    encoder.set_height(height);
    encoder.set_format(ff::format::Pixel::YUVJ420P);
    encoder.set_color_range(ff::color::Range::JPEG);
    encoder.set_time_base(ff::Rational(1, 25));
    encoder.set_aspect_ratio(ff::Rational(1, 1));
    encoder.set_flags(ff::codec::Flags::QSCALE | ff::codec::Flags::BITEXACT);
    let lambda = i32::from(quality) * ffi::FF_QP2LAMBDA;
    encoder.set_global_quality(lambda);
    let mut options = ff::Dictionary::new();
    options.set("threads", "1");
    // The transform that no processor has instructions of its own for.
    options.set("dct", "int");
    let mut encoder = encoder.open_as_with(codec, options).map_err(failed)?;
    let mut frame = ff::frame::Video::new(ff::format::Pixel::YUVJ420P, width, height);
    for (index, plane) in [&planes.y, &planes.cb, &planes.cr].into_iter().enumerate() {
        let (stride, row) = (frame.stride(index), if index == 0 { planes.width } else { planes.width / 2 });
        for (into, from) in frame.data_mut(index).chunks_mut(stride).zip(plane.chunks_exact(row)) {
            into[..row].copy_from_slice(from);
        }
    }
    frame.set_color_range(ff::color::Range::JPEG);
    frame.set_pts(Some(0));
    // SAFETY: a plain field of a live frame.
    unsafe { (*frame.as_mut_ptr()).quality = lambda };
    encoder.send_frame(&frame).map_err(failed)?;
    encoder.send_eof().map_err(failed)?;
    let mut packet = ff::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(failed)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_becomes_the_same_jpeg_each_time() {
        crate::media::worker::quiet();
        let mut planes = Planes::plain(64, 48, [120, 100, 160]);
        planes.y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = (at * 7 % 251) as u8);
        let jpeg = encode(&planes, 5).unwrap();
        assert_eq!(jpeg[..2], [0xff, 0xd8], "start of image");
        assert_eq!(jpeg[jpeg.len() - 2..], [0xff, 0xd9], "end of image");
        assert_eq!(jpeg, encode(&planes, 5).unwrap());
        assert!(encode(&planes, 31).unwrap().len() < jpeg.len());
        assert!(!jpeg.windows(4).any(|bytes| bytes == b"Lavc"), "no version of a library inside");
    }
}
