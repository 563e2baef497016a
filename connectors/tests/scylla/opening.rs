//! Opening: migrations by many at once, and what is said when it cannot be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::Catalog;
use connectors::catalog::Error;
use connectors::catalog::scylla::{Settings, is_made, open};
use futures::future::join_all;

use crate::catalog::job;
use crate::in_own_keyspace;
use crate::proxy::Proxy;

async fn refusal(settings: Settings) -> String {
    let started = Instant::now();
    let answer = open(settings).await;
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    match answer {
        Err(Error::Setup(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_open_at_once_make_the_tables_together() {
    in_own_keyspace(|open| async move {
        let all = join_all((0..8).map(|_| {
            let open = open.clone();
            tokio::spawn(async move { open.catalog().await })
        }))
        .await;
        let catalogs: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        let id = job(1);
        for (number, catalog) in catalogs.iter().enumerate() {
            assert_eq!(catalog.count_attempt("w").await.unwrap(), u32::try_from(number).unwrap() + 1);
            catalog.put_chunk(&crate::catalog::chunk(id, u32::try_from(number).unwrap())).await.unwrap();
        }
        assert_eq!(catalogs[0].chunks(id, None, 100).await.unwrap().items.len(), 8);
        assert_eq!(open.numbers("SELECT ends_at FROM KS.migrations").await, [0], "nobody is changing tables any more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_newer_program_are_left_alone() {
    in_own_keyspace(|open| async move {
        drop(open.catalog().await);
        open.run("UPDATE KS.migrations SET version = 99 WHERE name = 'tables' IF version > 0").await;
        let text = refusal(open.settings()).await;
        assert!(text.contains("version 99") && text.contains("newer"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_died_while_changing_tables_is_replaced() {
    in_own_keyspace(|open| async move {
        drop(open.catalog().await);
        // Somebody took the lease, made half of the tables and died; its lease is over.
        open.run("UPDATE KS.migrations SET version = 0, holder = 'dead', ends_at = 5 WHERE name = 'tables' IF EXISTS")
            .await;
        open.run("DROP TABLE KS.leases").await;
        let catalog: Arc<dyn Catalog> = open.catalog().await;
        assert!(catalog.lease("l", "a", 0, 1).await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_datacenter_is_named_beside_those_that_are_there() {
    in_own_keyspace(|open| async move {
        let text = refusal(Settings { local_datacenter: Some("mars".to_owned()), ..open.settings() }).await;
        assert!(text.contains("`mars`") && text.contains("datacenter1"), "{text}");
        let there = Settings { local_datacenter: Some("datacenter1".to_owned()), ..open.settings() };
        connectors::catalog::scylla::open(there).await.unwrap().check().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_connections_and_answers_no_statement_is_named_within_ten_seconds() {
    in_own_keyspace(|space| async move {
        drop(space.catalog().await);
        let proxy = Proxy::before(&space.node).await;
        proxy.swallow("migrations");
        let address = proxy.address.to_string();
        let text = refusal(Settings { nodes: vec![address.clone()], ..space.settings() }).await;
        assert!(text.contains(&address) && text.contains("answers statements"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_makes_nothing() {
    in_own_keyspace(|space| async move {
        for keyspace in [space.settings().keyspace, "never_made".to_owned()] {
            let there = Settings { keyspace, ..space.settings() };
            assert!(!is_made(&there).await.unwrap());
            assert!(!is_made(&there).await.unwrap(), "it is not made by looking");
        }
        drop(space.catalog().await);
        assert!(is_made(&space.settings()).await.unwrap());
        space.run("UPDATE KS.migrations SET version = 0 WHERE name = 'tables' IF version > 0").await;
        assert!(
            !is_made(&space.settings()).await.unwrap(),
            "tables of an older program are changed when they are opened"
        );
        space.run("UPDATE KS.migrations SET version = 99 WHERE name = 'tables' IF version = 0").await;
        assert!(is_made(&space.settings()).await.is_err());
    })
    .await;
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_be_reached_is_named_within_ten_seconds() {
    let nobody = nobody().await;
    let text = refusal(Settings::new(vec![nobody.clone()], "videos")).await;
    assert!(text.contains(&nobody) && text.contains("refused"), "{text}");
    let text = refusal(Settings::new(vec!["no.such.host.invalid:9042".to_owned()], "videos")).await;
    assert!(text.contains("no.such.host.invalid"), "{text}");
    // A listener that accepts and never says a word, as a firewall or a stopped process would.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let text = refusal(Settings::new(vec![address.clone()], "videos")).await;
    assert!(text.contains(&address), "{text}");
    let text = refusal(Settings::new(Vec::new(), "videos")).await;
    assert!(text.contains("no node"), "{text}");
}

#[tokio::test]
async fn names_that_are_no_keyspace_are_refused_before_anybody_is_asked() {
    for name in ["", "1st", "my-videos", "Videos", "a\"; DROP", &"a".repeat(49)] {
        let text = refusal(Settings::new(vec!["127.0.0.1:1".to_owned()], name)).await;
        assert!(text.contains(&format!("`{name}`")) && text.contains("keyspace"), "{text}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let settings = Settings { password: Some("hunter2".to_owned()), ..Settings::new(vec!["n".to_owned()], "k") };
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
}
