//! VMAF of each picture, out of FFmpeg's filter `libvmaf`, where the library has it.
//!
//! That filter tells the figures of single pictures to a file alone, by its path, when it ends. Here the path is that of a pipe
//! which this process holds itself, so no file is needed and the sandbox stays shut: it lets a process open for writing what has
//! no place in any file system, and nothing else (see [`super::super::sandbox`]).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::JoinHandle;

use ffmpeg_next as ff;

use crate::media::{Code, Error, Vmaf, sandbox};

/// The column of the log that is wanted.
const COLUMN: &str = "vmaf";

/// Whether the libraries have the filter.
pub fn is_there() -> bool {
    ff::filter::find("libvmaf").is_some()
}

/// Whether it can be measured here.
pub fn state() -> Vmaf {
    if !is_there() {
        Vmaf::NoFilter
    } else if !sandbox::may_write_to_pipes() {
        Vmaf::NotSafe
    } else {
        Vmaf::Measured
    }
}

/// Takes what the filter writes when it ends.
pub struct Log {
    writer: OwnedFd,
    reader: JoinHandle<Result<Vec<f64>, String>>,
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::new(Code::EncoderFailed, format!("measure VMAF: {what}"))
}

impl Log {
    /// A log that waits for the filter.
    pub fn open() -> Result<Self, Error> {
        let (reader, writer) = rustix::pipe::pipe().map_err(failed)?;
        let reader =
            std::thread::Builder::new().spawn(move || read(BufReader::new(File::from(reader)))).map_err(failed)?;
        Ok(Self { writer, reader })
    }

    /// The filter that writes to it.
    pub fn filter(&self) -> String {
        format!("libvmaf=log_fmt=csv:log_path=/proc/self/fd/{}", self.writer.as_raw_fd())
    }

    /// The figures in the order of the pictures, once the filter has ended.
    pub fn close(self) -> Result<Vec<f64>, Error> {
        drop(self.writer);
        self.reader.join().map_err(|_| failed("its log was not read"))?.map_err(failed)
    }
}

/// The figures in a log: comma-separated values, names first.
fn read(log: impl BufRead) -> Result<Vec<f64>, String> {
    let mut lines = log.lines();
    let Some(head) = lines.next() else { return Ok(Vec::new()) };
    let head = head.map_err(|error| error.to_string())?;
    let column = head.split(',').position(|name| name.trim() == COLUMN).ok_or("its log has no column of that name")?;
    let mut figures = Vec::new();
    for line in lines {
        let line = line.map_err(|error| error.to_string())?;
        if let Some(figure) = line.split(',').nth(column) {
            figures.push(figure.trim().parse().map_err(|_| format!("its log says `{figure}`"))?);
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_the_name_of_their_column() {
        let log = "Frame,integer_adm2,vmaf,\n0,0.98,97.25,\n1,0.5,3.5,\n";
        assert_eq!(read(log.as_bytes()).unwrap(), [97.25, 3.5]);
        assert_eq!(read("".as_bytes()).unwrap(), [0.0; 0]);
        assert!(read("Frame,psnr\n0,40\n".as_bytes()).is_err());
        assert!(read("Frame,vmaf\n0,good\n".as_bytes()).is_err());
    }
}
