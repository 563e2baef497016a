//! What happens when: uploads, wishes, and everything that can go wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use connectors::log::NewRecord;
use futures::stream::{self, StreamExt};
use pipeline::edge::{Edge, record};
use pipeline::stage::record_of;
use schemas::event::UploadReceived;
use schemas::{Claim, Event, JobId};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::engine::{Kind, Spec};
use super::life::Life;
use super::member::{House, Member, Role};
use super::{Door, EPOCH_MS, Options, Outcome, World, dice, locked};

/// How long a group waits for a member that says nothing.
const SESSION_MS: u64 = 10_000;
/// When the last fault begins.
const CHAOS_MS: u64 = 110_000;
/// When everything must have come to rest.
const LIMIT_MS: u64 = 4 * 3_600_000;

/// Something that happens.
enum Act {
    Upload(Spec),
    Produce(Spec),
    Cancel,
    Delete,
    Garbage,
    Repeat,
    Crash(usize),
    Stall(usize),
    Drain(usize),
    Start(usize),
    TakeAway(Door),
    Expire(Arc<Life>, Option<u32>),
    Resume(Arc<Life>, u32),
}

/// An edge with its life.
type Running = (Arc<Life>, Arc<Edge>);

struct Play {
    house: House,
    dice: Dice,
    members: Vec<Member>,
    agenda: BTreeMap<(u64, u64), Act>,
    acts: u64,
    /// The edges that clients may ask, by member.
    edges: Arc<Mutex<Vec<Option<Running>>>>,
    outsider: Arc<Life>,
}

/// Plays one seed from the first process to the last check.
pub async fn play(seed: u64, options: &Options) -> Outcome {
    let world = Arc::new(World::new(seed, options));
    let mut play = Play::new(seed, Arc::clone(&world));
    play.write();
    play.perform().await;
    play.come_to_rest().await;
    if !world.is_broken() {
        play.house.checks.at_rest();
    }
    if !world.is_broken() {
        play.fold_again().await;
    }
    world.outcome(seed)
}

