//! Uploads in parts that nobody will finish: what a crash leaves in a bucket, unseen and paid for.
//!
//! A rule of the bucket does the same without any sweeper: `AbortIncompleteMultipartUpload` with `DaysAfterInitiation`, see
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-abort-incomplete-mpu-lifecycle-config.html>.

use reqwest::Method;

use super::Bucket;
use super::raw::{Answer, element, unescaped};
use crate::blobs::Error;

/// Uploads in one page of the list; stores answer no more.
const PAGE: &str = "1000";
/// Pages that are read at most, so that a server that always says "more" is no endless loop.
const PAGES: usize = 10_000;

/// An upload that has begun and not ended.
struct Begun {
    key: String,
    upload: String,
    at_ms: i64,
}

impl Bucket {
    /// Gives up uploads below this store that began before `before_ms` (milliseconds since the Unix epoch) and become no blob
    /// whose key `is_kept`; answers how many.
    pub(in crate::blobs) async fn give_up_unfinished(
        &self,
        before_ms: i64,
        is_kept: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<u64, Error> {
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let (mut key_marker, mut upload_marker) = (String::new(), String::new());
        let mut given_up = 0;
        for _ in 0..PAGES {
            let mut query = vec![("uploads", ""), ("max-uploads", PAGE), ("prefix", prefix.as_str())];
            if !key_marker.is_empty() {
                query.extend([("key-marker", key_marker.as_str()), ("upload-id-marker", upload_marker.as_str())]);
            }
            let answer = self.asked(Method::GET, "", &query, "list unfinished uploads of").await?;
            for begun in begun(&answer).into_iter().filter(|begun| begun.at_ms < before_ms) {
                // Some servers list more than what was asked for.
                if begun.key.strip_prefix(&prefix).is_some_and(|key| !is_kept(key)) {
                    self.asked(Method::DELETE, &begun.key, &[("uploadId", &begun.upload)], "give up").await?;
                    given_up += 1;
                }
            }
            if answer.element("IsTruncated").as_deref() != Some("true") {
                break;
            }
            let next = answer.element("NextKeyMarker").unwrap_or_default();
            upload_marker = answer.element("NextUploadIdMarker").unwrap_or_default();
            if next.is_empty() {
                break;
            }
            key_marker = next;
        }
        Ok(given_up)
    }

    /// Asks until there is an answer that is no passing failure. What is gone already is fine.
    async fn asked(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        doing: &'static str,
    ) -> Result<Answer, Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Store {
            doing,
            key: if key.is_empty() { self.prefix.clone() } else { key.to_owned() },
            source,
        };
        let begun = tokio::time::Instant::now();
        let mut pause = super::FIRST_PAUSE;
        loop {
            let asked = self.asker.ask(method.clone(), key, query).await;
            let error: Box<dyn std::error::Error + Send + Sync> = match asked {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer),
                Ok(answer) if answer.status == 404 && method == Method::DELETE => return Ok(answer),
                Ok(answer) if answer.status < 500 && answer.status != 429 => {
                    return Err(failed(format!("status {}: {}", answer.status, answer.body).into()));
                }
                Ok(answer) => format!("status {}: {}", answer.status, answer.body).into(),
                Err(silence) => Box::new(silence),
            };
            if begun.elapsed() > self.patience.retry {
                return Err(failed(error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(super::LONGEST_PAUSE);
        }
    }
}

/// The uploads of one page. Those whose time cannot be read are left alone.
fn begun(answer: &Answer) -> Vec<Begun> {
    let uploads = answer.elements("Upload").into_iter();
    let read = |text: &str| {
        let at: jiff::Timestamp = element(text, "Initiated")?.parse().ok()?;
        Some(Begun {
            key: unescaped(element(text, "Key")?),
            upload: unescaped(element(text, "UploadId")?),
            at_ms: at.as_millisecond(),
        })
    };
    uploads.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_uploads_is_read() {
        let upload = |key: &str, at: &str| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>VXBsb2Fk</UploadId><Initiator><ID>x</ID></Initiator><Initiated>{at}</Initiated></Upload>"
            )
        };
        let body = format!(
            "<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated>{}{}</ListMultipartUploadsResult>",
            upload("a&amp;b", "2010-11-10T20:48:33.000Z"),
            upload("c", "who knows")
        );
        let found = begun(&Answer { body, ..Answer::default() });
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].key.as_str(), found[0].at_ms), ("a&b", 1_289_422_113_000));
    }
}
