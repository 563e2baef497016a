//! What is wrong with a registry is said at the start, with what to do, and without secrets.

use std::time::Instant;

use connectors::log::registered::enroll;
use connectors::log::registry::{Address, Client, Trouble};
use schemas::topic;

use super::fake::Fake;

async fn refusal(address: &str) -> Trouble {
    let began = Instant::now();
    let refused = enroll(&Address::parse(address).unwrap(), "").await.map(drop).unwrap_err();
    assert!(began.elapsed() < connectors::open::PATIENCE, "it took {:?}", began.elapsed());
    refused
}

/// User `me` with the password `hunter2/@`.
const LOGIN: &str = "Basic bWU6aHVudGVyMi9A";

#[tokio::test]
async fn a_wrong_login_is_told_and_never_shown() {
    let fake = Fake::start(1, 1).await;
    fake.state().login = Some(LOGIN);
    enroll(&Address::parse(&format!("http://me:hunter2%2F%40@{}", fake.at)).unwrap(), "").await.unwrap();
    for wrong in [format!("http://me:hunter3@{}", fake.at), format!("http://{}", fake.at)] {
        let trouble = refusal(&wrong).await;
        let said = format!("{trouble} {trouble:?} {} {:?}", trouble.advice(), Address::parse(&wrong).unwrap());
        assert!(matches!(trouble, Trouble::Refused { .. }), "{said}");
        assert!(said.contains(&fake.at) && said.contains("401"), "{said}");
        assert!(!said.contains("hunter") && !said.contains("me:"), "{said}");
    }
}

#[tokio::test]
async fn nobody_there_something_else_there_and_a_subject_that_is_taken() {
    let [port] = crate::ports::free();
    let trouble = refusal(&format!("http://127.0.0.1:{port}")).await;
    assert!(matches!(&trouble, Trouble::Away { .. }), "{trouble}");
    assert!(trouble.to_string().contains("refused") && trouble.advice().contains("`registry`"), "{trouble}");

    let fake = Fake::start(1, 1).await;
    let address = format!("http://{}", fake.at);
    let trouble = refusal(&format!("{address}/no/such/path")).await;
    assert!(matches!(&trouble, Trouble::Stranger { .. }) && trouble.advice().contains("path"), "{trouble}");
    fake.state().is_a_page = true;
    let trouble = refusal(&address).await;
    assert!(matches!(&trouble, Trouble::Stranger { .. }), "{trouble}");
    fake.state().is_a_page = false;
    fake.state().closed = Some("chunk.cut-value");
    let trouble = refusal(&address).await;
    let said = trouble.to_string();
    assert!(said.contains("chunk_cut.v1.avsc") && said.contains("`chunk.cut-value`"), "{said}");
    assert!(
        said.contains("incompatible with an earlier schema") && trouble.advice().contains("topic_prefix"),
        "{said}"
    );
}

#[tokio::test]
async fn what_a_registry_lacks_is_found_without_changing_it() {
    let fake = Fake::start(1, 1).await;
    let client = Client::new(&Address::parse(&format!("http://{}", fake.at)).unwrap()).unwrap();
    assert_eq!(client.lacking("").await, Ok(Vec::new()), "an empty one gets everything at the first start");
    fake.state().register("upload.received-value", "{}");
    let cut = topic::find("chunk.cut").unwrap();
    fake.state().register(&cut.subject, cut.schema().unwrap());
    assert_eq!(client.lacking("").await, Ok(vec!["upload.received-value".to_owned()]));
    assert_eq!(fake.state().subjects.len(), 2);
}

#[test]
fn an_address_is_shown_without_its_secrets() {
    for (text, shown) in [
        ("http://host:8081", "http://host:8081"),
        ("https://me:pass@host/apis/ccompat/v7/", "https://host/apis/ccompat/v7"),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), shown);
        assert!(!format!("{address:?}").contains("pass"), "{address:?}");
    }
    for wrong in
        ["host:8081", "ftp://host", "http://", "http://:p@host", "http://u:1/p@host", "http://h?p", "http://h#p"]
    {
        assert!(Address::parse(wrong).is_err(), "{wrong}");
    }
}
