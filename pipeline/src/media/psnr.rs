//! What an encoder says of its own error.
//!
//! With the flag `psnr` an encoder compares each picture with what a decoder will make of it, while both are in the caches:
//! that costs a few instructions a pixel, and not a bit of the result. From FFmpeg 6.1 on the error comes beside the packet.
//! Before, x264 says it in a line of its log for each picture, in hundredths of a decibel, and that line is read here: it is
//! written by the thread that encodes, while it encodes, with the encoder as its context.
//!
//! Pictures that no other refers to are compared before their deblocking, which costs or wins them a few hundredths.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

/// How the format of the line begins (x264, `encoder.c`).
const LINE: &[u8] = b"frame=%4d QP=";
/// What stands before the figure in the line.
const LUMA: &str = "PSNR Y:";
/// Longest line that is read, bytes.
const LONGEST: usize = 512;
/// Lines that a thread keeps at most: an encoder says one a packet, and packets are taken at once.
const KEPT: usize = 64;

/// How C hands on a list of arguments.
#[cfg(target_arch = "x86_64")]
type Arguments = *mut ffi::__va_list_tag;
/// How C hands on a list of arguments.
#[cfg(not(target_arch = "x86_64"))]
type Arguments = ffi::va_list;

thread_local! {
    /// Encoders and decibels, as they were said in this thread.
    static SAID: RefCell<VecDeque<(usize, f64)>> = const { RefCell::new(VecDeque::new()) };
}

/// Listens to encoders from now on; everything else that FFmpeg says goes where it went before.
pub fn listen() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback lives as long as the program.
    ONCE.call_once(|| unsafe { ffi::av_log_set_callback(Some(hear)) });
}

unsafe extern "C" fn hear(context: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    // SAFETY: FFmpeg hands over a C string, and arguments that fit it and are read once.
    unsafe {
        if format.is_null() || !CStr::from_ptr(format).to_bytes().starts_with(LINE) {
            return ffi::av_log_default_callback(context, level, format, arguments);
        }
        let (mut line, mut with_prefix): ([c_char; LONGEST], c_int) = ([0; LONGEST], 0);
        let length = LONGEST as c_int;
        ffi::av_log_format_line2(context, level, format, arguments, line.as_mut_ptr(), length, &mut with_prefix);
        let Some(decibels) = CStr::from_ptr(line.as_ptr()).to_str().ok().and_then(luma) else { return };
        SAID.with(|said| {
            let Ok(mut said) = said.try_borrow_mut() else { return };
            if said.len() == KEPT {
                said.pop_front();
            }
            said.push_back((context.addr(), decibels));
        });
    }
}

/// The decibels in a line, such as `… size=1587 bytes PSNR Y:33.68 U:33.63 V:33.52`.
fn luma(line: &str) -> Option<f64> {
    let (_, figures) = line.split_once(LUMA)?;
    figures.trim_start().split(' ').next()?.parse().ok()
}

/// Luma PSNR in decibels of the picture in `packet`, which `encoder` has just given; `samples` is the number of luma samples.
pub fn of(packet: &ffmpeg_next::Packet, encoder: *const ffi::AVCodecContext, samples: f64) -> Option<f64> {
    beside(packet, samples).or_else(|| {
        SAID.with(|said| {
            let mut said = said.try_borrow_mut().ok()?;
            let place = said.iter().position(|(of, _)| *of == encoder.addr())?;
            said.remove(place).map(|(_, decibels)| decibels)
        })
    })
}

/// The same, out of the sum of squared errors beside the packet (`AV_PKT_DATA_QUALITY_STATS`).
fn beside(packet: &ffmpeg_next::Packet, samples: f64) -> Option<f64> {
    let stats =
        packet.side_data().find(|data| data.kind() == ffmpeg_next::codec::packet::side_data::Type::QualityStats)?;
    from_stats(stats.data(), samples)
}

/// Four bytes of quality, the type of the picture, how many planes, two bytes of nothing, then eight bytes a plane, the lowest
/// first.
fn from_stats(stats: &[u8], samples: f64) -> Option<f64> {
    let planes = *stats.get(5)?;
    let error = u64::from_le_bytes(stats.get(8..16).filter(|_| planes > 0)?.try_into().ok()?);
    Some(-10.0 * (error as f64 / (samples * 255.0 * 255.0)).log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_x264_is_read() {
        let line = "[libx264 @ 0x55] frame=   2 QP=33.79 NAL=2 Slice:B Poc:4   I:27   P:162  SKIP:731  size=1587 bytes";
        assert_eq!(luma(&format!("{line} PSNR Y:33.68 U:33.63 V:33.52\n")), Some(33.68));
        assert_eq!(luma(&format!("{line} PSNR Y: 9.68 U:33.63 V:33.52\n")), Some(9.68));
        assert_eq!(luma(line), None);
    }

    #[test]
    fn the_error_beside_a_packet_is_read() {
        let mut stats = vec![0; 8];
        assert_eq!(from_stats(&stats, 100.0), None);
        stats[5] = 3;
        stats.extend(6_502_500_u64.to_le_bytes());
        assert_eq!(from_stats(&stats, 100.0), Some(0.0));
        stats[8..16].copy_from_slice(&0_u64.to_le_bytes());
        assert_eq!(from_stats(&stats, 100.0), Some(f64::INFINITY));
        assert_eq!(from_stats(&stats[..12], 100.0), None);
    }
}
