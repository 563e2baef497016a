//! While the registry is away: what is known goes on, what is not waits, nothing is lost.

use std::time::Duration;

use bytes::Bytes;
use connectors::log::{Consumer, Delivery, From, Tailed};
use schemas::event::UploadReceived;
use schemas::{Event, wire};
use tokio::time::timeout;

use super::foreign::{extended, extended_body};
use super::{House, append, at, framed, suite, suite_time, upload, values};

const TOPIC: &str = UploadReceived::TOPIC;

/// A registry that is away, and in partition 0 ours, theirs, ours; in partition 1 ours.
async fn away() -> (House, u32) {
    let house = House::new().await;
    let id = house.fake.state().register("upload.received-value", &extended(TOPIC));
    house.fake.state().is_away = true;
    append(&*house.log, TOPIC, 0, [ours(1)]).await;
    append(&*house.raw, TOPIC, 0, [theirs(id, 2)]).await;
    append(&*house.log, TOPIC, 0, [ours(3)]).await;
    append(&*house.log, TOPIC, 1, [ours(4)]).await;
    (house, id)
}

fn ours(number: u128) -> Bytes {
    wire::encode(&upload(number)).unwrap().into()
}

fn theirs(id: u32, number: u128) -> Bytes {
    framed(id, &extended_body(&ours(number), "spring"))
}

/// Offsets and values of what comes next, in the order of each partition.
async fn read(member: &mut dyn Consumer, count: usize) -> Vec<(u32, i64, Bytes)> {
    let records = suite::records(member, count).await;
    let mut found: Vec<_> =
        records.into_iter().map(|record| (record.at.partition, record.offset, record.value)).collect();
    found.sort_by_key(|(partition, ..)| *partition);
    found
}

/// Nothing comes, however often somebody begins to wait and gives up.
async fn nothing_comes(member: &mut dyn Consumer) {
    for _ in 0..20 {
        let waited = timeout(Duration::from_millis(5), member.next()).await;
        assert!(waited.is_err(), "{waited:?}");
    }
}

#[tokio::test]
async fn what_is_known_goes_on_and_the_rest_waits_in_its_place() {
    let (house, id) = away().await;
    let mut member = house.log.join("group", &[TOPIC]).await.unwrap();
    suite::gained(&mut *member, 2).await;
    assert_eq!(read(&mut *member, 2).await, [(0, 0, ours(1)), (1, 0, ours(4))]);
    nothing_comes(&mut *member).await;
    append(&*house.log, TOPIC, 1, [ours(5)]).await;
    append(&*house.log, TOPIC, 0, [ours(6)]).await;
    assert_eq!(read(&mut *member, 1).await, [(1, 1, ours(5))], "another partition does not wait");
    nothing_comes(&mut *member).await;

    house.fake.state().is_away = false;
    assert_eq!(read(&mut *member, 3).await, [(0, 1, ours(2)), (0, 2, ours(3)), (0, 3, ours(6))], "in their order");
    append(&*house.raw, TOPIC, 0, [theirs(id, 7)]).await;
    assert_eq!(read(&mut *member, 1).await, [(0, 4, ours(7))]);
    // What is known by now needs no registry.
    house.fake.state().is_away = true;
    append(&*house.raw, TOPIC, 0, [theirs(id, 8)]).await;
    assert_eq!(read(&mut *member, 1).await, [(0, 5, ours(8))]);
    member.commit(&[(at(TOPIC, 0), 6)]).await.unwrap();
}

