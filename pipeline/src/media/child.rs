//! The parent's side of the process boundary: one short-lived, sandboxed child per piece of work.
//!
//! The child gets the source as its standard input (an open file that it can seek in), the request as an argument, and
//! answers on its standard output in frames: one byte of kind, four bytes of length (big-endian), the payload.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::{Code, Engine, Error, Output, Request, Response, Run, encode};

/// Kinds of frames.
pub mod kind {
    /// Payload: frames finished, eight bytes big-endian.
    pub const PROGRESS: u8 = 1;
    /// Payload: index of the rendition, one byte, then bytes.
    pub const BYTES: u8 = 2;
    /// Payload: JSON of the response.
    pub const DONE: u8 = 3;
    /// Payload: JSON of the error.
    pub const FAILED: u8 = 4;
}

/// Longest frame that the parent believes, bytes.
const MAX_FRAME: usize = 1 << 30;
/// What is kept of the child's last words, bytes.
const LAST_WORDS: usize = 4096;

/// Runs media work in children of this program.
#[derive(Clone, Debug)]
pub struct ChildEngine {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl ChildEngine {
    /// Children that run `program arguments… <request>`.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }

    /// Children that run this very program with the subcommand `media-child`.
    pub fn of_this_program() -> std::io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, &["media-child"]))
    }
}

impl Engine for ChildEngine {
    fn start(&self, request: &Request, source: File) -> Result<Box<dyn Run>, Error> {
        let failed = |what: String| Error::new(Code::EncoderFailed, format!("start the media process: {what}"));
        let request = serde_json::to_string(request).map_err(|error| failed(error.to_string()))?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(request)
            // Nothing of our environment, which may hold secrets, reaches the decoders.
            .env_clear()
            .stdin(Stdio::from(source))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no output".into()))?;
        let stderr = child.stderr.take().ok_or_else(|| failed("no messages".into()))?;
        let last_words = tokio::spawn(listen(stderr));
        Ok(Box::new(ChildRun { child, stdout: BufReader::with_capacity(256 * 1024, stdout), last_words }))
    }

    fn build(&self) -> String {
        encode::build()
    }
}

struct ChildRun {
    child: Child,
    stdout: BufReader<ChildStdout>,
    last_words: tokio::task::JoinHandle<String>,
}

/// Reads messages to the end, so that the child never blocks on them, and keeps the last ones.
async fn listen(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count) = stderr.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > LAST_WORDS {
            kept.drain(..kept.len() - LAST_WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

impl ChildRun {
    async fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let kind = self.stdout.read_u8().await?;
        let length = self.stdout.read_u32().await? as usize;
        if length > MAX_FRAME {
            return Err(std::io::Error::other("a frame of absurd length"));
        }
        let mut payload = vec![0; length];
        self.stdout.read_exact(&mut payload).await?;
        Ok((kind, payload))
    }

    /// Says how the child died.
    async fn post_mortem(&mut self) -> Error {
        let status = self.child.wait().await;
        let words = (&mut self.last_words).await.unwrap_or_default();
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim().to_owned();
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let remark = if last.is_empty() { String::new() } else { format!(" ({last})") };
        Error::new(Code::MediaCrashed, format!("the media process ended without a result: {how}{remark}"))
    }
}

#[async_trait]
impl Run for ChildRun {
    async fn next(&mut self) -> Result<Output, Error> {
        let garbled = || Error::new(Code::MediaCrashed, "the media process answered with garbage");
        let Ok((kind, payload)) = self.frame().await else {
            return Err(self.post_mortem().await);
        };
        match kind {
            kind::PROGRESS => {
                let bytes: [u8; 8] = payload.try_into().map_err(|_| garbled())?;
                Ok(Output::Progress(u64::from_be_bytes(bytes)))
            }
            kind::BYTES => {
                let mut bytes = Bytes::from(payload);
                if bytes.is_empty() {
                    return Err(garbled());
                }
                let rendition = usize::from(bytes.split_to(1)[0]);
                Ok(Output::Bytes(rendition, bytes))
            }
            kind::DONE => {
                let response: Response = serde_json::from_slice(&payload).map_err(|_| garbled())?;
                Ok(Output::Done(response))
            }
            kind::FAILED => Err(serde_json::from_slice(&payload).map_err(|_| garbled())?),
            _ => Err(garbled()),
        }
    }
}
