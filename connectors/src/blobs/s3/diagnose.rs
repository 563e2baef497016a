//! Whether a bucket can be used, and if not, why.

use std::time::Duration;

use object_store::aws::AmazonS3;
use reqwest::Method;

use super::raw::{Asker, Silence};
use super::settings::Settings;
use super::trouble::{Asked, Trouble, judge};

/// Longest that a diagnosis takes.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server that says "later" is asked again.
const INSIST: Duration = Duration::from_secs(6);

/// Asks the server for the first name in the bucket; answers within [`PATIENCE`] what is wrong.
pub async fn diagnose(settings: &Settings) -> Result<(), Trouble> {
    let refused = |error: object_store::Error| Trouble::Settings(chain(&error));
    let store = settings.builder().build().map_err(refused)?;
    let asker = asker(settings, &store)?;
    probe(settings, &asker).await
}

pub(super) fn asker(settings: &Settings, store: &AmazonS3) -> Result<Asker, Trouble> {
    let refused = |error: object_store::Error| Trouble::Settings(chain(&error));
    Asker::new(settings, std::sync::Arc::clone(store.credentials())).map_err(refused)
}

pub(super) async fn probe(settings: &Settings, asker: &Asker) -> Result<(), Trouble> {
    let address = settings.bucket_address();
    let endpoint = settings.endpoint.clone().unwrap_or(address);
    let unreachable = |cause: String| Trouble::Unreachable { endpoint: endpoint.clone(), cause };
    let asking = async {
        let begun = tokio::time::Instant::now();
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        loop {
            let query = [("list-type", "2"), ("max-keys", "1"), ("prefix", prefix.as_str())];
            let trouble = match asker.ask(Method::GET, "", &query).await {
                Ok(answer) => {
                    let asked = Asked { bucket: &settings.bucket, endpoint: &endpoint, region: settings.region() };
                    match judge(&answer, &asked) {
                        // Busy servers are asked again.
                        Err(trouble) if answer.status >= 500 || answer.status == 429 => trouble,
                        judged => return judged,
                    }
                }
                Err(Silence::Credentials(error)) => {
                    let cause = chain(error.as_ref());
                    return Err(Trouble::NoCredentials { bucket: settings.bucket.clone(), cause });
                }
                Err(Silence::Server(error)) => unreachable(chain(error.as_ref())),
            };
            if begun.elapsed() > INSIST {
                return Err(trouble);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let late = || match &settings.keys {
        Some(_) => unreachable(format!("no answer within {} s", PATIENCE.as_secs())),
        None => Trouble::NoCredentials {
            bucket: settings.bucket.clone(),
            cause: format!("neither a role nor the server answered within {} s", PATIENCE.as_secs()),
        },
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(late()))
}

/// Makes the bucket of `settings`; one that is there already is fine.
pub async fn make_bucket(settings: &Settings) -> Result<(), Trouble> {
    let refused = |error: object_store::Error| Trouble::Settings(chain(&error));
    let asker = asker(settings, &settings.builder().build().map_err(refused)?)?;
    let endpoint = settings.endpoint.clone().unwrap_or_else(|| settings.bucket_address());
    match asker.ask(Method::PUT, "", &[]).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) if answer.element("Code").is_some_and(|code| code.starts_with("BucketAlready")) => Ok(()),
        Ok(answer) => {
            let asked = Asked { bucket: &settings.bucket, endpoint: &endpoint, region: settings.region() };
            judge(&answer, &asked)
        }
        Err(Silence::Credentials(error)) => {
            Err(Trouble::NoCredentials { bucket: settings.bucket.clone(), cause: chain(error.as_ref()) })
        }
        Err(Silence::Server(error)) => Err(Trouble::Unreachable { endpoint, cause: chain(error.as_ref()) }),
    }
}

/// An error with what caused it, each cause once: libraries repeat them.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        source = cause.source();
    }
    text
}
