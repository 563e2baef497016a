//! What is asked of a network over a pipe, and how it is told apart there.
//!
//! A message is two lengths of four bytes (little-endian), a header in JSON, and bulk: samples or pixels as they lie in memory.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Error;

/// Longest header or bulk that is believed, bytes.
const MAX_PART: u32 = 1 << 28;

/// Something that one network is asked.
pub trait Question: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it answers.
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The network, a word on the command line of its process.
    const NETWORK: &'static str;

    /// What is too big for JSON.
    fn bulk(&self) -> Vec<u8>;

    /// Takes back what [`Question::bulk`] gave.
    fn with_bulk(self, bulk: &[u8]) -> Self;
}

/// A header on its way to a network.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked<Q> {
    /// Tells answers apart.
    pub id: u64,
    /// The question without its bulk.
    pub question: Q,
}

/// A header on its way back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered<A> {
    /// Of the question.
    pub id: u64,
    /// The answer.
    pub answer: Result<A, Refusal>,
}

/// An [`Error`] as it goes over the pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose fault it is.
    pub fault: Fault,
    /// One sentence.
    pub message: String,
}

/// Whose fault it is that there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The model's: no question will be answered.
    Model,
    /// The question's.
    Question,
    /// Nobody's: another attempt may go better.
    Nobody,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let fault = match &error {
            Error::Read { .. } | Error::Unfit(_) => Fault::Model,
            Error::Audio(_) => Fault::Question,
            Error::Compute(_) | Error::Gone(_) => Fault::Nobody,
        };
        let message = match &error {
            Error::Read { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self { fault, message }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.fault {
            Fault::Model => Self::Unfit(refusal.message),
            Fault::Question => Self::Audio(refusal.message),
            Fault::Nobody => Self::Gone(refusal.message),
        }
    }
}

/// Writes one message.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), header: &impl Serialize, bulk: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    for part in [header.len(), bulk.len()] {
        let length = u32::try_from(part).ok().filter(|length| *length <= MAX_PART);
        let length = length.ok_or_else(|| io::Error::other(format!("a message of {part} bytes is too long")))?;
        to.write_all(&length.to_le_bytes()).await?;
    }
    to.write_all(&header).await?;
    to.write_all(bulk).await?;
    to.flush().await
}

/// Reads one message; nothing when the other side has ended between two.
pub async fn read<H: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(H, Vec<u8>)>> {
    let header = match from.read_u32_le().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let bulk = from.read_u32_le().await?;
    if header.max(bulk) > MAX_PART {
        return Err(io::Error::other("a message of absurd length"));
    }
    let mut parts = [header, bulk].map(|length| vec![0; length as usize]);
    for part in &mut parts {
        from.read_exact(part).await?;
    }
    let [header, bulk] = parts;
    Ok(Some((serde_json::from_slice(&header)?, bulk)))
}

/// Samples as bytes.
pub fn bytes_of(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// Samples of [`bytes_of`].
pub fn samples_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_as_they_went(headers in prop::collection::vec(".{0,40}", 0..5), bits in prop::collection::vec(any::<u32>(), 0..50)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let samples: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            runtime.block_on(async {
                let mut pipe = Vec::new();
                for header in &headers {
                    write(&mut pipe, header, &bytes_of(&samples)).await.unwrap();
                }
                let mut from = pipe.as_slice();
                for header in &headers {
                    let (came, bulk) = read::<String>(&mut from).await.unwrap().unwrap();
                    assert_eq!(&came, header);
                    assert_eq!(bytes_of(&samples_of(&bulk)), bytes_of(&samples));
                }
                assert!(read::<String>(&mut from).await.unwrap().is_none());
            });
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_absurd_is_an_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &"a word", &[1, 2, 3]).await.unwrap();
        assert!(read::<String>(&mut &pipe[..pipe.len() - 1]).await.is_err());
        assert!(read::<String>(&mut &[0xff; 64][..]).await.is_err());
    }
}