impl Play {
    fn new(seed: u64, world: Arc<World>) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x1000_0000_01b3));
        let house = House::new(world);
        let builds = dice.pick(&[["b1", "b1"], ["b1", "build-2"]]);
        let mut members = Vec::new();
        for (role, name, count) in
            [(Role::Worker, "worker", dice.within(2..4)), (Role::Edge, "edge", dice.within(1..3))]
        {
            for number in 1..=count {
                let skew_ms = dice.within(0..90_000) as i64 - 45_000;
                let slots = dice.within(1..3) as usize;
                members.push(Member::new(format!("{name}-{number}"), role, skew_ms, dice.pick(&builds), slots));
            }
        }
        let edges = Arc::new(Mutex::new(members.iter().map(|_| None).collect()));
        let outsider = Life::new("outside".into());
        Self { house, dice, members, agenda: BTreeMap::new(), acts: 0, edges, outsider }
    }

    fn at(&mut self, ms: u64, act: Act) {
        self.acts += 1;
        self.agenda.insert((ms, self.acts), act);
    }

    fn after(&mut self, ms: u64, act: Act) {
        let now = self.house.world.now_ms();
        self.at(now + ms, act);
    }

    /// Writes the agenda.
    fn write(&mut self) {
        for index in 0..self.members.len() {
            let ms = self.dice.within(0..1_500);
            self.at(ms, Act::Start(index));
        }
        for number in 0..self.dice.within(2..6) {
            let kinds = [Kind::Good, Kind::Good, Kind::Good, Kind::Good, Kind::Flaky, Kind::Broken, Kind::Crashing];
            let spec = Spec {
                number,
                kind: self.dice.pick(&kinds),
                frames: self.dice.within(20..330),
                gop: self.dice.within(10..80),
                sound: self.dice.chance(600),
                large: self.dice.chance(400),
            };
            let ms = self.dice.within(500..70_000);
            let act = if self.dice.chance(200) { Act::Produce(spec) } else { Act::Upload(spec) };
            self.at(ms, act);
        }
        for _ in 0..self.dice.within(0..4) {
            let ms = self.dice.within(5_000..CHAOS_MS);
            let act = match self.dice.index(4) {
                0 => Act::Cancel,
                1 => Act::Delete,
                2 => Act::Garbage,
                _ => Act::Repeat,
            };
            self.at(ms, act);
        }
        for _ in 0..self.dice.within(0..9) {
            let ms = self.dice.within(2_000..CHAOS_MS);
            let member = self.dice.index(self.members.len());
            let act = match self.dice.index(8) {
                0..=2 => Act::Crash(member),
                3..=5 => Act::Stall(member),
                6 => Act::Drain(member),
                _ => Act::TakeAway(self.dice.pick(&[Door::Log, Door::Catalog, Door::Blobs])),
            };
            self.at(ms, act);
        }
    }

    async fn perform(&mut self) {
        while let Some(((ms, _), act)) = self.agenda.pop_first() {
            sleep_until(self.house.world.at(ms)).await;
            if self.house.world.is_broken() {
                return;
            }
            self.act(act);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Upload(spec) => self.upload(spec),
            Act::Produce(spec) => self.produce(spec),
            Act::Cancel => self.steer("cancel"),
            Act::Delete => self.steer("delete"),
            Act::Garbage => self.garbage(),
            Act::Repeat => self.repeat(),
            Act::Start(index) => {
                let member = &mut self.members[index];
                member.start(&self.house);
                let edge = member.process.as_ref().and_then(|p| Some((Arc::clone(&p.life), p.edge.clone()?)));
                locked(&self.edges)[index] = edge;
            }
            Act::Crash(index) => {
                let Some(process) = self.members[index].process.take() else { return };
                self.house.world.fault("a process crashes", &process.life.name, || "crashes".into());
                process.life.kill();
                locked(&self.edges)[index] = None;
                self.after(SESSION_MS, Act::Expire(Arc::clone(&process.life), None));
                let ms = self.dice.within(200..20_000);
                self.after(ms, Act::Start(index));
            }
            Act::Drain(index) => {
                let Some(mut process) = self.members[index].process.take() else { return };
                self.house.world.fault("a process is restarted", &process.life.name, || "drains".into());
                locked(&self.edges)[index] = None;
                process.shutdown.cancel();
                let broker = Arc::clone(&self.house.broker);
                tokio::spawn(async move {
                    while process.tasks.join_next().await.is_some() {}
                    process.life.kill();
                    // It may have broken off while it joined: such a seat is nobody's, until the session is over.
                    sleep(Duration::from_millis(SESSION_MS)).await;
                    broker.expire(&process.life);
                });
                let ms = self.dice.within(200..8_000);
                self.after(ms, Act::Start(index));
            }
            Act::Stall(index) => {
                let Some(process) = &self.members[index].process else { return };
                let life = Arc::clone(&process.life);
                let ms = self.dice.within(3_000..45_000);
                self.house.world.fault("a process stalls", &life.name, || format!("stalls for {ms} ms"));
                let number = life.stall();
                self.after(SESSION_MS, Act::Expire(Arc::clone(&life), Some(number)));
                self.after(ms, Act::Resume(life, number));
            }
            Act::Resume(life, number) => {
                self.house.world.say(&life.name, || "goes on".into());
                life.resume(number);
            }
            Act::Expire(life, stall) => {
                if life.is_dead() || stall.is_some_and(|number| life.is_in_stall(number)) {
                    self.house.broker.expire(&life);
                }
            }
            Act::TakeAway(door) => {
                let ms = self.dice.within(1_000..25_000);
                self.house.world.take_away(door, ms);
            }
        }
    }

    /// Somebody uploads through one of the edges, piece by piece, and may break off.
    fn upload(&mut self, spec: Spec) {
        let running: Vec<usize> =
            (0..self.members.len()).filter(|index| self.members[*index].edge().is_some()).collect();
        if running.is_empty() {
            return self.after(2_500, Act::Upload(spec));
        }
        let index = self.dice.pick(&running);
        let bytes = Bytes::from(spec.bytes());
        let cut = self.dice.within(40..bytes.len() as u64) as usize;
        let mut pieces = vec![Ok(bytes.slice(..cut)), Ok(bytes.slice(cut..))];
        if self.dice.chance(100) {
            pieces[1] = Err(std::io::Error::other("the client went away"));
        }
        let wait = Duration::from_millis(self.dice.within(0..3_000));
        let mut body = stream::iter(pieces)
            .then(move |piece| async move {
                sleep(wait).await;
                piece
            })
            .boxed();
        let (checks, world) = (Arc::clone(&self.house.checks), Arc::clone(&self.house.world));
        let Some(edge) = self.members[index].edge() else { return };
        let Some(process) = &mut self.members[index].process else { return };
        let name = process.life.name.clone();
        process.tasks.spawn(async move {
            match Box::pin(edge.store("clip.mp4", &mut body)).await {
                Ok(row) => {
                    world.say(&name, || format!("answers 201 for {}: {spec:?}", world.name(row.id)));
                    locked(&checks.outside).accepted.push(row.id);
                }
                Err(problem) => world.say(&name, || format!("answers {}: {spec:?}", problem.status)),
            }
        });
    }

    /// Another producer puts bytes into the store and says so on the log, rightly or wrongly, once or twice.
    fn produce(&mut self, spec: Spec) {
        let (world, job) = (&self.house.world, dice::new_job(EPOCH_MS as u64 + self.house.world.now_ms()));
        let bytes = Bytes::from(spec.bytes());
        let key = format!("in/{}.mp4", spec.number);
        let sha256 = schemas::id::hex(&Sha256::digest(&bytes));
        let mut source = Claim { uri: format!("blob:{key}"), size: bytes.len() as u64, sha256 };
        let is_stored = !self.dice.chance(150);
        if is_stored {
            self.house.bucket.put(&key, bytes, true);
        }
        let mut is_good = is_stored && matches!(spec.kind, Kind::Good | Kind::Flaky);
        if self.dice.chance(150) {
            source.sha256 = "0".repeat(64);
            is_good = false;
        } else if self.dice.chance(150) {
            source.uri = format!("s3://elsewhere/{key}");
            is_good = false;
        }
        let received_at = EPOCH_MS + world.now_ms() as i64;
        let event = UploadReceived { job, name: "clip.mp4".into(), source, received_at, origin: "producer".into() };
        world.say("outside", || format!("produces {}: {event:?}", world.name(job)));
        locked(&self.house.checks.outside).produced.insert(job, is_good);
        let record = record_of(&event).expect("an event");
        let times = if self.dice.chance(300) { 2 } else { 1 };
        self.append(vec![record; times]);
    }

    fn append(&self, records: Vec<NewRecord>) {
        for record in records {
            // Told again until it is there, as a producer does.
            while self.house.broker.append(&self.outsider, vec![record.clone()]).is_err() {}
        }
    }

    /// A record that nobody can read.
    fn garbage(&mut self) {
        let topics =
            ["upload.received", "source.probed", "chunk.cut", "chunk.transcoded", "cancel.requested", "job.ended"];
        let topic = self.dice.pick(&topics);
        self.house.world.fault("a poison event", "outside", || format!("puts garbage into {topic}"));
        let (spread, value) = (self.dice.draw(), Bytes::from_static(&[1, 2, 3]));
        self.append(vec![NewRecord { topic: topic.into(), spread, key: "garbage".into(), value, headers: Vec::new() }]);
    }

    /// An upload is announced once more.
    fn repeat(&mut self) {
        let known = self.house.broker.records(UploadReceived::TOPIC);
        let known: Vec<_> = known.into_iter().filter(|record| record.value.len() > 3).collect();
        if known.is_empty() {
            return;
        }
        let record = known[self.dice.index(known.len())].clone();
        self.house.world.fault("an upload is announced again", "outside", || "announces an upload again".into());
        let Ok(event) = schemas::wire::decode::<UploadReceived>(&record.value) else { return };
        self.append(vec![record_of(&event).expect("an event")]);
    }

    /// Somebody cancels or deletes a job, and insists until some edge has answered.
    fn steer(&mut self, what: &'static str) {
        let known = locked(&self.house.checks.outside).accepted.clone();
        if known.is_empty() {
            return self.house.world.say("outside", || format!("nothing to {what}"));
        }
        let job: JobId = known[self.dice.index(known.len())];
        let (world, edges) = (Arc::clone(&self.house.world), Arc::clone(&self.edges));
        world.say("outside", || format!("wants to {what} {}", world.name(job)));
        tokio::spawn(async move {
            loop {
                let running: Vec<Arc<Edge>> = {
                    let edges = locked(&edges);
                    edges
                        .iter()
                        .flatten()
                        .filter(|(life, _)| life.is_running())
                        .map(|(_, edge)| Arc::clone(edge))
                        .collect()
                };
                if !running.is_empty() {
                    let index = world.dice().index(running.len());
                    let edge = &running[index];
                    let asked =
                        async { if what == "cancel" { edge.cancel(job).await } else { edge.delete(job).await } };
                    let status = match timeout(Duration::from_secs(20), Box::pin(asked)).await {
                        Ok(Ok(response)) => response.status().as_u16(),
                        Ok(Err(problem)) => problem.status.as_u16(),
                        Err(_) => 504,
                    };
                    world.say("outside", || format!("asked to {what} {}: {status}", world.name(job)));
                    if status < 500 {
                        return;
                    }
                }
                sleep(Duration::from_secs(3)).await;
            }
        });
    }

    /// No more faults: waits until nothing is left to do.
    async fn come_to_rest(&mut self) {
        let world = Arc::clone(&self.house.world);
        world.say("house", || "no more faults".into());
        world.calm_down();
        while !world.is_broken() {
            let Some(unrest) = self.house.checks.unrest() else { return };
            if world.now_ms() > LIMIT_MS {
                return world.broken(format!("never came to rest: {unrest}"));
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    /// Wipes the rows and folds the log again: the rows are the same.
    async fn fold_again(&mut self) {
        for member in &mut self.members {
            if let Some(process) = member.process.take() {
                process.life.kill();
            }
        }
        locked(&self.house.tables).jobs.clear();
        let (life, group) = (Life::new("fold".into()), "streamforge.record.again");
        let (doors, over) = (self.house.doors(&life, 0), CancellationToken::new());
        let folding = tokio::spawn({
            let over = over.clone();
            async move { record::fold(&doors, group, &over).await }
        });
        let begun = self.house.world.now_ms();
        loop {
            sleep(Duration::from_secs(1)).await;
            let is_behind = self.house.broker.behind().iter().any(|(of, ..)| of == group);
            let is_in = self.house.broker.has_members(group);
            if is_in && !is_behind {
                break;
            }
            if self.house.world.now_ms() > begun + 600_000 {
                return self.house.world.broken("the log cannot be folded again".into());
            }
        }
        over.cancel();
        let _ = folding.await;
        self.house.checks.rows_are_the_fold();
    }
}
