//! Opening a file that nobody trusts: a forced demuxer over bytes that are already open, and nothing else.
//!
//! Playlists, external references and protocols have no way in: the demuxer reads through callbacks on one file, and
//! every attempt to open something else is refused. A rendition of our own is read the same way, out of a feed that cannot
//! be sought in.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::ptr;

use ffmpeg_next as ff;
use ffmpeg_next::ffi;

use super::sniff::{self, Container};
use super::{Code, Error};

/// Most tracks in a file.
pub const MAX_TRACKS: u32 = 64;
/// Most pixels in a picture: 8192 x 4320.
pub const MAX_PIXELS: i64 = 8192 * 4320;
/// Bytes that one read callback gets at a time.
const BUFFER: usize = 256 * 1024;
/// Bytes that are looked at to recognise a container.
const SNIFF: usize = sniff::SNIFF_BYTES;

/// An opened container.
pub struct Source {
    // Declared first, so that the demuxer goes before what it reads from.
    input: Option<ff::format::context::Input>,
    io: *mut ffi::AVIOContext,
    reader: *mut Reader,
    /// The container, by its bytes.
    pub container: Container,
}

/// What a demuxer reads from.
enum Reader {
    File { file: File, position: u64, size: u64 },
    Feed(Box<dyn Read + Send>),
}

impl Source {
    /// Recognises and opens `file`.
    pub fn open(file: File) -> Result<Self, Error> {
        let unreadable = |error: std::io::Error| Error::new(Code::EncoderFailed, format!("read the source: {error}"));
        let size = file.metadata().map_err(unreadable)?.len();
        let mut head = vec![0; SNIFF.min(usize::try_from(size).unwrap_or(SNIFF))];
        file.read_exact_at(&mut head, 0).map_err(unreadable)?;
        let container = sniff::sniff(&head).ok_or_else(|| {
            Error::new(Code::UnsupportedMedia, "the file is no MP4, MOV, AVI, WebM, MKV or MPEG-TS by its first bytes")
        })?;
        Self::over(Reader::File { file, position: 0, size }, container)
    }

    /// Opens a fragmented MP4 of which the bytes come one after the other.
    pub fn feed(bytes: Box<dyn Read + Send>) -> Result<Self, Error> {
        Self::over(Reader::Feed(bytes), Container::Mp4)
    }

    fn over(reader: Reader, container: Container) -> Result<Self, Error> {
        let reader = Box::into_raw(Box::new(reader));
        let mut source = Self { input: None, io: ptr::null_mut(), reader, container };
        source.connect()?;
        Ok(source)
    }

