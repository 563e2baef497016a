//! Topics: made as they shall be, compared with how they are, and how many partitions each has.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka::producer::Producer as _;
use tokio::time::{Instant, sleep};

use super::client::{Context, failed};
use super::producer::Client;
use super::settings::{MAX_RECORD_BYTES, MIN_IN_SYNC, REPLICATION_FACTOR};
use super::{Inner, blocking, offsets};
use crate::log::{Difference, Error, Retention, TopicPartition, TopicSpec};
use crate::store::locked;

const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";

/// A name that no topic has: the answer is short, and nobody is asked for a list of everything.
const NOBODYS: &str = "streamforge.check";

/// One request about topics.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a new topic may take until every partition has a leader.
const VISIBLE: Duration = Duration::from_secs(15);

/// What is known about topics. Partitions are never taken away, so a number that was right stays usable.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, u32>>);

impl Known {
    pub(super) fn forget(&self, topic: &str) {
        locked(&self.0).remove(topic);
    }

    pub(super) fn get(&self, topic: &str) -> Option<u32> {
        locked(&self.0).get(topic).copied()
    }

    fn put(&self, topic: &str, partitions: u32) {
        locked(&self.0).insert(topic.to_owned(), partitions);
    }
}

/// A topic as the brokers see it.
struct Seen {
    partitions: u32,
    has_leaders: bool,
    /// Copies of the partition that has the fewest.
    copies: usize,
}

/// Asks the brokers about one topic; nothing: it does not exist.
fn see(client: &Client, topic: &str, patience: Duration) -> Result<Option<Seen>, KafkaError> {
    let metadata = client.client().fetch_metadata(Some(topic), patience)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
            // New, and no leader yet.
            RDKafkaErrorCode::LeaderNotAvailable => Ok(Some(Seen { partitions: 0, has_leaders: false, copies: 0 })),
            code => Err(KafkaError::MetadataFetch(code)),
        };
    }
    let partitions = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
    let has_leaders = partitions > 0 && found.partitions().iter().all(|partition| partition.leader() >= 0);
    let copies = found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    Ok(Some(Seen { partitions, has_leaders, copies }))
}

impl Inner {
    async fn see(&self, topic: &str) -> Result<Option<Seen>, Error> {
        let (client, name) = (self.producer.client(), topic.to_owned());
        blocking("ask for a topic", move || see(&client, &name, PATIENCE)).await
    }

    /// How many partitions each of `topics` has, in their order.
    pub(super) async fn partitions(&self, topics: &[&str]) -> Result<Vec<u32>, Error> {
        let mut all = Vec::with_capacity(topics.len());
        for topic in topics {
            if let Some(partitions) = self.known.get(topic) {
                all.push(partitions);
                continue;
            }
            match self.see(topic).await? {
                Some(seen) if seen.partitions > 0 => {
                    self.known.put(topic, seen.partitions);
                    all.push(seen.partitions);
                }
                _ => return Err(Error::UnknownTopic((*topic).to_owned())),
            }
        }
        Ok(all)
    }

    /// Makes what is missing and applies retention to what is there.
    pub(super) async fn ensure(self: &Arc<Self>, topics: &[TopicSpec]) -> Result<(), Error> {
        if let Some(spec) = topics.iter().find(|spec| spec.partitions == 0 || spec.name.is_empty()) {
            let why = format!("topic `{}` needs a name and at least one partition", spec.name);
            return Err(failed("make topics", why));
        }
        let (mut missing, mut there) = (Vec::new(), Vec::new());
        for spec in topics {
            match self.see(&spec.name).await? {
                Some(seen) if seen.partitions > 0 => {
                    is_as_wanted(spec, seen.partitions)?;
                    self.known.put(&spec.name, seen.partitions);
                    there.push(spec);
                }
                Some(_) => there.push(spec),
                None => missing.push(spec),
            }
        }
        let admin = self.admin()?;
        let raced = self.make(&admin, &missing).await?;
        let stale = self.compare(&admin, &there).await?;
        alter(&admin, &there, &stale).await;
        self.drop_aside(admin);
        missing.extend(there);
        self.wait_until_visible(&missing).await?;
        if raced {
            tracing::debug!("somebody else made some of the topics at the same time");
        }
        Ok(())
    }

