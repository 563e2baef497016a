//! Programs that are not StreamForge beside a StreamForge on real engines: Confluent's clients write and read every topic,
//! kcat looks at records as they lie there, and what is no event of ours is a dead letter that holds nobody up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "clients/bad.rs"]
mod bad;
#[path = "clients/confluent.rs"]
mod confluent;
#[path = "clients/kcat.rs"]
mod kcat;
#[path = "clients/place.rs"]
mod place;
#[path = "e2e/process.rs"]
mod process;
#[path = "clients/server.rs"]
mod server;

use std::process::Command;

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
            let first = confluent::writes_and_reads(&place, &server, &clip()).await;
            bad::is_buried_and_the_stage_goes_on(&place, &server, &clip()).await;
            if let Some(job) = first {
                bad::a_known_upload_is_passed_by(&place, &server, &job).await;
            }
        })
        .await;
}
