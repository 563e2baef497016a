//! Values that others wrote: with schemas that the registry explains, and with ids that nobody does.

use bytes::Bytes;
use schemas::event::{CancelRequested, JobDeleted, UploadReceived};
use schemas::{Event, topic, wire};
use serde_json::{Value, json};

use super::fake::Fake;
use super::{House, append, body, framed, lying, tailed, upload};

/// Our schema of `topic` with one more text at its end, as a producer of its own may have it.
pub fn extended(topic: &str) -> String {
    let mut schema: Value = serde_json::from_str(topic::find(topic).unwrap().schema().unwrap()).unwrap();
    schema["fields"].as_array_mut().unwrap().push(json!({ "name": "campaign", "type": "string" }));
    schema.to_string()
}

/// A body by that schema: a text is its length, doubled, and its bytes.
pub fn extended_body(ours: &[u8], campaign: &str) -> Vec<u8> {
    [body(ours), &[campaign.len() as u8 * 2], campaign.as_bytes()].concat()
}

#[tokio::test]
async fn an_event_by_somebody_elses_schema_is_read_as_ours() {
    let house = House::new().await;
    let id = house.fake.state().register("upload.received-value", &extended(UploadReceived::TOPIC));
    let ours = wire::encode(&upload(1)).unwrap();
    let theirs = |number| framed(id, &extended_body(&wire::encode(&upload(number)).unwrap(), "spring"));
    append(&*house.raw, UploadReceived::TOPIC, 0, [theirs(1), theirs(2), framed(id, b"no such body")]).await;
    let read = lying(&*house.log, UploadReceived::TOPIC, 0).await;
    assert_eq!(read[0], ours, "as if we had written it");
    assert_eq!(wire::decode::<UploadReceived>(&read[1]).unwrap(), upload(2));
    assert_eq!(read[2], framed(id, b"no such body"), "what does not fit its schema is left to whoever reads it");
    assert_eq!(tailed(&*house.log, UploadReceived::TOPIC).await, read);
    assert_eq!(house.fake.asked_for(id), 1, "one question is enough");

    // A dead letter of it, and its way back, are events of ours.
    append(&*house.log, "probe.dlq", 0, [read[0].clone()]).await;
    let upload_id = house.id(UploadReceived::TOPIC);
    assert_eq!(lying(&*house.raw, "probe.dlq", 0).await, [framed(upload_id, body(&ours))]);
}

#[tokio::test]
async fn an_event_of_another_name_is_never_taken_for_ours() {
    let house = House::new().await;
    // Both are a job and a time. One deletes.
    let cancel = wire::encode(&CancelRequested { job: upload(1).job, at: 3 }).unwrap();
    let topic = JobDeleted::TOPIC;
    let spec = connectors::log::TopicSpec {
        name: topic.to_owned(),
        partitions: 1,
        retention: connectors::log::Retention::default(),
        min_in_sync: None,
    };
    house.log.ensure_topics(&[spec]).await.unwrap();
    let theirs = topic::find(CancelRequested::TOPIC).unwrap().schema().unwrap().replace("streamforge", "others");
    let id = house.fake.state().register("others", &theirs);
    append(&*house.raw, topic, 0, [framed(id, body(&cancel))]).await;
    let read = lying(&*house.log, topic, 0).await;
    let refused = wire::decode::<JobDeleted>(&read[0]).unwrap_err();
    assert_eq!(refused.to_string(), format!("schema id {id} is unknown"));
}

#[tokio::test]
async fn an_id_that_the_registry_does_not_know_goes_through_as_it_is() {
    let house = House::new().await;
    let ours = wire::encode(&upload(1)).unwrap();
    // In this log 1 is not the id of an upload, although that is what it is to us.
    let letters: Vec<Bytes> = [1, 2, 13, 25_443, u32::MAX].map(|id| framed(id, body(&ours))).to_vec();
    append(&*house.raw, UploadReceived::TOPIC, 0, letters.clone()).await;
    let read = lying(&*house.log, UploadReceived::TOPIC, 0).await;
    for (value, id) in read.iter().zip([1, 2, 13, 25_443]) {
        let refused = wire::decode::<UploadReceived>(value).unwrap_err().to_string();
        assert_eq!(refused, format!("schema id {id} is unknown"));
    }
    append(&*house.log, "probe.dlq", 0, read).await;
    assert_eq!(lying(&*house.raw, "probe.dlq", 0).await, letters, "a dead letter is what came, byte for byte");
    let back = tailed(&*house.log, "probe.dlq").await;
    append(&*house.log, UploadReceived::TOPIC, 1, back).await;
    assert_eq!(lying(&*house.raw, UploadReceived::TOPIC, 1).await, letters, "and so it goes back");
    assert_eq!(house.fake.asked_for(u32::MAX), 0, "no registry gives such ids");
}

#[tokio::test]
async fn a_schema_that_is_registered_later_is_found_then() {
    let house = House::on(Fake::start(100, 1).await).await;
    let id = house.fake.state().next.0;
    let theirs = framed(id, &extended_body(&wire::encode(&upload(1)).unwrap(), "spring"));
    append(&*house.raw, UploadReceived::TOPIC, 0, [theirs.clone()]).await;
    assert_eq!(lying(&*house.log, UploadReceived::TOPIC, 0).await, std::slice::from_ref(&theirs));
    let asked = house.fake.asked_for(id);
    assert_eq!(asked, 2, "one no may come from a server that has not heard yet");
    assert_eq!(lying(&*house.log, UploadReceived::TOPIC, 0).await, [theirs]);
    assert_eq!(house.fake.asked_for(id), asked, "it is believed for a while");
    house.fake.state().register("upload.received-value", &extended(UploadReceived::TOPIC));
    tokio::time::sleep(super::QUICK.belief).await;
    let read = lying(&*house.log, UploadReceived::TOPIC, 0).await;
    assert_eq!(wire::decode::<UploadReceived>(&read[0]).unwrap(), upload(1));
}
