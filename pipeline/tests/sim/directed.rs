//! Single faults at chosen moments: what simulations have found, told as plainly as it goes.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use schemas::JobId;
use schemas::event::UploadReceived;
use schemas::{Event, wire};
use tokio::time::sleep;

use crate::world::engine::{Kind, Spec};
use crate::world::member::{House, Member, Role};
use crate::world::{Fate, Options, World, dice, locked};

/// One edge that has just started, in a house without faults.
fn edge() -> (House, Member) {
    dice::seed_draws(1);
    let world = Arc::new(World::new(1, &Options { trace: true, mutant: None }));
    world.calm_down();
    let house = House::new(world);
    let mut member = Member::new("edge-1".into(), Role::Edge, 0, "b1", 1);
    member.start(&house);
    (house, member)
}

/// Uploads something; answers the status of the problem, if it was one.
async fn upload(member: &Member) -> Option<u16> {
    let spec = Spec { number: 1, kind: Kind::Good, frames: 50, gop: 25, sound: false, large: false };
    let mut body = stream::iter([Ok::<_, std::io::Error>(spec.bytes().into())]);
    let stored = Box::pin(member.edge().unwrap().store("clip.mp4", &mut body)).await;
    stored.err().map(|problem| problem.status.as_u16())
}

fn announced(house: &House) -> Vec<JobId> {
    let records = house.broker.records(UploadReceived::TOPIC);
    records.iter().map(|record| wire::decode::<UploadReceived>(&record.value).unwrap().job).collect()
}

fn is_intended(house: &House) -> bool {
    !locked(&house.tables).uploads.is_empty()
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_while_doors_are_away_leaves_nothing_in_the_end() {
    let (house, member) = edge();
    house.world.settle("begin a blob", Fate::Refused, 1);
    house.world.settle("deletes job-1/source", Fate::Refused, 4);
    assert_eq!(upload(&member).await, Some(503));
    assert!(is_intended(&house), "it cannot be removed now");
    sleep(Duration::from_secs(120)).await;
    assert!(!is_intended(&house), "it is removed as soon as the door is back");
    assert!(house.bucket.keys().is_empty() && announced(&house).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_was_kept_although_the_answer_said_no_is_removed() {
    let (house, member) = edge();
    house.world.settle("keep the intent of job-1", Fate::Unanswered, 1);
    assert_eq!(upload(&member).await, Some(503));
    sleep(Duration::from_secs(1)).await;
    assert!(!is_intended(&house));
}

#[tokio::test(start_paused = true)]
async fn a_stored_upload_goes_on_by_itself_when_the_catalog_was_away() {
    let (house, member) = edge();
    house.world.settle("keep the intent of job-1, stored", Fate::Refused, 12);
    assert_eq!(upload(&member).await, Some(503));
    sleep(Duration::from_secs(180)).await;
    assert_eq!(announced(&house).len(), 1, "the answer said that it goes on");
    assert!(!is_intended(&house));
}

#[tokio::test(start_paused = true)]
async fn a_stored_upload_waits_for_a_catalog_that_is_away_for_a_moment() {
    let (house, member) = edge();
    house.world.settle("keep the intent of job-1, stored", Fate::Refused, 4);
    assert_eq!(upload(&member).await, None, "it is taken");
    assert_eq!(announced(&house).len(), 1);
    assert!(!is_intended(&house));
}