    /// Makes `missing`; answers whether somebody else was quicker with any.
    async fn make(&self, admin: &AdminClient<Context>, missing: &[&TopicSpec]) -> Result<bool, Error> {
        if missing.is_empty() {
            return Ok(false);
        }
        let wanted: Vec<_> = missing.iter().map(|spec| (*spec, self.wanted(spec))).collect();
        let copies = self.settings.for_topics(REPLICATION_FACTOR).and_then(|copies| copies.parse().ok());
        let new: Vec<NewTopic<'_>> = wanted
            .iter()
            .map(|(spec, settings)| {
                let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
                let new = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(copies.unwrap_or(-1)));
                settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let results = admin.create_topics(&new, &patient()).await.map_err(|error| failed("make topics", error))?;
        let mut raced = false;
        for result in results {
            match result {
                Ok(topic) => tracing::info!(topic, "made the topic"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => raced = true,
                Err((topic, code)) => {
                    return Err(failed("make topics", format!("topic `{topic}`: {code}")));
                }
            }
        }
        Ok(raced)
    }

    /// The settings of a topic that is made for `spec`.
    fn wanted(&self, spec: &TopicSpec) -> Vec<(&'static str, String)> {
        let age = spec.retention.max_age_ms.unwrap_or(-1).to_string();
        let bytes = spec.retention.max_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        let Retention { max_age_ms, max_bytes, is_compacted } = spec.retention;
        let policy = match is_compacted {
            false => "delete",
            true if max_age_ms.is_none() && max_bytes.is_none() => "compact",
            true => "compact,delete",
        };
        let mut wanted = vec![
            ("cleanup.policy", policy.to_owned()),
            (RETENTION_MS, age),
            (RETENTION_BYTES, bytes),
            // Brokers stamp records as they arrive, so that times ascend whoever writes.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("max.message.bytes", MAX_RECORD_BYTES.to_string()),
        ];
        // How many copies there are is the deployment's to say, so its word on how many must be up goes first.
        let copies = self.settings.for_topics(MIN_IN_SYNC).map(str::to_owned);
        if let Some(copies) = copies.or_else(|| spec.min_in_sync.map(|copies| copies.to_string())) {
            wanted.push((MIN_IN_SYNC, copies));
        }
        wanted
    }

    /// How the topics of `specs` that exist are other than they should be.
    async fn compare(&self, admin: &AdminClient<Context>, specs: &[&TopicSpec]) -> Result<Stale, Error> {
        if specs.is_empty() {
            return Ok(Stale::default());
        }
        let asked: Vec<_> = specs.iter().map(|spec| ResourceSpecifier::Topic(&spec.name)).collect();
        let answers = match admin.describe_configs(&asked, &patient()).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(%error, "cannot read the settings of topics: they are taken as they are");
                return Ok(Stale::default());
            }
        };
        let mut stale = Stale::default();
        for answer in answers.into_iter().flatten() {
            let OwnedResourceSpecifier::Topic(name) = &answer.specifier else { continue };
            let Some(spec) = specs.iter().find(|spec| spec.name == *name) else { continue };
            for (what, wanted) in self.wanted(spec) {
                let found = answer.get(what).and_then(|entry| entry.value.clone());
                if found.as_ref() != Some(&wanted) {
                    let (topic, what) = (name.clone(), what.to_owned());
                    stale.differences.push(Difference { topic, what, found, wanted });
                }
            }
            stale.own.insert(name.clone(), own(&answer));
        }
        Ok(stale)
    }

    /// How the brokers' topics differ from `topics`: missing ones, partitions, settings, copies.
    pub(super) async fn differences(&self, topics: &[TopicSpec]) -> Result<Vec<Difference>, Error> {
        let (mut differences, mut there) = (Vec::new(), Vec::new());
        for spec in topics {
            let found = self.see(&spec.name).await?;
            let of = |what: &str, found: Option<String>, wanted: &str| Difference {
                topic: spec.name.clone(),
                what: what.to_owned(),
                found,
                wanted: wanted.to_owned(),
            };
            match found {
                None => differences.push(of("topic", None, "there")),
                Some(found) => {
                    if found.partitions != spec.partitions {
                        let found = found.partitions.to_string();
                        differences.push(of("partitions", Some(found), &spec.partitions.to_string()));
                    }
                    // Without a setting the brokers' own default is as good as any other number.
                    let copies = self.settings.for_topics(REPLICATION_FACTOR);
                    if let Some(wanted) = copies.filter(|wanted| wanted.parse() != Ok(found.copies)) {
                        differences.push(of(REPLICATION_FACTOR, Some(found.copies.to_string()), wanted));
                    }
                    there.push(spec);
                }
            }
        }
        let admin = self.admin()?;
        let stale = self.compare(&admin, &there).await;
        self.drop_aside(admin);
        differences.extend(stale?.differences);
        Ok(differences)
    }