#[tokio::test]
async fn what_waits_obeys_pauses_and_seeks_of_its_reader() {
    let (house, _) = away().await;
    let mut member = house.log.join("group", &[TOPIC]).await.unwrap();
    suite::gained(&mut *member, 2).await;
    read(&mut *member, 2).await;
    nothing_comes(&mut *member).await;
    // Resumed by its reader, it waits all the same.
    member.pause(&[at(TOPIC, 0)]);
    member.resume(&[at(TOPIC, 0)]);
    nothing_comes(&mut *member).await;
    member.pause(&[at(TOPIC, 0)]);
    house.fake.state().is_away = false;
    let mut tail = house.log.tail(&[TOPIC], From::Beginning).await.unwrap();
    while suite_time(tail.next()).await.unwrap() != Tailed::CaughtUp {}
    nothing_comes(&mut *member).await;
    member.resume(&[at(TOPIC, 0)]);
    assert_eq!(read(&mut *member, 2).await, [(0, 1, ours(2)), (0, 2, ours(3))]);

    let (house, _) = away().await;
    let mut member = house.log.join("group", &[TOPIC]).await.unwrap();
    suite::gained(&mut *member, 2).await;
    read(&mut *member, 2).await;
    nothing_comes(&mut *member).await;
    member.seek(&at(TOPIC, 0), 2).await.unwrap();
    assert_eq!(read(&mut *member, 1).await, [(0, 2, ours(3))], "what waited before the new place is left out");
    member.seek(&at(TOPIC, 0), 0).await.unwrap();
    assert_eq!(read(&mut *member, 1).await, [(0, 0, ours(1))]);
}

#[tokio::test]
async fn who_takes_a_partition_over_reads_what_waited_elsewhere() {
    let (house, _) = away().await;
    let mut member = house.log.join("group", &[TOPIC]).await.unwrap();
    suite::gained(&mut *member, 2).await;
    read(&mut *member, 2).await;
    nothing_comes(&mut *member).await;
    member.commit(&[(at(TOPIC, 0), 1), (at(TOPIC, 1), 1)]).await.unwrap();
    let mut other = house.log.join("group", &[TOPIC]).await.unwrap();
    // Each owns one of the two now; what the first loses it does not deliver any more.
    let (mut kept, mut taken) = (vec![at(TOPIC, 0), at(TOPIC, 1)], Vec::new());
    while kept.len() != 1 || taken.len() != 1 {
        tokio::select! {
            delivery = suite_time(member.next()) => match delivery.unwrap() {
                Delivery::Lost(gone) => kept.retain(|at| !gone.contains(at)),
                Delivery::Gained(more) => kept.extend(more),
                Delivery::Records(records) => panic!("{records:?}"),
            },
            delivery = suite_time(other.next()) => match delivery.unwrap() {
                Delivery::Gained(more) => taken.extend(more),
                Delivery::Lost(gone) => taken.retain(|at| !gone.contains(at)),
                Delivery::Records(records) => panic!("{records:?}"),
            },
        }
    }
    house.fake.state().is_away = false;
    let (owner, free) = if kept[0].partition == 0 { (&mut member, &mut other) } else { (&mut other, &mut member) };
    assert_eq!(read(&mut **owner, 2).await, [(0, 1, ours(2)), (0, 2, ours(3))]);
    nothing_comes(&mut **free).await;
}

#[tokio::test]
async fn a_reader_without_a_group_is_caught_up_when_nothing_waits() {
    let (house, _) = away().await;
    let mut tail = house.log.tail(&[TOPIC], From::Beginning).await.unwrap();
    let mut found = Vec::new();
    while let Ok(read) = timeout(Duration::from_millis(100), tail.next()).await {
        let Tailed::Records(records) = read.unwrap() else { panic!("something waits") };
        found.extend(values(&records));
    }
    found.sort();
    assert_eq!(found, [ours(1), ours(4)]);
    house.fake.state().is_away = false;
    let mut found = Vec::new();
    while let Tailed::Records(records) = suite_time(tail.next()).await.unwrap() {
        found.extend(values(&records));
    }
    assert_eq!(found, [ours(2), ours(3)]);
    append(&*house.log, TOPIC, 0, [ours(5)]).await;
    let Tailed::Records(records) = suite_time(tail.next()).await.unwrap() else { panic!("more records") };
    assert_eq!(values(&records), [ours(5)]);
}

#[tokio::test]
async fn a_read_of_a_partition_waits_a_moment() {
    let (house, _) = away().await;
    let log = std::sync::Arc::clone(&house.log);
    let reading = tokio::spawn(async move { log.read(&at(TOPIC, 0), 0, 10).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.fake.state().is_away = false;
    assert_eq!(values(&suite_time(reading).await.unwrap().unwrap()), [ours(1), ours(2), ours(3)]);
}
