//! Programs that are not StreamForge beside a StreamForge on real engines: Confluent's clients write and read every topic,
//! kcat looks at records as they lie there, and what is no event of ours is a dead letter that holds nobody up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../connectors/tests/registry/server.rs"]
mod apicurio;
#[path = "clients/bad.rs"]
mod bad;
#[path = "clients/confluent.rs"]
mod confluent;
#[path = "clients/kcat.rs"]
mod kcat;
#[path = "clients/place.rs"]
mod place;
#[path = "../../connectors/tests/suite/ports.rs"]
mod ports;
#[path = "e2e/process.rs"]
mod process;
#[path = "clients/server.rs"]
mod server;

use std::process::Command;

use apicurio::Apicurio;
use place::Place;
use server::Server;

/// A few seconds of small pictures with a tone.
fn clip() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args("-nostdin -v error -y -f lavfi -i testsrc2=size=320x180:rate=25:duration=4".split(' '))
        .args("-f lavfi -i sine=frequency=440:duration=4".split(' '))
        .args("-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac".split(' '))
        .arg(&file)
        .status()
        .expect("ffmpeg is installed");
    assert!(made.success());
    std::fs::read(&file).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_others_share_the_topics_and_what_is_no_event_holds_nobody_up() {
    let Some(place) = Place::find("topics shared with other people's programs") else { return };
    place
        .with(|place| async move {
            let server = Server::start(&place, &[]).await;
            let edge = format!("{}/api/registry", server.url);
            let first = confluent::writes_and_reads(&place, &server, &edge, &[], &clip()).await;
            bad::is_buried_and_the_stage_goes_on(&place, &server, &edge, &clip()).await;
            if let Some(job) = first {
                bad::a_known_upload_is_passed_by(&place, &server, &job).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_registry_producers_bring_schemas_of_their_own() {
    let what = "a StreamForge with a schema registry";
    let Some(place) = Place::find(what) else { return };
    let Some(registry) = Apicurio::start(what).await else { return };
    place
        .with(|place| async move {
            let address = registry.address();
            let server = Server::start(&place, &[("STREAMFORGE_REGISTRY", &address)]).await;
            let own = ["--own-field", "campaign"];
            let job = confluent::writes_and_reads(&place, &server, &address, &own, &clip()).await;
            bad::is_buried_and_the_stage_goes_on(&place, &server, &address, &clip()).await;
            if let Some(job) = job {
                bad::a_known_upload_is_passed_by(&place, &server, &job).await;
            }
            let (status, said) = server.get("/api/registry/subjects").await;
            assert_eq!((status, &said["error_code"]), (421, &421.into()), "the edge tells no ids that are not there");
        })
        .await;
}