    async fn wait_until_visible(self: &Arc<Self>, specs: &[&TopicSpec]) -> Result<(), Error> {
        let deadline = Instant::now() + VISIBLE;
        for spec in specs {
            loop {
                let seen = self.see(&spec.name).await?;
                if let Some(seen) = seen.filter(|seen| seen.has_leaders) {
                    is_as_wanted(spec, seen.partitions)?;
                    self.known.put(&spec.name, seen.partitions);
                    break;
                }
                if Instant::now() >= deadline {
                    let why = format!("topic `{}` has partitions without a leader for {VISIBLE:?}", spec.name);
                    return Err(failed("make topics", why));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        self.wait_until_leading(specs).await
    }

    /// That a broker is named as the leader does not mean that it knows. Records that come before it does are refused, and
    /// when it refuses the first batch and takes the second, the first is lost and acknowledged (see `producer`).
    async fn wait_until_leading(self: &Arc<Self>, specs: &[&TopicSpec]) -> Result<(), Error> {
        let all = specs.iter().flat_map(|spec| {
            (0..spec.partitions).map(|partition| TopicPartition { topic: spec.name.clone(), partition })
        });
        let (inner, partitions) = (Arc::clone(self), all.collect::<Vec<_>>());
        let asked = move || {
            let client = inner.reading()?;
            offsets::ends(&client, &partitions)
        };
        blocking("ask the leaders of new topics", asked).await.map(drop)
    }

    fn admin(&self) -> Result<AdminClient<Context>, Error> {
        AdminClient::from_config_and_context(&self.settings.admin(), Context::new("admin", &self.board))
            .map_err(|error| failed("make a client for topics", error))
    }

    /// Dropping a client waits for its threads, which belongs on no task's thread.
    pub(super) fn drop_aside<T: Send + 'static>(&self, client: T) {
        let token = self.threads.token();
        std::thread::spawn(move || {
            drop(client);
            drop(token);
        });
    }
}

/// What [`Inner::compare`] finds.
#[derive(Default)]
struct Stale {
    differences: Vec<Difference>,
    /// Settings that each topic has of its own.
    own: BTreeMap<String, BTreeMap<String, String>>,
}

/// Settings that were made for this topic alone. Altering replaces all of them, so all must be said again.
fn own(topic: &ConfigResource) -> BTreeMap<String, String> {
    let own = topic.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

/// Applies retention where it differs. What operators have set beside it stays; where we may not, it is said.
async fn alter(admin: &AdminClient<Context>, specs: &[&TopicSpec], stale: &Stale) {
    for spec in specs {
        let of_retention = |difference: &&Difference| {
            difference.topic == spec.name && [RETENTION_MS, RETENTION_BYTES].contains(&difference.what.as_str())
        };
        let (retention, others): (Vec<_>, Vec<_>) =
            stale.differences.iter().filter(|difference| difference.topic == spec.name).partition(of_retention);
        for difference in others {
            tracing::warn!("{difference}");
        }
        if retention.is_empty() {
            continue;
        }
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&spec.name));
        for (name, value) in stale.own.get(&spec.name).into_iter().flatten() {
            change = change.set(name, value);
        }
        for difference in &retention {
            change = change.set(&difference.what, &difference.wanted);
        }
        let result = admin.alter_configs([&change], &patient()).await;
        match result.map(|mut results| results.pop()) {
            Ok(Some(Ok(_)) | None) => tracing::info!(topic = spec.name, "applied the topic's retention"),
            Ok(Some(Err((_, code)))) => tracing::warn!(%code, topic = spec.name, "cannot apply the topic's retention"),
            Err(error) => tracing::warn!(%error, topic = spec.name, "cannot apply the topic's retention"),
        }
    }
}

fn is_as_wanted(spec: &TopicSpec, found: u32) -> Result<(), Error> {
    if found == spec.partitions {
        return Ok(());
    }
    Err(Error::Partitions { topic: spec.name.clone(), found, wanted: spec.partitions })
}

fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Where the brokers say that they are, as `host:port`; nothing where that is not told.
pub(super) fn advertised(client: &Client, patience: Duration) -> Result<Vec<String>, KafkaError> {
    match client.client().fetch_metadata(Some(NOBODYS), patience) {
        Ok(found) => {
            let address = |broker: &MetadataBroker| match broker.host() {
                host if host.contains(':') => format!("[{host}]:{}", broker.port()),
                host => format!("{host}:{}", broker.port()),
            };
            Ok(found.brokers().iter().map(address).collect())
        }
        Err(error) if super::client::is_unknown_topic(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Answers once the brokers answer, or says why they do not.
pub(super) fn reach(client: &Client, patience: Duration) -> Result<(), KafkaError> {
    advertised(client, patience).map(drop)
}
