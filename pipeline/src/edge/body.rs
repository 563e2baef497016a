//! Small JSON bodies.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::de::DeserializeOwned;
use tokio::time::{Duration, timeout};

use super::problem::Problem;

/// Longest JSON body, bytes.
const LONGEST: usize = 64 << 10;

/// How long a JSON body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The JSON in `stream`; what cannot be read is told in one sentence.
pub async fn json<T: DeserializeOwned>(mut stream: BoxStream<'static, Result<Bytes, String>>) -> Result<T, Problem> {
    let mut body = Vec::new();
    let read = async {
        while let Some(piece) = stream.next().await {
            let piece =
                piece.map_err(|error| Problem::bad_request("bad_body", format!("the body broke off: {error}")))?;
            if body.len() + piece.len() > LONGEST {
                return Err(Problem::too_large(LONGEST as u64));
            }
            body.extend_from_slice(&piece);
        }
        Ok(())
    };
    let late = || Problem::bad_request("bad_body", "the body stopped arriving");
    timeout(PATIENCE, read).await.map_err(|_| late())??;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request("bad_body", format!("the body is not what is wanted here: {error}")))
}
