//! The S3 server of the tests, and a folder of a bucket for each test.

use std::future::Future;
use std::time::Duration;

use connectors::Blobs;
use connectors::blobs::s3::{Keys, Patience, Settings, make_bucket};

use super::proxy::{Fault, Proxy, Seen};

const BUCKET: &str = "streamforge-tests";

/// Settings for a fresh folder; nothing, and a line that says so, where there is no server.
pub fn settings(what: &str) -> Option<Settings> {
    let Ok(endpoint) = std::env::var("STREAMFORGE_TEST_S3") else {
        println!("not run here: {what} needs SeaweedFS; ./dev engines up");
        return None;
    };
    let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "streamforge".to_owned());
    let fresh = format!("s3://{BUCKET}/tests/{:032x}", rand::random::<u128>());
    let keys = Keys { id: key("STREAMFORGE_TEST_S3_KEY"), secret: key("STREAMFORGE_TEST_S3_SECRET"), token: None };
    Some(Settings { endpoint: Some(endpoint), keys: Some(keys), ..Settings::parse(&fresh).unwrap() })
}

/// `host:port` of the server.
pub fn address(settings: &Settings) -> String {
    settings.endpoint.as_ref().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// The same store through `proxy`, by somebody with little patience.
pub fn through(settings: &Settings, proxy: &Proxy) -> Settings {
    Settings {
        endpoint: Some(format!("http://{}", proxy.address)),
        patience: Patience {
            connect: Duration::from_secs(2),
            read: Duration::from_secs(5),
            request: Duration::from_secs(10),
            retry: Duration::from_secs(8),
        },
        ..settings.clone()
    }
}

/// Runs `check` on a fresh folder and removes the folder, whatever comes of it.
pub async fn with_store<F>(what: &str, check: impl FnOnce(Settings, Blobs) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(settings) = settings(what) else { return };
    make_bucket(&settings).await.unwrap();
    let blobs = Blobs::in_bucket(&settings).await.unwrap();
    let ran = tokio::spawn(check(settings.clone(), blobs.clone())).await;
    let (above, own) = settings.prefix.split_once('/').unwrap();
    let all = Blobs::in_bucket(&Settings { prefix: above.to_owned(), ..settings.clone() }).await.unwrap();
    all.delete_prefix(own).await.unwrap();
    blobs.give_up_unfinished(i64::MAX, &|_| false).await.unwrap();
    if let Err(error) = ran {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Runs `check` on a fresh folder behind a proxy that follows `plan`.
pub async fn with_faults<F>(
    what: &str,
    plan: impl FnMut(&Seen) -> Fault + Send + 'static,
    check: impl FnOnce(Proxy, Blobs, Settings) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    with_store(what, |settings, _| async move {
        let proxy = Proxy::before(&address(&settings), plan).await;
        let bad = through(&settings, &proxy);
        let blobs = Blobs::in_bucket(&bad).await.unwrap();
        check(proxy, blobs, bad).await;
    })
    .await;
}
