//! Topics and groups of earlier runs go away when the next one begins: their names carry the process that made them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::sync::OnceCell;

/// Removes what processes that are no more have left on `brokers`; once per process.
pub async fn sweep(brokers: &str) {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    SWEPT
        .get_or_init(|| async {
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
            let names = tokio::task::spawn_blocking(move || {
                let all = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
                let names = all.topics().iter().map(|topic| topic.name().to_owned());
                (names.filter(|name| is_left_over(name)).collect::<Vec<_>>(), admin)
            });
            let (names, admin) = names.await.unwrap();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            // Somebody else may sweep at the same moment.
            let _ = admin.delete_topics(&names, &AdminOptions::new()).await;
            tokio::task::spawn_blocking(move || drop(admin));
        })
        .await;
}

/// `topic.<process>.<number>`, as the suite names them.
fn is_left_over(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let [_, process, number] = parts.as_slice() else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(process) && is_number(number) && !std::path::Path::new(&format!("/proc/{process}")).exists()
}