    /// Name of the demuxer for `container`.
    pub fn demuxer(container: Container) -> &'static str {
        match container {
            Container::Mp4 | Container::Mov => "mov",
            Container::Avi => "avi",
            Container::Webm | Container::Mkv => "matroska",
            Container::MpegTs => "mpegts",
        }
    }

    /// The demuxer.
    pub fn input(&mut self) -> Result<&mut ff::format::context::Input, Error> {
        self.input.as_mut().ok_or_else(|| Error::new(Code::EncoderFailed, "the source is not open"))
    }

    fn connect(&mut self) -> Result<(), Error> {
        let no_memory = || Error::new(Code::EncoderFailed, "open the source: out of memory");
        let name = CString::new(Self::demuxer(self.container)).unwrap_or_default();
        // SAFETY: every pointer below comes from the allocator beside it and is checked; `reader` outlives `io`, and
        // `io` outlives the demuxer, because `Drop` frees them in that order.
        unsafe {
            let can_seek = matches!(*self.reader, Reader::File { .. });
            let buffer = ffi::av_malloc(BUFFER).cast();
            self.io = ffi::avio_alloc_context(
                buffer,
                BUFFER as c_int,
                0,
                self.reader.cast::<c_void>(),
                Some(read),
                None,
                if can_seek { Some(seek) } else { None },
            );
            if self.io.is_null() {
                ffi::av_free(buffer.cast());
                return Err(no_memory());
            }
            let mut context = ffi::avformat_alloc_context();
            if context.is_null() {
                return Err(no_memory());
            }
            (*context).pb = self.io;
            (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
            (*context).io_open = Some(refuse);
            // A few more than allowed, so that a file over the budget is told so.
            (*context).max_streams = 4096;
            let demuxer = ffi::av_find_input_format(name.as_ptr());
            // On failure the callee frees the context.
            let answer = ffi::avformat_open_input(&mut context, ptr::null(), demuxer, ptr::null_mut());
            if answer < 0 {
                return Err(Error::new(
                    Code::DamagedMedia,
                    format!("the {} file cannot be opened: {}", self.container.as_str(), ff::Error::from(answer)),
                ));
            }
            self.input = Some(ff::format::context::Input::wrap(context));
            self.check_budget()?;
            let streams = (*context).nb_streams;
            let mut options: Vec<*mut ffi::AVDictionary> = (0..streams)
                .map(|_| {
                    let mut options = ff::Dictionary::new();
                    options.set("max_pixels", &MAX_PIXELS.to_string());
                    options.set("threads", "1");
                    options.disown()
                })
                .collect();
            let answer = ffi::avformat_find_stream_info(context, options.as_mut_ptr());
            for option in &mut options {
                ffi::av_dict_free(option);
            }
            if answer < 0 {
                return Err(Error::new(
                    Code::DamagedMedia,
                    format!("the tracks of the file cannot be read: {}", ff::Error::from(answer)),
                ));
            }
        }
        // Demuxers without a header find their tracks late.
        self.check_budget()
    }

    fn check_budget(&mut self) -> Result<(), Error> {
        let input = self.input()?;
        if input.nb_streams() > MAX_TRACKS {
            return Err(Error::new(
                Code::TooManyTracks,
                format!("the file has {} tracks; at most {MAX_TRACKS} are taken", input.nb_streams()),
            ));
        }
        for stream in input.streams() {
            let parameters = stream.parameters();
            // SAFETY: the parameters belong to the open demuxer.
            let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
            if i64::from(width) * i64::from(height) > MAX_PIXELS {
                return Err(Error::new(
                    Code::TooLargePicture,
                    format!("the picture is {width}x{height}; at most 8192x4320 is taken"),
                ));
            }
        }
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.input.take());
        // SAFETY: nothing reads from `io` any more; its buffer may have been replaced, so it is freed through `io`.
        unsafe {
            if !self.io.is_null() {
                ffi::av_freep((&raw mut (*self.io).buffer).cast());
                ffi::avio_context_free(&mut self.io);
            }
            drop(Box::from_raw(self.reader));
        }
    }
}

unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: `opaque` is the reader that `connect` handed over; the demuxer calls from one thread.
    let (reader, buffer) = unsafe {
        (&mut *opaque.cast::<Reader>(), std::slice::from_raw_parts_mut(buffer, usize::try_from(size).unwrap_or(0)))
    };
    let read = match reader {
        Reader::File { file, position, .. } => {
            file.read_at(buffer, *position).inspect(|count| *position += *count as u64)
        }
        Reader::Feed(bytes) => bytes.read(buffer),
    };
    match read {
        Ok(0) => ffi::AVERROR_EOF,
        Ok(count) => c_int::try_from(count).unwrap_or(c_int::MAX),
        Err(_) => ffi::AVERROR(ffi::EIO),
    }
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `read`.
    let reader = unsafe { &mut *opaque.cast::<Reader>() };
    let Reader::File { position, size, .. } = reader else { return i64::from(ffi::AVERROR(ffi::EINVAL)) };
    let size = i64::try_from(*size).unwrap_or(i64::MAX);
    let target = match whence & !ffi::AVSEEK_FORCE {
        whence if whence == ffi::AVSEEK_SIZE => return size,
        0 => Some(offset),
        1 => i64::try_from(*position).ok().and_then(|position| position.checked_add(offset)),
        2 => size.checked_add(offset),
        _ => None,
    };
    match target.and_then(|target| u64::try_from(target).ok()) {
        Some(target) => {
            *position = target;
            target as i64
        }
        None => i64::from(ffi::AVERROR(ffi::EINVAL)),
    }
}

unsafe extern "C" fn refuse(
    _context: *mut ffi::AVFormatContext,
    _io: *mut *mut ffi::AVIOContext,
    _url: *const std::ffi::c_char,
    _flags: c_int,
    _options: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(ffi::EPERM)
}
